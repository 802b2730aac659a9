// Which of the controllers run, by kube-controller-manager's names for them. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace fairlead::controllers {

enum class ControllerName : std::uint8_t {
  EndpointSlices,
  Endpoints,
  Mirroring,
  LoadBalancers,  // service-lb-controller: there it is a cloud's, here it gives out the pools
  PodGarbage,
  NodeHealth,
};
using EnabledControllers = std::set<ControllerName>;

EnabledControllers all_controllers();
// As --controllers: "*" is all of them, "name" one, "-name" not that one; the first word about one
// counts. Invalid: a name of none of them.
Result<EnabledControllers> enabled_controllers(const std::vector<std::string>& list);
std::string known_controllers();  // their names, for help and refusals

}  // namespace fairlead::controllers
