// What a cluster holds at one moment, as far as the node proxy is concerned: the input of
// `explain`, `render` and `verify`. A value. It comes from manifests (manifests.hpp) or from a live
// cluster (cluster.hpp). Not here: what a node makes of it (node_view.hpp).
#pragma once

#include <map>
#include <string>

#include "kube/meta.hpp"
#include "kube/objects.hpp"

namespace fairlead::inspect {

struct Snapshot {
  std::map<kube::NamespacedName, kube::Service> services;
  std::map<kube::NamespacedName, kube::EndpointSlice> slices;
  std::map<kube::NamespacedName, kube::Pod> pods;
  std::map<std::string, kube::Node> nodes;
  std::map<std::string, kube::ServiceCidr> ranges;
  bool operator==(const Snapshot&) const = default;
};

// With the slices that the EndpointSlice controller makes of the Pods, for each Service that
// selects some and has no slice yet. Pods whose Node is not known count as running on one of that
// name.
Snapshot with_slices_of_pods(Snapshot snapshot);

}  // namespace fairlead::inspect
