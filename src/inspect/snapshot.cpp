#include "inspect/snapshot.hpp"

#include <set>
#include <vector>

#include "controllers/endpointslice_reconcile.hpp"

namespace fairlead::inspect {
namespace {

std::set<kube::NamespacedName> services_with_slices(const Snapshot& snapshot) {
  std::set<kube::NamespacedName> out;
  for (const auto& [name, slice] : snapshot.slices) {
    const auto owner = slice.metadata.labels.find(kube::label::kServiceName);
    if (owner != slice.metadata.labels.end())
      out.insert({.namespace_ = name.namespace_, .name = owner->second});
  }
  return out;
}

// The controller leaves out pods whose Node does not exist; here it is only not given.
std::map<kube::NamespacedName, kube::Node> nodes_of_pods(const Snapshot& snapshot) {
  std::map<kube::NamespacedName, kube::Node> out;
  for (const auto& [name, node] : snapshot.nodes) out[{.namespace_ = "", .name = name}] = node;
  for (const auto& [name, pod] : snapshot.pods) {
    if (pod.node_name.empty()) continue;
    const auto [place, is_new] =
        out.try_emplace({.namespace_ = "", .name = pod.node_name}, kube::Node{});
    if (is_new) place->second.metadata.name = pod.node_name;
  }
  return out;
}

std::vector<const kube::Pod*> pods_in(const Snapshot& snapshot, const std::string& namespace_) {
  std::vector<const kube::Pod*> out;
  for (const auto& [name, pod] : snapshot.pods) {
    if (name.namespace_ == namespace_) out.push_back(&pod);
  }
  return out;
}

}  // namespace

Snapshot with_slices_of_pods(Snapshot snapshot) {
  if (snapshot.pods.empty()) return snapshot;
  const auto served = services_with_slices(snapshot);
  const auto nodes = nodes_of_pods(snapshot);
  for (const auto& [name, service] : snapshot.services) {
    if (served.contains(name) || !controllers::wants_endpoint_slices(service)) continue;
    const auto pods = pods_in(snapshot, name.namespace_);
    auto writes = controllers::reconcile_endpoint_slices(
        {.service = service, .pods = pods, .slices = {}, .nodes = nodes, .trigger = std::nullopt});
    std::size_t number = 0;
    for (kube::EndpointSlice& slice : writes.create) {
      slice.metadata.name = fmt::format("{}{}", slice.metadata.generate_name, ++number);
      snapshot.slices.insert_or_assign({.namespace_ = name.namespace_, .name = slice.metadata.name},
                                       std::move(slice));
    }
  }
  return snapshot;
}

}  // namespace fairlead::inspect
