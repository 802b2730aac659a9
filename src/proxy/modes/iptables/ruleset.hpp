// What one family's iptables must hold of ours, as a value, and as text for iptables-restore.
//
// Rules are kept in the words in which iptables-save prints them, so that an audit is a comparison
// of texts. Invariants: every chain a rule jumps to is in the same table of the same Ruleset or is
// a target of the kernel's; chain names fit in the 28 bytes iptables allows. Values, no thread
// rule. Not here: the jumps from the built-in chains, running the tools.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace fairlead::iptables {

using Rules = std::vector<std::string>;       // without "-A CHAIN"
using Chains = std::map<std::string, Rules>;  // by chain name

struct Ruleset {
  Chains filter;
  Chains nat;
  bool operator==(const Ruleset&) const = default;
};

// Input for `iptables-restore --noflush`, and the work it means.
struct RestoreText {
  std::string text;  // empty: nothing to do
  std::size_t lines = 0;
  bool operator==(const RestoreText&) const = default;
};

// Only the chains that differ are named: written anew if they are in `after`, emptied and deleted
// if not. Both tables are in one text, but each is committed by itself, nat before filter: a
// refusal in filter is lifted only once there is somewhere to go.
RestoreText difference(const Ruleset& before, const Ruleset& after);

}  // namespace fairlead::iptables
