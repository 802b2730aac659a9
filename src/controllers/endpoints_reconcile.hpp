// From a Service and the Pods it selects to its Endpoints object, which old tools read. Pure; the
// controller (endpoints_controller.hpp) owns caches, queues and the API calls.
//
// Rules: those of kube-controller-manager's endpoint controller (spec 5.8). Not here: the
// annotation of the last trigger, which measures node proxies, and these read EndpointSlices.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "kube/objects.hpp"

namespace fairlead::controllers {

inline constexpr std::size_t kMaxEndpointsAddresses = 1000;  // of one object
inline constexpr char kEndpointsManagedBy[] = "endpoints.kubernetes.io/managed-by";
inline constexpr char kEndpointsManager[] = "endpoint-controller";
inline constexpr char kOverCapacity[] = "endpoints.kubernetes.io/over-capacity";
// On Endpoints by which old programs elected a leader: they belong to no Service.
inline constexpr char kLeaderAnnotation[] = "control-plane.alpha.kubernetes.io/leader";

// What to write: the object to create (`existing` is null) or to put in its place, with the
// metadata it was computed from. nullopt: nothing, it is right or not ours to keep.
std::optional<kube::Endpoints> reconcile_endpoints(const kube::Service& service,
                                                   std::span<const kube::Pod* const> pods,
                                                   const kube::Endpoints* existing);

}  // namespace fairlead::controllers
