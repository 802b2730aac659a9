// What one family's iptables must hold of ours, as a value, and as text for iptables-restore.
//
// Rules are kept in the words in which iptables-save prints them, so that adoption and audit are
// comparisons of texts. Invariants: every chain a rule jumps to is in the same table of the same
// Ruleset or is a target of the kernel's; chain names fit in the 28 bytes iptables allows. Values,
// no thread rule. Not here: the jumps from the built-in chains (hooks.hpp), running the tools.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead::iptables {

using Rules = std::vector<std::string>;       // without "-A CHAIN"
using Chains = std::map<std::string, Rules>;  // by chain name

struct Ruleset {
  Chains filter;
  Chains nat;
  Chains mangle;
  bool operator==(const Ruleset&) const = default;
};

// A way from one Ruleset to another; chains that are equal in both may be left out.
struct Change {
  Ruleset before;
  Chains filter_between;  // while nat changes
  Ruleset after;
};

// Chains of somebody else, without a copy: a large cluster's are tens of megabytes. Sorted by name,
// each name once.
using ChainsView = std::vector<std::pair<std::string_view, const Rules*>>;
ChainsView view(const Chains& chains);

struct RulesetView {
  ChainsView filter;
  ChainsView nat;
  ChainsView mangle;
};
RulesetView view(const Ruleset& ruleset);

// What a Change is, as views.
struct ChangeView {
  RulesetView before;
  ChainsView filter_between;
  RulesetView after;
};
ChangeView view(const Change& change);

// Commands beside the chains of a table: "-I INPUT ...", "-D INPUT ...".
struct Commands {
  Rules filter;
  Rules nat;
  Rules mangle;
};

struct RuleTotals {
  std::size_t filter = 0;
  std::size_t nat = 0;
  bool operator==(const RuleTotals&) const = default;
};

// Input for `iptables-restore --noflush`, and the work it means.
struct RestoreText {
  std::string text;  // empty: nothing to do
  std::size_t lines = 0;
  std::size_t commits = 0;
  RuleTotals rules;  // that it writes
  bool operator==(const RestoreText&) const = default;
};

// Only the chains that differ are named: written anew if they are in `after`, emptied and deleted
// if not. All is one text, but each table is committed by itself. A packet that nat sends to a
// backend meets no refusal in filter, so refusals come before what they replace is taken away, and
// go after what replaces them: filter to `filter_between`, nat, filter to the end.
RestoreText restore_text(const ChangeView& change, const Commands& commands);
RestoreText restore_text(const Change& change, const Commands& commands);

// The same without a state between: nat before filter.
RestoreText difference(const Ruleset& before, const Ruleset& after);

}  // namespace fairlead::iptables
