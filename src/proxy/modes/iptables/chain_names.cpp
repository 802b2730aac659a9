#include "proxy/modes/iptables/chain_names.hpp"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

namespace fairlead::iptables {
namespace {

std::string hash_input(const plan::ServicePortName& name) {
  return fmt::format("{}{}", name.to_string(), to_lower(name.protocol));
}

constexpr std::array<std::string_view, 7> kFilterChains = {
    "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL",
    "KUBE-FORWARD",  "KUBE-PROXY-CANARY",      kStrayChain};
constexpr std::array<std::string_view, 5> kNatChains = {
    "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY"};
constexpr std::string_view kTree = "KUBE-DST-";
// XLB: before Kubernetes 1.24, what EXT is now.
constexpr std::array<std::string_view, 6> kServicePrefixes = {
    "KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-", "KUBE-XLB-"};

}  // namespace

bool is_ours(std::string_view table, std::string_view chain) {
  const auto has_prefix = [&](std::string_view prefix) { return chain.starts_with(prefix); };
  if (table == "mangle") return chain == kCanaryChain || chain == kProbeChain;
  if (table == "filter")
    return has_prefix(kTree) || std::ranges::find(kFilterChains, chain) != kFilterChains.end();
  if (table != "nat") return false;
  return has_prefix(kTree) || std::ranges::any_of(kServicePrefixes, has_prefix) ||
         std::ranges::find(kNatChains, chain) != kNatChains.end();
}

std::string hash16(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  constexpr std::size_t kLength = 16;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string out;
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const unsigned char byte : digest) {
    buffer = (buffer << 8U) | byte;
    bits += 8;
    while (bits >= 5 && out.size() < kLength) {
      bits -= 5;
      out.push_back(kAlphabet[(buffer >> bits) & 31U]);
    }
  }
  return out;
}

std::string service_chain(std::string_view prefix, const plan::ServicePortName& name) {
  return fmt::format("{}{}", prefix, hash16(hash_input(name)));
}

std::string endpoint_chain(const plan::ServicePortName& name, const plan::Backend& backend) {
  const SocketAddress endpoint{.address = backend.address, .port = backend.port};
  return fmt::format("KUBE-SEP-{}", hash16(hash_input(name) + endpoint.to_string()));
}

}  // namespace fairlead::iptables
