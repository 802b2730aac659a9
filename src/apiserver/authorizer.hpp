// Whether somebody may do something. Owned by the ApiServer; loop thread only.
#pragma once

#include <optional>
#include <string>

#include "apiserver/rbac.hpp"
#include "apiserver/status.hpp"
#include "apiserver/user.hpp"

namespace fairlead::apiserver {

enum class AuthorizationMode {
  Rbac,
  AlwaysAllow,  // everybody who is authenticated, everything
};

class Authorizer {
 public:
  Authorizer(AuthorizationMode mode, const Rbac& rbac) : mode_(mode), rbac_(rbac) {}

  bool allows(const User& user, const Attributes& asked) const;
  // The same with a reason in words, "" where there is none to give.
  std::optional<std::string> reason(const User& user, const Attributes& asked) const;
  // 403 in kube-apiserver's words, which do not tell whether the object is there.
  ApiResult<void> authorize(const User& user, const Attributes& asked) const;
  std::vector<PolicyRule> rules_for(const User& user, std::string_view ns) const;
  const Rbac& rbac() const { return rbac_; }
  bool is_unlimited(const User& user) const;

 private:
  AuthorizationMode mode_;
  const Rbac& rbac_;
};

}  // namespace fairlead::apiserver
