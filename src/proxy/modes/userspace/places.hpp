// Places: where sockets are bound when there are no rules to lead to them, and what the kernel is
// to do with packets that arrive there. Pure: a service's plan and the node's in, places out.
//
// What a frontend turns away needs little: its address is on the node's device, and where nobody
// listens the kernel refuses. To drop, a socket is bound whose filter lets nothing through; source
// ranges are a filter as well, so that what they exclude meets silence, not a reset. Two things no
// filter can tell: pods that are known by their interface (others are reset then, after the kernel
// has accepted them), and whom to refuse (a frontend that rejects refuses everybody).
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "proxy/modes/userspace/sockets.hpp"

namespace fairlead::userspace {

// Whom a frontend's clients are led to.
struct Way {
  std::optional<PoolKind> pool;  // in general; nothing: they are turned away
  bool short_circuit = false;    // this node and its pods are led to the cluster pool all the same
  auto operator<=>(const Way&) const = default;
};
Way way_of(const plan::Frontend& frontend);

// Packets that others than these send are dropped: this node, and sources in the range.
struct OnlyLocal {
  std::optional<IpPrefix> pods;
  bool operator==(const OnlyLocal&) const = default;
};

struct Treatment {
  Way way;
  bool drop_all = false;
  std::vector<IpPrefix> admitted;       // sources; empty = all
  std::optional<OnlyLocal> only_local;  // besides
  bool operator==(const Treatment&) const = default;
};

// Of one service port: at which addresses and ports (of its own protocol), and how. An unspecified
// address: every one of the node's. SCTP has none.
std::map<SocketAddress, Treatment> places_of(const plan::ServicePlan& plan,
                                             const plan::NodePlan& node);

// The socket filter (SO_ATTACH_FILTER) of a place; empty = none. Exhausted: more ranges than the
// kernel takes instructions for (BPF_MAXINSNS).
Result<Filter> filter_of(const Treatment& treatment, IpFamily family);

}  // namespace fairlead::userspace
