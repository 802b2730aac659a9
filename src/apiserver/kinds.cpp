#include "apiserver/kinds.hpp"

#include "apiserver/kind_strategy.hpp"

namespace fairlead::apiserver {

std::vector<std::unique_ptr<const Strategy>> make_strategies(const KindsConfig& config) {
  std::vector<std::unique_ptr<const Strategy>> out;
  out.push_back(make_config_map_strategy());
  out.push_back(make_endpoints_strategy());
  out.push_back(make_core_event_strategy());
  out.push_back(make_namespace_strategy());
  out.push_back(make_node_strategy());
  out.push_back(make_pod_strategy());
  out.push_back(make_service_account_strategy());
  out.push_back(make_service_strategy(config));
  out.push_back(make_lease_strategy());
  out.push_back(make_endpoint_slice_strategy());
  out.push_back(make_event_strategy());
  out.push_back(make_ip_address_strategy());
  out.push_back(make_service_cidr_strategy());
  for (const bool namespaced : {false, true}) {
    out.push_back(make_role_binding_strategy(namespaced));
    out.push_back(make_role_strategy(namespaced));
  }
  return out;
}

}  // namespace fairlead::apiserver
