// Names of the chains of one service port: kube-proxy's, which tools and people look for.
#pragma once

#include <string>
#include <string_view>

#include "proxy/plan/plan.hpp"

namespace fairlead::iptables {

// First 16 characters of base32 (RFC 4648) of the SHA-256 of `text`.
std::string hash16(std::string_view text);

// `prefix` is "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-" or "KUBE-FW-".
std::string service_chain(std::string_view prefix, const plan::ServicePortName& name);
std::string endpoint_chain(const plan::ServicePortName& name, const plan::Backend& backend);

}  // namespace fairlead::iptables
