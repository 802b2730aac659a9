// Which Pods a Service may select, and which Services are concerned by news of a Pod. Pure.
#pragma once

#include <string>
#include <vector>

#include "client/informer.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

// By name, ascending.
std::vector<const kube::Pod*> pods_in(const client::Store<kube::Pod>& pods,
                                      const std::string& namespace_);

// Those that want endpoints (wants_endpoint_slices()) and whose selector matches the Pod.
std::vector<kube::NamespacedName> services_selecting(const kube::Pod& pod,
                                                     const client::Store<kube::Service>& services);

// Those whose endpoints the news changes; a Pod's other news (restarts, heartbeats) concern nobody.
// nullptr before = the Pod is new, nullptr after = it is gone.
std::vector<kube::NamespacedName> services_concerned(const kube::Pod* before,
                                                     const kube::Pod* after,
                                                     const client::Store<kube::Service>& services);

}  // namespace fairlead::controllers
