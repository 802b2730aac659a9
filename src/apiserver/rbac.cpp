#include "apiserver/rbac.hpp"

#include <algorithm>

namespace fairlead::apiserver {
namespace {

enum class Sort { None, Role, Binding };

Sort sort_of(const ResourceInfo& info) {
  if (info.group != kRbacGroup) return Sort::None;
  return info.kind.ends_with("Binding") ? Sort::Binding : Sort::Role;
}

std::string subject_of(std::string_view kind, std::string_view name) {
  return fmt::format("{} {}", kind, name);
}

// A ServiceAccount is the user its tokens make.
std::string subject_of(const Document& subject, std::string_view binding_ns) {
  const std::string_view kind = string_at(subject, "kind"), name = string_at(subject, "name");
  if (kind != "ServiceAccount") return subject_of(kind, name);
  const std::string_view ns = string_at(subject, "namespace");
  return subject_of("User",
                    fmt::format("system:serviceaccount:{}:{}", ns.empty() ? binding_ns : ns, name));
}

}  // namespace

std::string Rbac::role_key(std::string_view kind, std::string_view ns,
                           std::string_view name) const {
  const Resource* held =
      registry_.find(kRbacGroup, "v1", kind == "ClusterRole" ? "clusterroles" : "roles");
  return held == nullptr ? std::string() : held->key(ns, name);
}

void Rbac::load() {
  for (const auto& resource : registry_.resources()) {
    if (sort_of(resource->info()) == Sort::None) continue;
    for (const auto& [key, object] : resource->cache.objects()) changed(*resource, key);
  }
}

void Rbac::changed(const Resource& resource, std::string_view key) {
  const Sort sort = sort_of(resource.info());
  if (sort == Sort::None) return;
  const ObjectPtr object = resource.cache.find(key);
  if (sort == Sort::Role) {
    const std::string own(key);
    if (object == nullptr) {
      roles_.erase(own);
    } else {
      roles_.insert_or_assign(own, rules_of(object->document()));
    }
    return;
  }
  forget_binding(key);
  if (object == nullptr) return;
  const Document document = object->document();
  Binding binding{.ns = object->ns,
                  .name = object->name,
                  .role_kind = std::string(string_at(document, "roleRef.kind")),
                  .role_name = std::string(string_at(document, "roleRef.name")),
                  .role = {},
                  .subjects = {}};
  binding.role = role_key(binding.role_kind, binding.ns, binding.role_name);
  for (const Document* subject : objects_at(document, "subjects"))
    binding.subjects.push_back(subject_of(*subject, binding.ns));
  add_binding(std::string(key), std::move(binding));
}

void Rbac::forget_binding(std::string_view key) {
  const auto found = bindings_.find(key);
  if (found == bindings_.end()) return;
  for (const std::string& subject : found->second->subjects) {
    const auto entry = by_subject_.find(subject);
    if (entry == by_subject_.end()) continue;
    std::erase(entry->second, found->second);
    if (entry->second.empty()) by_subject_.erase(entry);
  }
  bindings_.erase(found);
}

void Rbac::add_binding(const std::string& key, Binding binding) {
  std::ranges::sort(binding.subjects);
  const auto twice = std::ranges::unique(binding.subjects);
  binding.subjects.erase(twice.begin(), twice.end());
  const auto shared = std::make_shared<const Binding>(std::move(binding));
  for (const std::string& subject : shared->subjects) by_subject_[subject].push_back(shared);
  bindings_.emplace(key, shared);
}

void Rbac::visit(
    const User& user, std::string_view ns,
    const std::function<bool(const PolicyRule&, const Binding&, std::string_view)>& each) const {
  std::vector<std::string> subjects{subject_of("User", user.name)};
  for (const std::string& group : user.groups) subjects.push_back(subject_of("Group", group));
  for (const std::string& subject : subjects) {
    const auto bound = by_subject_.find(subject);
    if (bound == by_subject_.end()) continue;
    for (const BindingPtr& binding : bound->second) {
      if (!binding->ns.empty() && binding->ns != ns) continue;
      const auto role = roles_.find(binding->role);
      if (role == roles_.end()) continue;
      for (const PolicyRule& rule : role->second) {
        if (!each(rule, *binding, subject)) return;
      }
    }
  }
}

std::optional<std::string> Rbac::reason(const User& user, const Attributes& asked) const {
  std::optional<std::string> out;
  visit(user, asked.ns,
        [&](const PolicyRule& rule, const Binding& binding, std::string_view subject) {
          // What is no resource is in no namespace.
          if ((!asked.path.empty() && !binding.ns.empty()) || !rule.allows(asked)) return true;
          const std::size_t space = subject.find(' ');
          const bool everywhere = binding.ns.empty();
          out = fmt::format("RBAC: allowed by {} \"{}{}{}\" of {} \"{}\" to {} \"{}\"",
                            everywhere ? "ClusterRoleBinding" : "RoleBinding", binding.name,
                            everywhere ? "" : "/", binding.ns, binding.role_kind, binding.role_name,
                            subject.substr(0, space), subject.substr(space + 1));
          return false;
        });
  return out;
}

bool Rbac::allows(const User& user, const Attributes& asked) const {
  bool allowed = false;
  visit(user, asked.ns, [&](const PolicyRule& rule, const Binding& binding, std::string_view) {
    allowed = (asked.path.empty() || binding.ns.empty()) && rule.allows(asked);
    return !allowed;
  });
  return allowed;
}

std::vector<PolicyRule> Rbac::rules_for(const User& user, std::string_view ns) const {
  std::vector<PolicyRule> out;
  visit(user, ns, [&out](const PolicyRule& rule, const Binding& binding, std::string_view) {
    out.push_back(rule);
    if (!binding.ns.empty()) out.back().paths.clear();
    return true;
  });
  return out;
}

const std::vector<PolicyRule>* Rbac::rules_of_role(std::string_view kind, std::string_view ns,
                                                   std::string_view name) const {
  const auto found = roles_.find(role_key(kind, ns, name));
  return found == roles_.end() ? nullptr : &found->second;
}

}  // namespace fairlead::apiserver
