// The Plan in IPVS's terms. Pure: what one service port needs, and what it shares with others, so
// that a change is worked out from the services that changed and nothing else.
//
// Every frontend is a virtual server, node ports one for each address they answer on. IPVS sends
// all clients of a server to the same destinations, so where a policy tells clients of this node
// from others (Frontend::short_circuit) there is a second server, reached by a firewall mark that
// the ShortCut set gives to their packets. A frontend that leads nowhere has no server: rules
// refuse or drop for it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/modes/ipvs/objects.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::ipvs {

// Marks of ours are kMarkPrefix with a number in the low bits. Far from what others use, because a
// packet that bears a mark of a server is balanced whatever its address.
inline constexpr std::uint32_t kMarkPrefix = 0x5fa00000;
inline constexpr std::uint32_t kMarkNumbers = 0x000fffff;

// What rendering needs to know of this node.
struct Surroundings {
  // All addresses of all interfaces but the dummy device's.
  std::set<IpAddress> interface_addresses;
  Scheduling scheduling;             // of services that do not choose
  std::set<std::string> schedulers;  // that the kernel has
  bool operator==(const Surroundings&) const = default;
};

// Where node ports answer: the configured addresses, or all that are neither loopback nor
// link-local IPv6.
std::vector<IpAddress> node_port_addresses(const plan::NodePlan& node, IpFamily family,
                                           const Surroundings& surroundings);

// A mark for each service port whose clients on this node take a short cut. The number follows
// from the name, so that a restarted proxy finds its servers again; only where two names meet in
// one number does it depend on which came first.
class Marks {
 public:
  // `masquerade_mark` is never part of one.
  std::uint32_t of(const plan::PlanKey& key, std::uint32_t masquerade_mark);
  void release(const plan::PlanKey& key);

 private:
  std::map<plan::PlanKey, std::uint32_t> marks_;
  std::set<std::uint32_t> taken_;
};
// The protocol of a mark's server, which the kernel does not keep.
Protocol protocol_of_mark(std::uint32_t mark);

// Its own: server keys and entries of all sets but those of Shared.
// Shared: LoopBack, Addresses and HealthCheck entries, which other service ports may want as well.
struct Rendered {
  State own;
  std::set<SetEntry> shared;
};

struct Rendering {
  const plan::NodePlan& node;
  const Surroundings& surroundings;
  const std::vector<IpAddress>& node_ports;
  // Not for node ports: other services' addresses that are the node's too.
  const std::set<ServerKey>& claimed;
  // The mark of the service port at hand, asked for only if it needs one.
  std::function<std::uint32_t()> mark;
};
// The record of a server in the Servers set, and that of an address of the dummy device.
SetEntry record_of(const ServerKey& key);
SetEntry bound(const IpAddress& address);
SetEntry admitted(Port health_check, IpFamily family);
Rendered render(const plan::ServicePlan& service, const Rendering& with);
// What services share also binds addresses.
void add_shared(const SetEntry& entry, State& to);
// Servers of services' addresses that are among `node_ports`, which are sorted.
std::set<ServerKey> claimed_servers(const plan::Plan& plan, IpFamily family,
                                    const std::vector<IpAddress>& node_ports);
// A whole family, as a first start has it.
State render_family(const plan::Plan& plan, IpFamily family, const Surroundings& surroundings);
bool needs_mark(const plan::ServicePlan& service);

}  // namespace fairlead::ipvs
