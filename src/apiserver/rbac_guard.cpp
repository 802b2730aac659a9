#include "apiserver/rbac_guard.hpp"

namespace fairlead::apiserver {
namespace {

bool differ(const Document* old, const Document& next, std::string_view field) {
  const auto* before = old == nullptr ? nullptr : old->if_contains(field);
  const auto* now = next.if_contains(field);
  if (before == nullptr || now == nullptr) return before != now;
  return *before != *now;
}

std::string quoted(const std::vector<std::string>& texts) {
  return texts.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(texts, "\" \""));
}

// One object of a resource, not a path.
Attributes asked(std::string_view verb, std::string_view group, std::string_view resource,
                 std::string_view ns, std::string_view name) {
  return {.verb = std::string(verb),
          .path = {},
          .group = std::string(group),
          .resource = std::string(resource),
          .subresource = {},
          .ns = std::string(ns),
          .name = std::string(name)};
}

}  // namespace

ApiResult<void> RbacGuard::may_create(const User& user, const ResourceInfo& info,
                                      std::string_view ns, std::string_view name) const {
  return authorizer_.authorize(user, asked("create", info.group, info.resource, ns, name));
}

ApiResult<void> RbacGuard::may_write(const User& user, const ResourceInfo& info,
                                     std::string_view ns, const Document* old,
                                     const Document& next) const {
  if (info.group != kRbacGroup || authorizer_.is_unlimited(user)) return {};
  if (info.kind == "Role" || info.kind == "ClusterRole") {
    if (old != nullptr && !differ(old, next, "rules") && !differ(old, next, "aggregationRule"))
      return {};
    return may_write_role(user, info, ns, next);
  }
  if (old != nullptr && !differ(old, next, "subjects") && !differ(old, next, "roleRef")) return {};
  return may_write_binding(user, info, ns, next);
}

ApiResult<void> RbacGuard::may_write_role(const User& user, const ResourceInfo& info,
                                          std::string_view ns, const Document& role) const {
  const std::string_view name = string_at(role, "metadata.name");
  const bool may_escalate =
      authorizer_.allows(user, asked("escalate", info.group, info.resource, ns, name));
  if (may_escalate) return {};
  // Its rules come from roles that others may write later.
  const std::vector<PolicyRule> all{{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}},
                                    {.verbs = {"*"}, .paths = {"*"}}};
  if (object_at(role, "aggregationRule") != nullptr &&
      !missing(authorizer_.rules_for(user, ns), all).empty()) {
    return forbidden_status(info.qualified_resource(), name,
                            "must have cluster-admin privileges to use the aggregationRule");
  }
  return holds(user, info, ns, name, rules_of(role));
}

ApiResult<void> RbacGuard::may_write_binding(const User& user, const ResourceInfo& info,
                                             std::string_view ns, const Document& binding) const {
  const std::string_view kind = string_at(binding, "roleRef.kind");
  const std::string_view role = string_at(binding, "roleRef.name");
  const std::string_view resource = kind == "ClusterRole" ? "clusterroles" : "roles";
  const bool may_bind = authorizer_.allows(user, asked("bind", info.group, resource, ns, role));
  if (may_bind) return {};
  const auto* rules = authorizer_.rbac().rules_of_role(kind, ns, role);
  if (rules == nullptr) return not_found({.group = info.group, .resource = resource}, role);
  return holds(user, info, ns, string_at(binding, "metadata.name"), *rules);
}

ApiResult<void> RbacGuard::holds(const User& user, const ResourceInfo& info, std::string_view ns,
                                 std::string_view name,
                                 const std::vector<PolicyRule>& wanted) const {
  const auto lacking = missing(authorizer_.rules_for(user, ns), wanted);
  if (lacking.empty()) return {};
  std::string lines;
  for (const PolicyRule& rule : lacking) lines += "\n" + to_string(rule);
  return forbidden_status(
      info.qualified_resource(), name,
      fmt::format("user \"{}\" (groups={}) is attempting to grant RBAC permissions not currently "
                  "held:{}",
                  user.name, quoted(user.groups), lines));
}

}  // namespace fairlead::apiserver
