#include "apiserver/admission.hpp"

#include <algorithm>

namespace fairlead::apiserver {
namespace {

constexpr std::string_view kDenyExternalIps = "DenyServiceExternalIPs";
// What this server does anyway, and manifests for kube-apiserver name.
constexpr std::string_view kNamespaceLifecycle = "NamespaceLifecycle";

bool adds_external_ip(const Document* old, const Document& service) {
  const std::vector<std::string> had =
      old == nullptr ? std::vector<std::string>() : texts_at(*old, "spec.externalIPs");
  return std::ranges::any_of(texts_at(service, "spec.externalIPs"), [&had](const std::string& ip) {
    return std::ranges::find(had, ip) == had.end();
  });
}

}  // namespace

Result<AdmissionPlugins> parse_admission_plugins(const std::vector<std::string>& names) {
  AdmissionPlugins out;
  for (const std::string& name : names) {
    if (name == kDenyExternalIps) {
      out.deny_external_ips = true;
    } else if (name != kNamespaceLifecycle) {
      return make_error(ErrorCode::Invalid, "\"{}\" is neither {} nor {}, which is always on", name,
                        kDenyExternalIps, kNamespaceLifecycle);
    }
  }
  return out;
}

ApiResult<void> Admission::may_write(const User& user, const ResourceInfo& info,
                                     std::string_view ns, const Document* old,
                                     const Document& next) const {
  FAIRLEAD_CHECK(rbac_.may_write(user, info, ns, old, next));
  const bool refused = plugins_.deny_external_ips && info.group.empty() && info.kind == "Service" &&
                       adds_external_ip(old, next);
  if (!refused) return {};
  return forbidden_status(info.qualified_resource(), string_at(next, "metadata.name"),
                          "Use of external IPs is denied by admission control");
}

}  // namespace fairlead::apiserver
