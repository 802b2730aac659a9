// Gives pods without a node the node that has the fewest; pure. Nodes that are unschedulable or not
// ready get none. Equal nodes take turns, because each choice counts before the next one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kube/objects.hpp"

namespace fairlead::lab {

struct Assignment {
  kube::NamespacedName pod;
  std::string uid;
  std::string node;
  bool operator==(const Assignment&) const = default;
};

// Pods in the order of their keys.
std::vector<Assignment> assign_pods(const std::map<kube::NamespacedName, kube::Pod>& pods,
                                    const std::vector<kube::Node>& nodes);

}  // namespace fairlead::lab
