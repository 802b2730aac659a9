// From a Service, the Pods it selects and the slices that exist to the writes that make the slices
// right. Pure: same input, same answer; the controller (endpointslice_controller.hpp) owns caches,
// queues and the API calls.
//
// Rules: spec of the EndpointSlice controller of Kubernetes 1.36 (endpoint conditions of KEP-1672,
// traffic distribution hints of KEP-4444 and KEP-3015). Slices of other managers are never touched;
// what is right is not written again. Not here: mirroring of user-made Endpoints; which zone is
// served by whom in topology mode Auto (topology_hints.hpp).
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kube/objects.hpp"

namespace fairlead::controllers {

inline constexpr std::size_t kMaxEndpointsPerSlice = 100;  // unless configured otherwise
inline constexpr char kEndpointSliceManager[] = "endpointslice-controller.k8s.io";
inline constexpr char kLastChangeTriggerTime[] = "endpoints.kubernetes.io/last-change-trigger-time";

struct EndpointSliceInput {
  const kube::Service& service;
  std::span<const kube::Pod* const> pods;  // of the service's namespace; selected or not
  std::span<const kube::EndpointSlice* const>
      slices;  // labelled with the service's name, whoever manages them
  const std::map<kube::NamespacedName, kube::Node>& nodes;
  std::optional<WallTime> trigger;  // newest cause of this sync, if there is a new one
  std::size_t max_endpoints = kMaxEndpointsPerSlice;
};

// Order of execution: create, update, remove, so that no endpoint is missing in between.
struct EndpointSliceWrites {
  std::vector<kube::EndpointSlice> create;  // metadata.generateName set, the server picks the name
  std::vector<kube::EndpointSlice> update;  // carry the resourceVersion they were computed from
  std::vector<kube::EndpointSlice> remove;
  // Nodes that pods name but that do not exist (yet): their pods were left out, try again later.
  std::vector<std::string> missing_nodes;
  // Of a Service in topology mode Auto: why its endpoints have no hints, empty = they have.
  std::map<kube::AddressType, std::string> hints_refused;
  bool empty() const { return create.empty() && update.empty() && remove.empty(); }
};

EndpointSliceWrites reconcile_endpoint_slices(const EndpointSliceInput& input);

// Whether the service wants slices from this controller at all: it has a selector and is no
// ExternalName.
bool wants_endpoint_slices(const kube::Service& service);

}  // namespace fairlead::controllers
