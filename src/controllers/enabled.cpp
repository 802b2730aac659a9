#include "controllers/enabled.hpp"

#include <algorithm>
#include <optional>

namespace fairlead::controllers {
namespace {

struct Known {
  ControllerName controller;
  std::string_view name, old_name;
};
constexpr Known kKnown[] = {
    {ControllerName::EndpointSlices, "endpointslice-controller", "endpointslice"},
    {ControllerName::Endpoints, "endpoints-controller", "endpoint"},
    {ControllerName::Mirroring, "endpointslice-mirroring-controller", "endpointslicemirroring"},
    {ControllerName::LoadBalancers, "service-lb-controller", "service"},
    {ControllerName::PodGarbage, "pod-garbage-collector-controller", "podgc"},
    {ControllerName::NodeHealth, "node-lifecycle-controller", "nodelifecycle"},
};

bool is_called(const Known& known, std::string_view name) {
  return name == known.name || name == known.old_name;
}

std::optional<bool> said_of(const Known& known, const std::vector<std::string>& list) {
  for (std::string_view word : list) {
    if (is_called(known, word)) return true;
    if (word.starts_with('-') && is_called(known, word.substr(1))) return false;
  }
  return std::nullopt;
}

}  // namespace

EnabledControllers all_controllers() {
  EnabledControllers out;
  for (const Known& known : kKnown) out.insert(known.controller);
  return out;
}

Result<EnabledControllers> enabled_controllers(const std::vector<std::string>& list) {
  for (const std::string_view word : list) {
    const std::string_view name = word.starts_with('-') ? word.substr(1) : word;
    const bool exists =
        std::ranges::any_of(kKnown, [name](const Known& known) { return is_called(known, name); });
    if (word != "*" && !exists)
      return make_error(ErrorCode::Invalid, "\"{}\" is none of {}", word, known_controllers());
  }
  const bool all = std::ranges::find(list, "*") != list.end();
  EnabledControllers out;
  for (const Known& known : kKnown) {
    if (said_of(known, list).value_or(all)) out.insert(known.controller);
  }
  return out;
}

std::string known_controllers() {
  std::string out;
  for (const Known& known : kKnown) {
    if (!out.empty()) out += ", ";
    out += known.name;
  }
  return out;
}

}  // namespace fairlead::controllers
