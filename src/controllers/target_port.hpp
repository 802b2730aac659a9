// The port of a pod that a Service's port leads to. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "kube/objects.hpp"

namespace fairlead::controllers {

// A named target port is a container's port of that name and protocol; sidecars (restartable init
// containers) count. nullopt: the pod has none.
std::optional<std::int32_t> resolve_target_port(const kube::ServicePort& port,
                                                const kube::Pod& pod);

}  // namespace fairlead::controllers
