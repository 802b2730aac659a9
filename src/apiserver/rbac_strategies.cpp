// Role, ClusterRole, RoleBinding, ClusterRoleBinding. Who may write which is rbac_guard.hpp.
#include <boost/json/array.hpp>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/rbac.hpp"

namespace fairlead::apiserver {
namespace {

// Names like "system:node-proxier" are usual: all that a path can hold.
std::vector<std::string> path_segment_errors(std::string_view name) {
  std::vector<std::string> out;
  if (name == "." || name == "..") out.push_back(fmt::format("may not be '{}'", name));
  for (const char c : {'/', '%'}) {
    if (name.find(c) != std::string_view::npos)
      out.push_back(fmt::format("may not contain '{}'", c));
  }
  return out;
}

ResourceInfo info_of(std::string kind, bool namespaced) {
  std::string singular = kind;
  for (char& c : singular) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  ResourceInfo out{.group = std::string(kRbacGroup),
                   .version = "v1",
                   .resource = singular + "s",
                   .singular = singular,
                   .kind = std::move(kind),
                   .namespaced = namespaced};
  out.storage_prefix = "/registry/" + out.resource + "/";
  return out;
}

// ---- roles

FieldErrors rule_errors(const Document& rule, const std::string& field, bool namespaced) {
  FieldErrors out;
  if (texts_at(rule, "verbs").empty())
    out.push_back(required(field + ".verbs", "verbs must contain at least one value"));
  const bool of_paths = !texts_at(rule, "nonResourceURLs").empty();
  const bool of_groups = !texts_at(rule, "apiGroups").empty();
  const bool of_resources = !texts_at(rule, "resources").empty();
  const bool of_names = !texts_at(rule, "resourceNames").empty();
  if (of_paths) {
    const boost::json::value paths = *find_path(rule, "nonResourceURLs");
    if (namespaced) {
      out.push_back(invalid(field + ".nonResourceURLs", paths,
                            "namespaced rules cannot apply to non-resource URLs"));
    }
    if (of_groups || of_resources || of_names) {
      out.push_back(invalid(field + ".nonResourceURLs", paths,
                            "rules cannot apply to both regular resources and non-resource URLs"));
    }
    return out;
  }
  if (!of_groups)
    out.push_back(
        required(field + ".apiGroups", "resource rules must supply at least one api group"));
  if (!of_resources)
    out.push_back(
        required(field + ".resources", "resource rules must supply at least one resource"));
  return out;
}

class RoleStrategy final : public KindStrategy {
 public:
  explicit RoleStrategy(bool namespaced)
      : KindStrategy(info_of(namespaced ? "Role" : "ClusterRole", namespaced),
                     {{.name = "Name", .format = "name"}, {.name = "Created At", .type = "date"}}) {
  }
  std::vector<std::string> name_errors(std::string_view name) const override {
    return path_segment_errors(name);
  }
  FieldErrors validate_create(const RequestContext&, const Document& role) const override {
    FieldErrors errors;
    std::size_t i = 0;
    for (const Document* rule : objects_at(role, "rules"))
      append(errors, rule_errors(*rule, indexed("rules", i++), info().namespaced));
    const Document* aggregation = object_at(role, "aggregationRule");
    if (aggregation != nullptr && objects_at(*aggregation, "clusterRoleSelectors").empty()) {
      errors.push_back(required("aggregationRule.clusterRoleSelectors",
                                "at least one clusterRoleSelector required if aggregationRule is "
                                "non-nil"));
    }
    return errors;
  }
  boost::json::array table_cells(const Document& role, WallTime) const override {
    return {name_cell(role), text_value(string_at(role, "metadata.creationTimestamp"))};
  }
};

// ---- bindings

void default_subject(Document& subject) {
  if (!string_at(subject, "apiGroup").empty()) return;
  const std::string_view kind = string_at(subject, "kind");
  if (kind == "User" || kind == "Group") subject["apiGroup"] = text_value(kRbacGroup);
}

FieldErrors subject_errors(const Document& subject, const std::string& field) {
  FieldErrors out;
  const std::string_view kind = string_at(subject, "kind"), group = string_at(subject, "apiGroup");
  if (string_at(subject, "name").empty()) out.push_back(required(field + ".name"));
  if (kind == "ServiceAccount") {
    if (!group.empty()) out.push_back(not_supported(field + ".apiGroup", group, {""}));
    if (string_at(subject, "namespace").empty()) out.push_back(required(field + ".namespace"));
  } else if (kind == "User" || kind == "Group") {
    if (group != kRbacGroup) out.push_back(not_supported(field + ".apiGroup", group, {kRbacGroup}));
  } else {
    out.push_back(not_supported(field + ".kind", kind, {"ServiceAccount", "User", "Group"}));
  }
  return out;
}

class BindingStrategy final : public KindStrategy {
 public:
  explicit BindingStrategy(bool namespaced)
      : KindStrategy(info_of(namespaced ? "RoleBinding" : "ClusterRoleBinding", namespaced),
                     {{.name = "Name", .format = "name"},
                      {.name = "Role"},
                      {.name = "Age"},
                      {.name = "Users", .priority = 1},
                      {.name = "Groups", .priority = 1},
                      {.name = "ServiceAccounts", .priority = 1}}) {}
  std::vector<std::string> name_errors(std::string_view name) const override {
    return path_segment_errors(name);
  }
  void apply_defaults(Document& binding) const override {
    if (auto* reference = binding.if_contains("roleRef"); reference && reference->is_object()) {
      Document& role = reference->get_object();
      if (string_at(role, "apiGroup").empty()) role["apiGroup"] = text_value(kRbacGroup);
    }
    auto* subjects = binding.if_contains("subjects");
    if (subjects == nullptr || !subjects->is_array()) return;
    for (boost::json::value& subject : subjects->get_array()) {
      if (subject.is_object()) default_subject(subject.get_object());
    }
  }
  FieldErrors validate_create(const RequestContext&, const Document& binding) const override {
    FieldErrors errors;
    const std::string_view group = string_at(binding, "roleRef.apiGroup");
    const std::string_view kind = string_at(binding, "roleRef.kind");
    const std::string_view name = string_at(binding, "roleRef.name");
    if (group != kRbacGroup)
      errors.push_back(not_supported("roleRef.apiGroup", group, {kRbacGroup}));
    if (kind != "ClusterRole" && (!info().namespaced || kind != "Role")) {
      errors.push_back(info().namespaced
                           ? not_supported("roleRef.kind", kind, {"Role", "ClusterRole"})
                           : not_supported("roleRef.kind", kind, {"ClusterRole"}));
    }
    if (name.empty()) errors.push_back(required("roleRef.name"));
    for (std::string& why : path_segment_errors(name))
      errors.push_back(invalid("roleRef.name", name, std::move(why)));
    std::size_t i = 0;
    for (const Document* subject : objects_at(binding, "subjects"))
      append(errors, subject_errors(*subject, indexed("subjects", i++)));
    return errors;
  }
  FieldErrors validate_update(const RequestContext& context, const Document& old,
                              const Document& binding) const override {
    FieldErrors errors = validate_create(context, binding);
    const auto *before = find_path(old, "roleRef"), *now = find_path(binding, "roleRef");
    if (before != nullptr && now != nullptr && *before != *now)
      errors.push_back(invalid("roleRef", *now, "cannot change roleRef"));
    return errors;
  }
  boost::json::array table_cells(const Document& binding, WallTime now) const override {
    std::vector<std::string> users, groups, accounts;
    for (const Document* subject : objects_at(binding, "subjects")) {
      const std::string_view kind = string_at(*subject, "kind"), name = string_at(*subject, "name");
      if (kind == "User") users.emplace_back(name);
      if (kind == "Group") groups.emplace_back(name);
      if (kind == "ServiceAccount")
        accounts.push_back(fmt::format("{}/{}", string_at(*subject, "namespace"), name));
    }
    const auto cell = [](const std::vector<std::string>& texts) {
      return text_value(fmt::format("{}", fmt::join(texts, ", ")));
    };
    return {name_cell(binding),
            text_value(fmt::format("{}/{}", string_at(binding, "roleRef.kind"),
                                   string_at(binding, "roleRef.name"))),
            age_cell(binding, now),
            cell(users),
            cell(groups),
            cell(accounts)};
  }
};

}  // namespace

std::unique_ptr<const Strategy> make_role_strategy(bool namespaced) {
  return std::make_unique<RoleStrategy>(namespaced);
}
std::unique_ptr<const Strategy> make_role_binding_strategy(bool namespaced) {
  return std::make_unique<BindingStrategy>(namespaced);
}

}  // namespace fairlead::apiserver
