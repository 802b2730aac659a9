#include "proxy/modes/iptables/leftovers.hpp"

#include <algorithm>
#include <array>
#include <fstream>

#include "proxy/modes/iptables/chain_names.hpp"
#include "proxy/modes/iptables/hooks.hpp"

namespace fairlead::iptables {
namespace {

struct ChainName {
  std::string_view table, chain;
  bool operator==(const ChainName&) const = default;
};

// Of kube-proxy's IPVS mode, and of its userspace mode, which ended with 1.25. No mode of ours has
// them.
constexpr std::array<ChainName, 10> kForeignChains = {{
    {.table = "nat", .chain = "KUBE-LOAD-BALANCER"},
    {.table = "nat", .chain = "KUBE-NODE-PORT"},
    {.table = "filter", .chain = "KUBE-NODE-PORT"},
    {.table = "filter", .chain = "KUBE-SOURCE-RANGES-FIREWALL"},
    {.table = "filter", .chain = "KUBE-IPVS-OUT-FILTER"},
    {.table = "nat", .chain = "KUBE-PORTALS-CONTAINER"},
    {.table = "nat", .chain = "KUBE-PORTALS-HOST"},
    {.table = "nat", .chain = "KUBE-NODEPORT-CONTAINER"},
    {.table = "nat", .chain = "KUBE-NODEPORT-HOST"},
    {.table = "filter", .chain = "KUBE-NODEPORT-NON-LOCAL"},
}};

constexpr std::string_view kIpvsPrefix = "KUBE-IPVS-";

// Only kube-proxy writes these into its jumps.
constexpr std::array<std::string_view, 12> kComments = {
    "kubernetes externally-visible service portals",
    "kubernetes health check service ports",
    "kubernetes service portals",
    "kubernetes forwarding rules",
    "kubernetes load balancer firewall",
    "kubernetes postrouting rules",
    "kubernetes health check rules",
    "kube-proxy firewall rules",
    "kubernetes ipvs access filter",
    "handle ClusterIPs; NOTE: this must be before the NodePort rules",
    "handle service NodePorts; NOTE: this must be the last rule in the chain",
    "Ensure that non-local NodePort traffic can flow",
};

bool is_left_over(std::string_view table, std::string_view chain, InUse in_use) {
  if (std::ranges::find(kForeignChains, ChainName{.table = table, .chain = chain}) !=
      kForeignChains.end()) {
    return true;
  }
  if (chain.starts_with(kIpvsPrefix)) return in_use != InUse::Ipvs;
  return is_ours(table, chain) && in_use != InUse::Iptables;
}

// Ours to IPVS bear no comment: their target says it all.
bool is_jump_of_kube_proxy(std::string_view rule, std::string_view target) {
  return target.starts_with(kIpvsPrefix) ||
         std::ranges::any_of(kComments, [&](std::string_view comment) {
           return rule.find(fmt::format("--comment \"{}\"", comment)) != std::string_view::npos;
         });
}

// One table's part of the removal.
struct TablePart {
  Chains before, after;
  Rules commands;
};

TablePart table_part(const std::string& table, const Chains& saved, InUse in_use) {
  TablePart out;
  for (const auto& [chain, rules] : saved) {
    if (is_left_over(table, chain, in_use)) {
      out.before.emplace(chain, rules);
      continue;
    }
    if (is_ours(table, chain)) continue;  // of the mode in use: it keeps them in order itself
    for (const std::string& rule : rules) {
      const std::string target = target_of(rule);
      if (!is_left_over(table, target, in_use)) continue;
      if (is_jump_of_kube_proxy(rule, target)) {
        out.commands.push_back(fmt::format("-D {} {}", chain, rule));
      } else {
        out.after.try_emplace(target);
      }
    }
  }
  return out;
}

// Legacy tables come into being by being looked at; those that exist are listed here.
bool has_legacy_tables(IpFamily family) {
  std::ifstream names(family == IpFamily::V4 ? "/proc/thread-self/net/ip_tables_names"
                                             : "/proc/thread-self/net/ip6_tables_names");
  std::string name;
  return static_cast<bool>(names >> name);
}

Result<bool> remove_leftovers_of(Tools& tools, IpFamily family, InUse in_use) {
  if (tools.variant() == Variant::Legacy && !has_legacy_tables(family)) return false;
  auto saved = tools.save(family);
  if (!saved && saved.error().code == ErrorCode::NotFound) return false;
  if (!saved) return std::move(saved).error();
  FAIRLEAD_TRY(rules, SavedRules::parse(*saved));
  const RestoreText text = removal(rules, in_use);
  if (text.text.empty()) return false;
  FAIRLEAD_CHECK(tools.restore(family, text.text));
  return true;
}

}  // namespace

RestoreText removal(const SavedRules& saved, InUse in_use) {
  const auto part = [&](std::string_view table) {
    const auto found = saved.tables.find(table);
    return found == saved.tables.end() ? TablePart{}
                                       : table_part(std::string(table), found->second, in_use);
  };
  TablePart mangle = part("mangle"), nat = part("nat"), filter = part("filter");
  if (in_use != InUse::Iptables) {
    std::ranges::move(firewall_removal(saved), std::back_inserter(filter.commands));
  }
  const Change change{
      .before = {.filter = filter.before, .nat = nat.before, .mangle = mangle.before},
      .filter_between = filter.before,
      .after = {.filter = std::move(filter.after),
                .nat = std::move(nat.after),
                .mangle = std::move(mangle.after)}};
  return restore_text(change, {.filter = std::move(filter.commands),
                               .nat = std::move(nat.commands),
                               .mangle = std::move(mangle.commands)});
}

Result<std::vector<std::string>> remove_leftovers(InUse in_use, std::optional<Variant> variant) {
  std::vector<std::string> out;
  for (const Variant each : {Variant::Nft, Variant::Legacy}) {
    auto tools = open_tools(each);
    if (!tools && tools.error().code == ErrorCode::NotFound) continue;
    if (!tools) return std::move(tools).error();
    const InUse here = !variant || *variant == each ? in_use : InUse::Nothing;
    for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
      auto removed = remove_leftovers_of(**tools, family, here);
      if (!removed) return std::move(removed).error();
      if (*removed) out.push_back(fmt::format("iptables-{} {}", to_string(each), family));
    }
  }
  return out;
}

}  // namespace fairlead::iptables
