// A pod's status as the API has it, from what the agent knows; pure.
#pragma once

#include <string>

#include "base/clock.hpp"
#include "kube/objects.hpp"
#include "lab/layout.hpp"
#include "lab/pod_machine.hpp"

namespace fairlead::lab {

struct PodPlace {
  DualAddress pod, host;
  WallTime since;  // the agent took the pod
};

// A merge patch for pods/NAME/status: {"metadata":{"uid":...},"status":{...}}. The uid keeps it
// from reaching another pod of the same name.
std::string pod_status_patch(const kube::Pod& pod, const PodReport& report, const PodPlace& place);

}  // namespace fairlead::lab
