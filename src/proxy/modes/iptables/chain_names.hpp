// Names of the chains of one service port: kube-proxy's, which tools and people look for.
#pragma once

#include <string>
#include <string_view>

#include "proxy/plan/plan.hpp"

namespace fairlead::iptables {

// Empty, in every table: its absence tells that somebody flushed the rules.
inline constexpr const char* kCanaryChain = "KUBE-PROXY-CANARY";

// Where packets to a cluster IP go that no port of it is for. Not kube-proxy's.
inline constexpr const char* kStrayChain = "KUBE-NO-SUCH-PORT";

// Exists for a moment, to find out what the kernel can do.
inline constexpr const char* kProbeChain = "KUBE-PROXY-PROBE";

// Whether kube-proxy (or we) made the chain, as opposed to kubelet, another mode or anybody else.
// KUBE-FIREWALL, which kubelet makes as well, is not.
bool is_ours(std::string_view table, std::string_view chain);

// First 16 characters of base32 (RFC 4648) of the SHA-256 of `text`.
std::string hash16(std::string_view text);

// `prefix` is "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-" or "KUBE-FW-".
std::string service_chain(std::string_view prefix, const plan::ServicePortName& name);
std::string endpoint_chain(const plan::ServicePortName& name, const plan::Backend& backend);

}  // namespace fairlead::iptables
