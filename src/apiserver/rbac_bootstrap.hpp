// The roles and bindings every cluster has: Kubernetes' own, as far as they speak of kinds served
// here, and those of this project's programs.
#pragma once

#include <string>
#include <vector>

#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

// The users as which the node proxy and the controllers come; bound to what these need.
inline constexpr std::string_view kProxyUser = "system:kube-proxy";
inline constexpr std::string_view kControllerUser = "system:fairlead-controller";

// Makes what is missing and adds what an existing role lacks of its rules, or a binding of its
// subjects, unless its annotation rbac.authorization.kubernetes.io/autoupdate is "false". Never
// takes away.
io::Task<Result<void>> make_standard_roles(Registry* registry, const Clock* clock);

// ClusterRoles with an aggregationRule hold the rules of all ClusterRoles it selects. A task of the
// ApiServer on its loop.
class RoleAggregator {
 public:
  // Both must outlive the aggregator.
  RoleAggregator(Registry& registry, const Clock& clock, io::Executor executor);
  io::Task<Result<void>> aggregate();  // once
  io::Task<void> run();                // until cancelled
  // Something was written or went away.
  void changed(const Resource& resource) {
    if (&resource == &roles_) changed_.notify();
  }

 private:
  const Clock& clock_;
  Resource& roles_;
  ObjectWriter writer_;
  io::Event changed_;
};

}  // namespace fairlead::apiserver
