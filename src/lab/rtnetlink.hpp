// Links, addresses and routes of one network namespace, through rtnetlink.
//
// Owned by whoever wires that namespace. Calls block for one kernel round trip (microseconds), so
// the lab uses it on its loop. Errors name the object and carry the kernel's errno. Not here:
// deleting what was made one by one; a namespace takes all of it along when it dies.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/netlink.hpp"
#include "io/netns.hpp"

namespace fairlead::lab {

struct VethPair {
  std::string name;  // in this socket's namespace
  std::string peer;  // in the other one
  const io::NetNamespace* peer_namespace = nullptr;
};

struct Route {
  IpPrefix destination;
  std::vector<IpAddress> via;  // several = balanced per connection; none = on the link
  std::string device;          // may be empty when `via` decides
  bool unreachable = false;    // answers with ICMP instead of forwarding
};

class RouteSocket {
 public:
  static Result<RouteSocket> open(const io::NetNamespace& where);

  Result<void> add_bridge(const std::string& name);
  Result<void> add_veth(const VethPair& pair);
  Result<void> join_bridge(const std::string& link, const std::string& bridge);
  Result<void> bring_up(const std::string& link);
  Result<void> delete_link(const std::string& link);
  // Usable at once: duplicate address detection is skipped.
  Result<void> add_address(const std::string& link, const IpAddress& address, unsigned length);
  Result<void> add_route(const Route& route);

 private:
  class Message;
  explicit RouteSocket(io::NetlinkSocket socket) : socket_(std::move(socket)) {}
  Result<unsigned> index_of(const std::string& link);
  Result<void> request(Message& message, std::string_view what);

  io::NetlinkSocket socket_;
};

}  // namespace fairlead::lab
