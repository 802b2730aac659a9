#include "controllers/selected_pods.hpp"

#include <algorithm>

#include "controllers/endpointslice_reconcile.hpp"
#include "kube/selector.hpp"

namespace fairlead::controllers {
namespace {

using kube::NamespacedName;
using kube::Pod;

// Whether anything an endpoint is made of differs.
bool matters_to_endpoints(const Pod& before, const Pod& after) {
  return before.metadata.labels != after.metadata.labels ||
         before.metadata.deletion_timestamp != after.metadata.deletion_timestamp ||
         before.metadata.uid != after.metadata.uid || before.phase != after.phase ||
         before.pod_ip != after.pod_ip || before.pod_ips != after.pod_ips ||
         before.node_name != after.node_name || before.hostname != after.hostname ||
         before.subdomain != after.subdomain || kube::is_ready(before) != kube::is_ready(after);
}

}  // namespace

std::vector<const Pod*> pods_in(const client::Store<Pod>& pods, const std::string& namespace_) {
  std::vector<const Pod*> out;
  for (const auto& [key, pod] : pods.in_namespace(namespace_)) out.push_back(&pod);
  return out;
}

std::vector<NamespacedName> services_selecting(const Pod& pod,
                                               const client::Store<kube::Service>& services) {
  std::vector<NamespacedName> out;
  for (const auto& [key, service] : services.in_namespace(pod.metadata.namespace_)) {
    if (wants_endpoint_slices(service) &&
        kube::LabelSelector::match_all(service.selector).matches(pod.metadata.labels)) {
      out.push_back(key);
    }
  }
  return out;
}

std::vector<NamespacedName> services_concerned(const Pod* before, const Pod* after,
                                               const client::Store<kube::Service>& services) {
  if (before != nullptr && after != nullptr && !matters_to_endpoints(*before, *after)) return {};
  std::vector<NamespacedName> out;
  for (const Pod* pod : {before, after}) {
    if (pod == nullptr) continue;
    std::ranges::move(services_selecting(*pod, services), std::back_inserter(out));
  }
  return out;
}

}  // namespace fairlead::controllers
