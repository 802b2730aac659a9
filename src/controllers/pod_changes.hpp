// Which news of a pod concern its endpoints. Pure.
#pragma once

#include "kube/objects.hpp"

namespace fairlead::controllers {

// Whether anything an endpoint is made of differs; a pod's other news (restarts, heartbeats) do not
// matter.
bool matters_to_endpoints(const kube::Pod& before, const kube::Pod& after);

}  // namespace fairlead::controllers
