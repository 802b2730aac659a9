// What all kinds of this server share: decoding by schema, status carried over on updates, tables
// from a list of columns. Each kind derives and adds its rules.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "apiserver/kinds.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

class KindStrategy : public Strategy {
 public:
  KindStrategy(ResourceInfo info, std::vector<TableColumn> columns)
      : Strategy(std::move(info)), columns_(std::move(columns)) {}

  ApiResult<std::vector<std::string>> conform(Document& document) const override;
  void apply_defaults(Document&) const override {}
  void prepare_create(const RequestContext&, Document& document) const override {
    document.erase("status");
  }
  void prepare_update(const RequestContext&, const Document& old,
                      Document& document) const override;
  FieldErrors validate_create(const RequestContext&, const Document&) const override { return {}; }
  // Default: the rules of create.
  FieldErrors validate_update(const RequestContext& context, const Document&,
                              const Document& document) const override {
    return validate_create(context, document);
  }
  const std::vector<TableColumn>& table_columns() const override { return columns_; }

 private:
  std::vector<TableColumn> columns_;
};

Subresource status_subresource();  // get, patch, update

// "a,b" or `<none>`.
std::string joined_or_none(const std::vector<std::string>& texts);
boost::json::value name_cell(const Document& document);
boost::json::value age_cell(const Document& document, WallTime now);

std::unique_ptr<const Strategy> make_service_strategy(const KindsConfig& config);
std::unique_ptr<const Strategy> make_pod_strategy();
std::unique_ptr<const Strategy> make_node_strategy();
std::unique_ptr<const Strategy> make_namespace_strategy();
std::unique_ptr<const Strategy> make_endpoint_slice_strategy();
std::unique_ptr<const Strategy> make_core_event_strategy();  // v1
std::unique_ptr<const Strategy> make_event_strategy();       // events.k8s.io/v1
std::unique_ptr<const Strategy> make_endpoints_strategy();
std::unique_ptr<const Strategy> make_lease_strategy();
std::unique_ptr<const Strategy> make_config_map_strategy();
std::unique_ptr<const Strategy> make_ip_address_strategy();
std::unique_ptr<const Strategy> make_service_cidr_strategy();
std::unique_ptr<const Strategy> make_service_account_strategy();
// Role or ClusterRole; RoleBinding or ClusterRoleBinding.
std::unique_ptr<const Strategy> make_role_strategy(bool namespaced);
std::unique_ptr<const Strategy> make_role_binding_strategy(bool namespaced);
ResourceInfo ip_address_info();

}  // namespace fairlead::apiserver
