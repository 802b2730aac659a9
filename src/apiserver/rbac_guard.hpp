// Nobody gives away more than he has: who writes a role must hold all it allows, or have the verb
// "escalate" on roles; who writes a binding must hold all that its role allows, or have the verb
// "bind" on that role. And who creates by a PUT needs "create". Owned by the ApiServer; loop thread
// only.
#pragma once

#include "apiserver/authorizer.hpp"
#include "apiserver/object_writer.hpp"

namespace fairlead::apiserver {

class RbacGuard final : public WriteGuard {
 public:
  // It must outlive the guard.
  explicit RbacGuard(const Authorizer& authorizer) : authorizer_(authorizer) {}

  ApiResult<void> may_create(const User& user, const ResourceInfo& info, std::string_view ns,
                             std::string_view name) const override;
  ApiResult<void> may_write(const User& user, const ResourceInfo& info, std::string_view ns,
                            const Document* old, const Document& next) const override;

 private:
  ApiResult<void> may_write_role(const User& user, const ResourceInfo& info, std::string_view ns,
                                 const Document& role) const;
  ApiResult<void> may_write_binding(const User& user, const ResourceInfo& info, std::string_view ns,
                                    const Document& binding) const;
  ApiResult<void> holds(const User& user, const ResourceInfo& info, std::string_view ns,
                        std::string_view name, const std::vector<PolicyRule>& wanted) const;

  const Authorizer& authorizer_;
};

}  // namespace fairlead::apiserver
