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

std::string_view to_string(AddressType type) {
  switch (type) {
    case AddressType::IPv4:
      return "IPv4";
    case AddressType::IPv6:
      return "IPv6";
    case AddressType::Fqdn:
      return "FQDN";
  }
  return "";
}

std::string object_key(const ObjectMeta& meta) {
  return meta.namespace_.empty() ? meta.name : meta.namespace_ + "/" + meta.name;
}

namespace {

bool has_ready(const std::vector<Condition>& conditions) {
  return std::ranges::any_of(
      conditions, [](const Condition& c) { return c.type == "Ready" && c.status == "True"; });
}

}  // namespace

bool is_ready(const Pod& pod) { return has_ready(pod.conditions); }
bool is_ready(const Node& node) { return has_ready(node.conditions); }

}  // namespace fairlead::kube
