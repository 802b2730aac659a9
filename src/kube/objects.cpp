#include "kube/objects.hpp"

#include <algorithm>

namespace fairlead::kube {

std::string_view to_string(PodPhase phase) {
  switch (phase) {
    case PodPhase::Pending:
      return "Pending";
    case PodPhase::Running:
      return "Running";
    case PodPhase::Succeeded:
      return "Succeeded";
    case PodPhase::Failed:
      return "Failed";
    case PodPhase::Unknown:
      return "Unknown";
  }
  return "";
}

std::string object_key(const ObjectMeta& meta) {
  return meta.namespace_.empty() ? meta.name : meta.namespace_ + "/" + meta.name;
}

bool is_ready(const Pod& pod) {
  return std::ranges::any_of(
      pod.conditions, [](const Condition& c) { return c.type == "Ready" && c.status == "True"; });
}

}  // namespace fairlead::kube
