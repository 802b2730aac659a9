// The kinds of the cluster itself: Node and Namespace (spec 4.9).
#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/metadata.hpp"
#include "base/ip.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

// ---- Node

std::string node_status_cell(const Document& node) {
  std::string text = "Unknown";
  for (const Document* condition : objects_at(node, "status.conditions")) {
    if (string_at(*condition, "type") != "Ready") continue;
    const std::string_view status = string_at(*condition, "status");
    text = status == "True" ? "Ready" : status == "False" ? "NotReady" : "Unknown";
  }
  return bool_at(node, "spec.unschedulable").value_or(false) ? text + ",SchedulingDisabled" : text;
}

std::string roles_cell(const Document& node) {
  std::set<std::string> roles;
  const Document* labels = object_at(node, "metadata.labels");
  for (auto it = labels == nullptr ? nullptr : labels->begin();
       labels != nullptr && it != labels->end(); ++it) {
    constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
    const std::string_view key(it->key());
    if (key.starts_with(kPrefix)) roles.emplace(key.substr(kPrefix.size()));
  }
  return joined_or_none({roles.begin(), roles.end()});
}

std::string node_address_cell(const Document& node, std::string_view type) {
  for (const Document* address : objects_at(node, "status.addresses")) {
    if (string_at(*address, "type") == type) return std::string(string_at(*address, "address"));
  }
  return "<none>";
}

std::string node_info_cell(const Document& node, std::string_view name) {
  const std::string_view text = string_at(node, fmt::format("status.nodeInfo.{}", name));
  return text.empty() ? "<unknown>" : std::string(text);
}

class NodeStrategy final : public KindStrategy {
 public:
  NodeStrategy()
      : KindStrategy({.version = "v1",
                      .resource = "nodes",
                      .singular = "node",
                      .kind = "Node",
                      .short_names = {"no"},
                      .namespaced = false,
                      .subresources = {status_subresource()},
                      .storage_prefix = "/registry/minions/"},
                     {{.name = "Name", .format = "name"},
                      {.name = "Status"},
                      {.name = "Roles"},
                      {.name = "Age"},
                      {.name = "Version"},
                      {.name = "Internal-IP", .priority = 1},
                      {.name = "External-IP", .priority = 1},
                      {.name = "OS-Image", .priority = 1},
                      {.name = "Kernel-Version", .priority = 1},
                      {.name = "Container-Runtime", .priority = 1}}) {}
  // A kubelet registers itself with its status, so create keeps it.
  void prepare_create(const RequestContext&, Document&) const override {}
  void apply_defaults(Document& node) const override {
    Document& spec = ensure_object(node, "spec");
    const auto cidrs = texts_at(node, "spec.podCIDRs");
    if (!cidrs.empty() && !spec.contains("podCIDR")) spec["podCIDR"] = text_value(cidrs.front());
  }
  FieldErrors validate_create(const RequestContext&, const Document& node) const override {
    FieldErrors errors;
    const auto cidrs = texts_at(node, "spec.podCIDRs");
    if (cidrs.size() > 2) errors.push_back(too_many("spec.podCIDRs", cidrs.size(), 2));
    for (std::size_t i = 0; i < cidrs.size(); ++i) {
      if (!IpPrefix::parse_sloppy(cidrs[i]))
        errors.push_back(
            invalid(fmt::format("spec.podCIDRs[{}]", i), cidrs[i],
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
    return errors;
  }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& node) const override {
    return {{"spec.unschedulable",
             bool_at(node, "spec.unschedulable").value_or(false) ? "true" : "false"}};
  }
  boost::json::array table_cells(const Document& node, WallTime now) const override {
    return {name_cell(node),
            text_value(node_status_cell(node)),
            text_value(roles_cell(node)),
            age_cell(node, now),
            text_value(string_at(node, "status.nodeInfo.kubeletVersion")),
            text_value(node_address_cell(node, "InternalIP")),
            text_value(node_address_cell(node, "ExternalIP")),
            text_value(node_info_cell(node, "osImage")),
            text_value(node_info_cell(node, "kernelVersion")),
            text_value(node_info_cell(node, "containerRuntimeVersion"))};
  }
};

// ---- Namespace

class NamespaceStrategy final : public KindStrategy {
 public:
  NamespaceStrategy()
      : KindStrategy(
            {.version = "v1",
             .resource = "namespaces",
             .singular = "namespace",
             .kind = "Namespace",
             .short_names = {"ns"},
             .namespaced = false,
             .verbs = {"create", "delete", "get", "list", "patch", "update", "watch"},
             .subresources = {{.name = "finalize", .verbs = {"update"}}, status_subresource()},
             .storage_prefix = "/registry/namespaces/"},
            {{.name = "Name", .format = "name"}, {.name = "Status"}, {.name = "Age"}}) {}
  std::vector<std::string> name_errors(std::string_view name) const override {
    if (is_dns1123_label(name)) return {};
    return {std::string(kLabelForm)};
  }
  void apply_defaults(Document& ns) const override {
    ensure_object(ensure_object(ns, "metadata"), "labels")["kubernetes.io/metadata.name"] =
        text_value(string_at(ns, "metadata.name"));
  }
  void prepare_create(const RequestContext&, Document& ns) const override {
    ensure_object(ns, "spec")["finalizers"] = boost::json::array{"kubernetes"};
    ns["status"] = Document{{"phase", "Active"}};
    apply_defaults(ns);  // the name may have been generated since
  }
  void prepare_update(const RequestContext& context, const Document& old,
                      Document& ns) const override {
    KindStrategy::prepare_update(context, old, ns);
    ensure_object(ns, "spec")["finalizers"] = boost::json::array{};
    if (const auto* finalizers = array_at(old, "spec.finalizers"))
      ns["spec"].get_object()["finalizers"] = *finalizers;
  }
  void prepare_subresource_update(const RequestContext& context, std::string_view subresource,
                                  const Document& old, Document& ns) const override {
    if (subresource != "finalize")
      return KindStrategy::prepare_subresource_update(context, subresource, old, ns);
    Document next = old;
    Document& spec = ensure_object(next, "spec");
    const auto* finalizers = find_path(ns, "spec.finalizers");
    if (finalizers == nullptr) {
      spec.erase("finalizers");
    } else {
      spec["finalizers"] = *finalizers;
    }
    ns = std::move(next);
  }
  ApiResult<DeletionRule> deletion_rule(const Document& ns, const DeleteOptions&) const override {
    const std::string_view name = string_at(ns, "metadata.name");
    if (name == "default" || name == "kube-system" || name == "kube-public") {
      return forbidden_status(info().qualified_resource(), name,
                              "this namespace may not be deleted");
    }
    return DeletionRule{.how = DeletionRule::How::Mark};
  }
  void mark_deleting(Document& ns) const override {
    ensure_object(ns, "status")["phase"] = "Terminating";
  }
  bool is_held(const Document& ns) const override {
    return !texts_at(ns, "spec.finalizers").empty();
  }
  bool delete_returns_object() const override { return true; }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& ns) const override {
    return {{"status.phase", std::string(string_at(ns, "status.phase"))}};
  }
  boost::json::array table_cells(const Document& ns, WallTime now) const override {
    return {name_cell(ns), text_value(string_at(ns, "status.phase")), age_cell(ns, now)};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_node_strategy() { return std::make_unique<NodeStrategy>(); }
std::unique_ptr<const Strategy> make_namespace_strategy() {
  return std::make_unique<NamespaceStrategy>();
}

}  // namespace fairlead::apiserver
