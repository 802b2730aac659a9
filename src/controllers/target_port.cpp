#include "controllers/target_port.hpp"

#include <string>
#include <variant>

namespace fairlead::controllers {

std::optional<std::int32_t> resolve_target_port(const kube::ServicePort& port,
                                                const kube::Pod& pod) {
  if (const auto* number = std::get_if<std::int32_t>(&port.target_port)) return *number;
  const std::string& name = std::get<std::string>(port.target_port);
  const auto find_in = [&](const kube::Container& container) -> std::optional<std::int32_t> {
    for (const kube::ContainerPort& candidate : container.ports) {
      if (candidate.name == name && candidate.protocol == port.protocol)
        return candidate.container_port;
    }
    return std::nullopt;
  };
  for (const kube::Container& container : pod.containers) {
    if (const auto found = find_in(container)) return found;
  }
  for (const kube::Container& container : pod.init_containers) {
    if (container.restart_policy != "Always") continue;
    if (const auto found = find_in(container)) return found;
  }
  return std::nullopt;
}

}  // namespace fairlead::controllers
