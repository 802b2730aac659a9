// Who may do what by the Roles, ClusterRoles and bindings that are stored (spec 7.3): an index of
// them in memory, kept current by the ApiServer, which answers without looking at any object.
//
// Owned by the ApiServer; loop thread only. Not here: the system:masters group, to whom nothing is
// refused (authorizer.hpp), and who may change roles (rbac_guard.hpp).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/policy_rule.hpp"
#include "apiserver/registry.hpp"
#include "apiserver/user.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";

class Rbac {
 public:
  explicit Rbac(const Registry& registry) : registry_(registry) {}

  // Takes in what the caches hold; once, after they are loaded.
  void load();
  // The object at `key` was written or went away. Other resources than RBAC's are ignored.
  void changed(const Resource& resource, std::string_view key);

  // Why the user may (`RBAC: allowed by ...`); nullopt when no rule allows it.
  std::optional<std::string> reason(const User& user, const Attributes& asked) const;
  bool allows(const User& user, const Attributes& asked) const;
  // Every rule the user has in a namespace; "" = everywhere.
  std::vector<PolicyRule> rules_for(const User& user, std::string_view ns) const;
  // The rules of the role a binding in `ns` refers to; null when there is no such role.
  const std::vector<PolicyRule>* rules_of_role(std::string_view kind, std::string_view ns,
                                               std::string_view name) const;

 private:
  struct Binding {
    std::string ns, name;  // ns "" = holds everywhere
    std::string role_kind, role_name;
    std::string role;  // the role's key
    std::vector<std::string> subjects;
  };
  using BindingPtr = std::shared_ptr<const Binding>;
  using Roles = std::map<std::string, std::vector<PolicyRule>, std::less<>>;
  // Each rule that holds for the user in `ns`, until `each` returns false.
  void visit(const User& user, std::string_view ns,
             const std::function<bool(const PolicyRule&, const Binding&, std::string_view subject)>&
                 each) const;
  void forget_binding(std::string_view key);
  void add_binding(const std::string& key, Binding binding);
  std::string role_key(std::string_view kind, std::string_view ns, std::string_view name) const;

  const Registry& registry_;
  Roles roles_;                                                             // by key
  std::map<std::string, BindingPtr, std::less<>> bindings_;                 // by key
  std::map<std::string, std::vector<BindingPtr>, std::less<>> by_subject_;  // "User alice"
};

}  // namespace fairlead::apiserver
