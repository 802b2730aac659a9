// The way in: nftables rules that send what is for a service to the forwarder's sockets, and turn
// away what the plan turns away. Pure: a Plan and the sockets' ports in, text for `nft -f` out.
//
// Shape: one table a family with a fixed set of chains; frontends are elements of maps. Endpoints
// are not in the kernel at all, so their changes do not touch it. What leads to the short cut past
// a Local policy is decided here, where the interface and the source are known.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/modes/userspace/forwarder.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::userspace {

inline constexpr std::string_view kTable = "fairlead-userspace";

// The family's name for nft: "ip", "ip6".
std::string_view nft_family(IpFamily family);

// An element of a set or map, in the words in which nft lists it: "10.0.0.1 . tcp . 80",
// "goto tcp-pool".
struct Element {
  std::string set, key, value;  // value: empty in sets
  auto operator<=>(const Element&) const = default;
  std::string text() const { return value.empty() ? key : key + " : " + value; }
};

// Gives the ports of the sockets.
class Ports {
 public:
  virtual ~Ports() = default;
  virtual TcpPorts tcp(IpFamily family) const = 0;
  virtual std::optional<Port> udp(const UdpEntry& entry) const = 0;
};

// Everything a service port's frontends need in the table; sorted. SCTP is not forwarded in this
// mode: what is sent to the cluster IP is rejected.
std::vector<Element> elements_of(const plan::ServicePlan& plan, const Ports& ports);

// The table without elements, as one transaction that replaces a former one.
std::string table_text(IpFamily family, const plan::NodePlan& node, TcpPorts ports,
                       bool transparent = false);

// "add element ..." and "delete element ..." lines; deletions come first.
std::string change_text(IpFamily family, const std::set<Element>& gone,
                        const std::set<Element>& added);

}  // namespace fairlead::userspace
