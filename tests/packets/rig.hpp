// A small cluster in network namespaces, for tests that send real packets:
//
//   pod1 pod2 pod3 - [br0] node1 [eth0] -+
//         pod4 pod5 - [br0] node2 [eth0] -+- lan - outside
//                                         +------- internet
//
// node1 is where the mode under test programs its rules; node2 only routes, what goes to `outside`
// by way of node1, so that replies meet the rules again. `outside` is a client
// with sixteen addresses that routes every service address to node1. `internet` is node1's default
// route and answers every TCP and UDP port of every address as "internet", so that a packet which
// should have been caught or dropped and was not is seen, not lost. Each pod echoes on ports 8080
// and 8081 (echo.hpp).
//
// Everything is anonymous: no names in /run/netns, nothing in the caller's namespace; all of it is
// gone with the Rig. Both families everywhere, no duplicate-address detection, no ICMP rate limit,
// no redirects. Owner: one test. Thread rule: the test's thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/netns.hpp"
#include "io/process.hpp"
#include "packets/echo.hpp"

namespace fairlead::packets {

// One machine of the rig.
struct Host {
  std::string name;
  io::NetNamespace network;
  std::map<IpFamily, std::vector<IpAddress>> addresses;  // of eth0, the first is the usual source
  std::string seen_at;                                   // node1's interface its packets come in by
};

class Rig {
 public:
  // Forbidden when this process may not make network namespaces.
  static Result<std::unique_ptr<Rig>> create();

  const Host& host(std::string_view name) const;  // checked
  const Host& node() const { return host("node1"); }
  bool has_host(std::string_view name) const { return hosts_.contains(name); }

  // A source port that no flow of this rig has had, or none of its last twenty thousand: what a
  // flow leaves in the kernel's connection table must not decide about another one.
  Port fresh_port();

  // "${name}" of scenario files: addresses and prefixes by family, see the table in rig.cpp.
  static std::string expand(std::string_view text, IpFamily family);
  // The address node1 gives to masqueraded packets that leave for `to`.
  static IpAddress masquerade_address(const IpAddress& to);
  // The pod that has this address, or empty.
  std::string owner_of(const IpAddress& address) const;

  // Gives a host one more address of its own.
  static Result<void> bind_on_loopback(const Host& host, const IpAddress& address);

  // Lets a host echo on one more port, at all its addresses, under its own name.
  Result<void> echo_on(const Host& host, Port port);

  // Runs a command in a host's namespace; fails unless it exits with 0.
  static Result<std::string> run(const Host& host, std::vector<std::string> argv,
                                 std::string_view input = {});

 private:
  Rig() = default;
  Result<void> make_hosts();
  Result<void> wire();
  Result<void> serve();
  Result<void> batch(std::string_view host, const std::vector<std::string>& lines) const;
  std::string link_to(std::string_view port, std::string_view host) const;

  std::map<std::string, Host, std::less<>> hosts_;
  std::unique_ptr<EchoServers> echo_;
  std::uint16_t next_port_ = 10000;
};

}  // namespace fairlead::packets
