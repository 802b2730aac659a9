// The fixed iptables rules around IPVS, as text in the words of iptables-save. They speak of sets,
// never of services, and so change only with the node's configuration. All our chains begin with
// KUBE-IPVS-: none is shared with another mode, so ours can go without looking. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/plan/plan.hpp"

namespace fairlead::ipvs {

using Chains = std::map<std::string, std::vector<std::string>>;  // rules without "-A CHAIN"

struct Table {
  Chains chains;                     // ours alone
  std::multiset<std::string> jumps;  // from built-in chains, "PREROUTING -j ..."
  bool operator==(const Table&) const = default;
};
using Ruleset = std::map<std::string, Table>;  // by table: filter, mangle, nat

Ruleset rules_for(const plan::NodePlan& node, IpFamily family);

// What iptables-save says of the tables and chains of `wanted`: rules of its chains, and those of
// its jumps that are there.
Ruleset ours_in(std::string_view saved, const Ruleset& wanted);

// Input of iptables-restore --noflush that makes `before` (as ours_in() has it) into `after`; empty
// if they are the same. `after` empty takes all of ours away.
std::string restore_text(const Ruleset& before, const Ruleset& after);

}  // namespace fairlead::ipvs
