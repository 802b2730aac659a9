// What iptables-save printed, as a value. No thread rule; pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "proxy/modes/iptables/ruleset.hpp"

namespace fairlead::iptables {

struct SavedRules {
  std::map<std::string, Chains, std::less<>> tables;

  // Counters and comments are left out. Invalid, naming the line, when it is no such text.
  static Result<SavedRules> parse(std::string_view text);

  // Null when there is no such chain.
  const Rules* rules(std::string_view table, std::string_view chain) const;

  // The chains that are ours (chain_names.hpp).
  Ruleset ours() const;
};

}  // namespace fairlead::iptables
