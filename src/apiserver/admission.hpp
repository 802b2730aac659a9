// What is refused of a write that is valid and allowed, after kube-apiserver's admission plugins:
// those that can be chosen are switched on by name. Who may give away which rights is rbac_guard's,
// which is always asked first. Owned by the ApiHandler; loop thread only.
#pragma once

#include <string>
#include <vector>

#include "apiserver/rbac_guard.hpp"

namespace fairlead::apiserver {

struct AdmissionPlugins {
  // DenyServiceExternalIPs: who writes a Service must not get hold of traffic to any address
  // (CVE-2020-8554). Addresses that a Service has already stay, and may be taken off.
  bool deny_external_ips = false;
};

// By kube-apiserver's names. Invalid: one that is not known, named.
Result<AdmissionPlugins> parse_admission_plugins(const std::vector<std::string>& names);

class Admission final : public WriteGuard {
 public:
  // The authorizer must outlive it.
  Admission(const Authorizer& authorizer, AdmissionPlugins plugins)
      : rbac_(authorizer), plugins_(plugins) {}

  ApiResult<void> may_create(const User& user, const ResourceInfo& info, std::string_view ns,
                             std::string_view name) const override {
    return rbac_.may_create(user, info, ns, name);
  }
  ApiResult<void> may_write(const User& user, const ResourceInfo& info, std::string_view ns,
                            const Document* old, const Document& next) const override;

 private:
  RbacGuard rbac_;
  AdmissionPlugins plugins_;
};

}  // namespace fairlead::apiserver
