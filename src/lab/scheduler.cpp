#include "lab/scheduler.hpp"

#include <algorithm>

namespace fairlead::lab {
namespace {

bool takes_pods(const kube::Node& node) {
  return !node.unschedulable && std::ranges::any_of(node.conditions, [](const auto& condition) {
    return condition.type == "Ready" && condition.status == "True";
  });
}

bool is_over(const kube::Pod& pod) {
  return pod.phase == kube::PodPhase::Succeeded || pod.phase == kube::PodPhase::Failed;
}

}  // namespace

std::vector<Assignment> assign_pods(const std::map<kube::NamespacedName, kube::Pod>& pods,
                                    const std::vector<kube::Node>& nodes) {
  std::map<std::string, std::size_t> load;
  for (const kube::Node& node : nodes) {
    if (takes_pods(node)) load[node.metadata.name] = 0;
  }
  for (const auto& [key, pod] : pods) {
    const auto node = load.find(pod.node_name);
    if (node != load.end() && !is_over(pod)) ++node->second;
  }
  std::vector<Assignment> out;
  for (const auto& [key, pod] : pods) {
    if (!pod.node_name.empty() || pod.metadata.deletion_timestamp || load.empty()) continue;
    const auto least = std::ranges::min_element(load, {}, [](const auto& n) { return n.second; });
    ++least->second;
    out.push_back({.pod = key, .uid = pod.metadata.uid, .node = least->first});
  }
  return out;
}

}  // namespace fairlead::lab
