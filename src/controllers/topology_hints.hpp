// Which zone each endpoint of a Service in topology mode Auto is for, so that every zone's clients
// are served by as many endpoints as the zone has CPU to call from. Pure.
//
// Rules: KEP-2433 and spec 5.5. A zone's due is its share of the allocatable CPU of ready nodes;
// none may have less than its due by so much that its endpoints carry more than 20 % too much.
// Exact integers throughout: same input, same hints, on every machine. Hints once given are kept
// while that limit holds: what changes moves as few endpoints as will do, and hints computed again
// from themselves are the same.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kube/objects.hpp"

namespace fairlead::controllers {

// Asked for by annotation: topology-mode or, which wins, its old name topology-aware-hints.
bool wants_topology_hints(const kube::Service& service);

// Allocatable CPU by zone, of the ready nodes that run workloads: two zones or more.
struct ZoneCpu {
  std::map<std::string, kube::MilliCpu> by_zone;
  bool operator==(const ZoneCpu&) const = default;
};
// The error's message is for people: why there can be no hints.
Result<ZoneCpu> zone_cpu(const std::map<kube::NamespacedName, kube::Node>& nodes);
// Whether zone_cpu() sees two states of a node (null = there is none) differently.
bool zone_cpu_differs(const kube::Node* before, const kube::Node* after);

// An endpoint that is ready. `hint` is the zone it was for until now; empty = none.
struct ZonedEndpoint {
  std::string zone, hint;
};
// The zone of each endpoint, in their order, or why there are none.
Result<std::vector<std::string>> allocate_hints(const ZoneCpu& cpu,
                                                std::span<const ZonedEndpoint> endpoints);

}  // namespace fairlead::controllers
