// What must stand in chains that are not ours: the jumps from the built-in chains, and the rule
// that keeps localhost ports from the network.
#pragma once

#include <string>
#include <vector>

#include "base/ip.hpp"
#include "proxy/modes/iptables/saved_rules.hpp"

namespace fairlead::iptables {

struct Hook {
  std::string table;
  std::string chain;
  std::string rule;  // in iptables-save's words
};

// In the order in which they are put to the front of their chains (spec/kube-proxy 4.2).
std::vector<Hook> hooks(IpFamily family, bool localhost_node_ports);

// Commands that put in what `saved` lacks. A rule that is there stays where it is.
Commands missing_hooks(const std::vector<Hook>& wanted, const SavedRules& saved);
// Commands that take KUBE-FIREWALL out, unless somebody else uses it, as kubelet does.
Rules firewall_removal(const SavedRules& saved);

// The chain a rule leads to; empty if it leads nowhere.
std::string target_of(std::string_view rule);

// Chains of ours to which others' rules lead, empty: these can't be deleted.
Ruleset held_by_others(const std::vector<Hook>& all, const SavedRules& saved);

}  // namespace fairlead::iptables
