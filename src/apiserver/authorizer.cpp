#include "apiserver/authorizer.hpp"

namespace fairlead::apiserver {

bool Authorizer::is_unlimited(const User& user) const {
  // Whom a review asks about need not have the groups that authentication would give.
  return user.in_group(kMasters) || (mode_ == AuthorizationMode::AlwaysAllow &&
                                     user.name != kAnonymous && !user.in_group(kUnauthenticated));
}

bool Authorizer::allows(const User& user, const Attributes& asked) const {
  return is_unlimited(user) || rbac_.allows(user, asked);
}

std::optional<std::string> Authorizer::reason(const User& user, const Attributes& asked) const {
  if (is_unlimited(user)) return std::string();
  return rbac_.reason(user, asked);
}

ApiResult<void> Authorizer::authorize(const User& user, const Attributes& asked) const {
  if (allows(user, asked)) return {};
  if (!asked.path.empty()) {
    StatusError error = forbidden_status({}, {}, {});
    error.message = fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"", user.name,
                                asked.verb, asked.path);
    return error;
  }
  const std::string resource =
      asked.subresource.empty() ? asked.resource : asked.resource + "/" + asked.subresource;
  const std::string scope =
      asked.ns.empty() ? "at the cluster scope" : fmt::format("in the namespace \"{}\"", asked.ns);
  return forbidden_status(
      {.group = asked.group, .resource = asked.resource}, asked.name,
      fmt::format("User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {}", user.name,
                  asked.verb, resource, asked.group, scope));
}

std::vector<PolicyRule> Authorizer::rules_for(const User& user, std::string_view ns) const {
  if (is_unlimited(user)) {
    return {{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}},
            {.verbs = {"*"}, .paths = {"*"}}};
  }
  return rbac_.rules_for(user, ns);
}

}  // namespace fairlead::apiserver
