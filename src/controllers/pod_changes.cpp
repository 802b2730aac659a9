#include "controllers/pod_changes.hpp"

namespace fairlead::controllers {

bool matters_to_endpoints(const kube::Pod& before, const kube::Pod& after) {
  return before.metadata.labels != after.metadata.labels ||
         before.metadata.deletion_timestamp != after.metadata.deletion_timestamp ||
         before.metadata.uid != after.metadata.uid || before.phase != after.phase ||
         before.pod_ip != after.pod_ip || before.pod_ips != after.pod_ips ||
         before.node_name != after.node_name || before.hostname != after.hostname ||
         before.subdomain != after.subdomain || kube::is_ready(before) != kube::is_ready(after);
}

}  // namespace fairlead::controllers
