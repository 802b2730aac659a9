#include "proxy/modes/iptables/hooks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

constexpr std::string_view kFirewall = "KUBE-FIREWALL";
constexpr std::string_view kNew = "-m conntrack --ctstate NEW ";

std::string jump(std::string_view match, std::string_view comment, std::string_view chain) {
  return fmt::format("{}-m comment --comment \"{}\" -j {}", match, comment, chain);
}

Rules& of_table(Commands& commands, std::string_view table) {
  return table == "nat" ? commands.nat : commands.filter;
}

std::ptrdiff_t occurrences(const Hook& hook, const SavedRules& saved) {
  const Rules* rules = saved.rules(hook.table, hook.chain);
  return rules == nullptr ? 0 : std::ranges::count(*rules, hook.rule);
}

std::vector<Hook> localhost_hooks() {
  return {
      {.table = "filter",
       .chain = std::string(kFirewall),
       .rule = "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet "
               "connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"},
      {.table = "filter", .chain = "INPUT", .rule = fmt::format("-j {}", kFirewall)},
      {.table = "filter", .chain = "OUTPUT", .rule = fmt::format("-j {}", kFirewall)},
  };
}

Chains held(const std::string& table, const std::vector<Hook>& all, const Chains& chains) {
  Chains out;
  for (const auto& [chain, rules] : chains) {
    if (is_ours(table, chain)) continue;
    for (const std::string& rule : rules) {
      std::string target = target_of(rule);
      if (!is_ours(table, target)) continue;
      const bool hook = std::ranges::any_of(all, [&](const Hook& h) {
        return h.table == table && h.chain == chain && h.rule == rule;
      });
      if (!hook) out.try_emplace(std::move(target));
    }
  }
  return out;
}

}  // namespace

std::vector<Hook> hooks(IpFamily family, bool localhost_node_ports) {
  std::vector<Hook> out;
  const auto add = [&](std::string table, const std::vector<std::string>& chains,
                       const std::string& rule) {
    for (const std::string& chain : chains) {
      out.push_back({.table = table, .chain = chain, .rule = rule});
    }
  };
  // OUTPUT is not in kube-proxy's list: there, a node's own clients are not refused.
  add("filter", {"INPUT", "FORWARD", "OUTPUT"},
      jump(kNew, "kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES"));
  add("filter", {"INPUT"}, jump("", "kubernetes health check service ports", "KUBE-NODEPORTS"));
  add("filter", {"FORWARD", "OUTPUT"}, jump(kNew, "kubernetes service portals", "KUBE-SERVICES"));
  add("filter", {"FORWARD"}, jump("", "kubernetes forwarding rules", "KUBE-FORWARD"));
  add("filter", {"INPUT", "OUTPUT", "FORWARD"},
      jump(kNew, "kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL"));
  add("nat", {"OUTPUT", "PREROUTING"}, jump("", "kubernetes service portals", "KUBE-SERVICES"));
  add("nat", {"POSTROUTING"}, jump("", "kubernetes postrouting rules", "KUBE-POSTROUTING"));
  if (family == IpFamily::V4 && localhost_node_ports) {
    for (Hook& hook : localhost_hooks()) out.push_back(std::move(hook));
  }
  return out;
}

Commands missing_hooks(const std::vector<Hook>& wanted, const SavedRules& saved) {
  Commands out;
  for (const Hook& hook : wanted) {
    if (occurrences(hook, saved) > 0) continue;
    Rules& commands = of_table(out, hook.table);
    if (hook.chain == kFirewall) {
      // kubelet's, too: what it may have put there stays.
      if (saved.rules(hook.table, hook.chain) == nullptr) {
        commands.push_back(fmt::format("-N {}", kFirewall));
      }
      commands.push_back(fmt::format("-A {} {}", hook.chain, hook.rule));
    } else {
      commands.push_back(fmt::format("-I {} {}", hook.chain, hook.rule));
    }
  }
  return out;
}

Rules firewall_removal(const SavedRules& saved) {
  const std::vector<Hook> ours = localhost_hooks();
  if (saved.rules("filter", kFirewall) == nullptr) return {};
  if (saved.rules("mangle", "KUBE-KUBELET-CANARY") != nullptr) return {};
  for (const auto& [chain, rules] : saved.tables.at("filter")) {
    for (const std::string& rule : rules) {
      if (chain != kFirewall && target_of(rule) != kFirewall) continue;
      const bool known = std::ranges::any_of(
          ours, [&](const Hook& h) { return h.chain == chain && h.rule == rule; });
      if (!known) return {};
    }
  }
  Rules out;
  for (const Hook& hook : ours) {
    const auto count = occurrences(hook, saved);
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      out.push_back(fmt::format("-D {} {}", hook.chain, hook.rule));
    }
  }
  out.push_back(fmt::format("-X {}", kFirewall));
  return out;
}

std::string target_of(std::string_view rule) {
  for (const std::string_view option : {"-j ", "-g "}) {
    const auto at = rule.rfind(option);
    if (at == std::string_view::npos || (at > 0 && rule[at - 1] != ' ')) continue;
    const std::string_view target = rule.substr(at + option.size());
    return std::string(target.substr(0, target.find(' ')));
  }
  return "";
}

Ruleset held_by_others(const std::vector<Hook>& all, const SavedRules& saved) {
  Ruleset out;
  for (const auto& [table, chains] : saved.tables) {
    if (table == "filter") out.filter = held(table, all, chains);
    if (table == "nat") out.nat = held(table, all, chains);
    if (table == "mangle") out.mangle = held(table, all, chains);
  }
  return out;
}

}  // namespace fairlead::iptables
