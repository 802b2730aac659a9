// The kinds in their plainest form: what every cluster needs to store and list them. Defaulting,
// validation and allocation of each kind replace these one by one.
#include "apiserver/kinds.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace fairlead::apiserver {
namespace {

class PlainStrategy : public Strategy {
 public:
  using Strategy::Strategy;
  void apply_defaults(Document&) const override {}
  void prepare_create(const RequestContext&, Document&) const override {}
  void prepare_update(const RequestContext&, const Document& old,
                      Document& document) const override {
    if (const auto* status = old.if_contains("status")) document["status"] = *status;
  }
  FieldErrors validate_create(const RequestContext&, const Document&) const override { return {}; }
  FieldErrors validate_update(const RequestContext&, const Document&,
                              const Document&) const override {
    return {};
  }
  const std::vector<TableColumn>& table_columns() const override { return columns_; }
  boost::json::array table_cells(const Document& document, WallTime now) const override {
    return {text_value(string_at(document, "metadata.name")), text_value(age_text(document, now))};
  }

 private:
  std::vector<TableColumn> columns_{{.name = "Name", .format = "name"}, {.name = "Age"}};
};

class NamespaceStrategy final : public PlainStrategy {
 public:
  using PlainStrategy::PlainStrategy;
  void prepare_create(const RequestContext&, Document& document) const override {
    ensure_object(document, "spec")["finalizers"] = boost::json::array{"kubernetes"};
    ensure_object(document, "status")["phase"] = "Active";
  }
  void prepare_subresource_update(const RequestContext& context, std::string_view subresource,
                                  const Document& old, Document& document) const override {
    if (subresource == "status")
      return PlainStrategy::prepare_subresource_update(context, subresource, old, document);
    Document next = old;
    const auto* finalizers = find_path(document, "spec.finalizers");
    Document& spec = ensure_object(next, "spec");
    if (finalizers == nullptr) {
      spec.erase("finalizers");
    } else {
      spec["finalizers"] = *finalizers;
    }
    document = std::move(next);
  }
  ApiResult<DeletionRule> deletion_rule(const Document& document,
                                        const DeleteOptions&) const override {
    const std::string_view name = string_at(document, "metadata.name");
    if (name == "default" || name == "kube-system" || name == "kube-public") {
      return forbidden_status(info().qualified_resource(), name,
                              "this namespace may not be deleted");
    }
    return DeletionRule{.how = DeletionRule::How::Mark};
  }
  void mark_deleting(Document& document) const override {
    ensure_object(document, "status")["phase"] = "Terminating";
  }
  bool is_held(const Document& document) const override {
    const auto* list = array_at(document, "spec.finalizers");
    return list != nullptr && !list->empty();
  }
  bool delete_returns_object() const override { return true; }
};

class ServiceStrategy final : public PlainStrategy {
 public:
  using PlainStrategy::PlainStrategy;
  bool put_may_create() const override { return true; }
  bool delete_returns_object() const override { return true; }
};

class PodStrategy final : public PlainStrategy {
 public:
  using PlainStrategy::PlainStrategy;
  bool delete_returns_object() const override { return true; }
  bool has_generation() const override { return true; }
  bool bumps_generation(const Document& old, const Document& document) const override {
    return old.at("spec") != document.at("spec");
  }
  ApiResult<DeletionRule> deletion_rule(const Document& document,
                                        const DeleteOptions& options) const override {
    std::int64_t grace = options.grace_period_seconds.value_or(
        int_at(document, "spec.terminationGracePeriodSeconds").value_or(30));
    if (string_at(document, "spec.nodeName").empty()) grace = 0;
    if (grace < 0) grace = 1;
    if (grace == 0) return DeletionRule{};
    return DeletionRule{.how = DeletionRule::How::Graceful, .grace_seconds = grace};
  }
};

Subresource status_subresource() { return {.name = "status", .verbs = {"get", "patch", "update"}}; }

}  // namespace

std::vector<std::unique_ptr<const Strategy>> make_strategies(const KindsConfig&) {
  std::vector<std::unique_ptr<const Strategy>> out;
  out.push_back(std::make_unique<NamespaceStrategy>(ResourceInfo{
      .version = "v1",
      .resource = "namespaces",
      .singular = "namespace",
      .kind = "Namespace",
      .short_names = {"ns"},
      .namespaced = false,
      .verbs = {"create", "delete", "get", "list", "patch", "update", "watch"},
      .subresources = {{.name = "finalize", .verbs = {"update"}}, status_subresource()},
      .storage_prefix = "/registry/namespaces/"}));
  out.push_back(
      std::make_unique<PlainStrategy>(ResourceInfo{.version = "v1",
                                                   .resource = "nodes",
                                                   .singular = "node",
                                                   .kind = "Node",
                                                   .short_names = {"no"},
                                                   .namespaced = false,
                                                   .subresources = {status_subresource()},
                                                   .storage_prefix = "/registry/minions/"}));
  out.push_back(std::make_unique<PodStrategy>(ResourceInfo{.version = "v1",
                                                           .resource = "pods",
                                                           .singular = "pod",
                                                           .kind = "Pod",
                                                           .short_names = {"po"},
                                                           .categories = {"all"},
                                                           .subresources = {status_subresource()},
                                                           .storage_prefix = "/registry/pods/"}));
  out.push_back(std::make_unique<ServiceStrategy>(
      ResourceInfo{.version = "v1",
                   .resource = "services",
                   .singular = "service",
                   .kind = "Service",
                   .short_names = {"svc"},
                   .categories = {"all"},
                   .subresources = {status_subresource()},
                   .storage_prefix = "/registry/services/specs/"}));
  out.push_back(
      std::make_unique<PlainStrategy>(ResourceInfo{.group = "discovery.k8s.io",
                                                   .version = "v1",
                                                   .resource = "endpointslices",
                                                   .singular = "endpointslice",
                                                   .kind = "EndpointSlice",
                                                   .storage_prefix = "/registry/endpointslices/"}));
  return out;
}

std::vector<OpenApiDocument> make_openapi_documents(
    const std::vector<std::unique_ptr<const Strategy>>& strategies) {
  std::map<std::string, Document> paths;
  for (const auto& strategy : strategies) {
    const ResourceInfo& info = strategy->info();
    const std::string base = (info.group.empty() ? "api/" : "apis/") + info.api_version();
    const std::string path = fmt::format(
        "/{}/{}{}/{{name}}", base, info.namespaced ? "namespaces/{namespace}/" : "", info.resource);
    Document body{{"content", Document{{"application/strategic-merge-patch+json", Document{}}}}};
    Document patch{
        {"parameters", boost::json::array{Document{{"name", "fieldValidation"}, {"in", "query"}}}},
        {"requestBody", std::move(body)},
        {"x-kubernetes-group-version-kind",
         Document{{"group", info.group}, {"version", info.version}, {"kind", info.kind}}}};
    paths[base][path] = Document{{"patch", std::move(patch)}};
  }
  std::vector<OpenApiDocument> out;
  for (auto& [path, items] : paths) {
    out.push_back({.path = path,
                   .json = boost::json::serialize(
                       Document{{"openapi", "3.0.0"},
                                {"info", Document{{"title", "Fairlead"}, {"version", "v1"}}},
                                {"paths", std::move(items)},
                                {"components", Document{{"schemas", Document{}}}}})});
  }
  return out;
}

}  // namespace fairlead::apiserver
