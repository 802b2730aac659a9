// The order in which a change of a table is made, so that no packet on its way is lost: a
// transaction is one moment, the way of a packet through the rules is not. Every lookup of its
// evaluation sees the sets of its own time, while the rules stay those of the beginning. A packet
// that was sent to a chain just before a commit must still find there what it was sent for, and one
// that is sent to a new chain just after it must find rules in it. So new chains and restrictions
// come first, then the elements that lead somewhere, and what nothing leads to any more goes last.
// Pure; thread rule: values.
#pragma once

#include <string>
#include <vector>

#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables {

struct TableChange {
  std::vector<Element> removed;
  std::vector<Element> added;           // may hold keys of `removed`: another datum
  std::vector<Chain> fresh;             // what is led to before what leads there
  std::vector<Chain> refilled;          // they are there, with other rules
  std::vector<std::string> stale;       // chains
  std::vector<std::string> stale_sets;  // unknown ones
};

// Each step is to be committed before the next. Most changes are one.
std::vector<std::vector<Operation>> in_steps(TableChange change, IpFamily family);

// Chains and then their rules, which may lead from any of them to any other.
void emit_chains(const std::vector<Chain>& chains, IpFamily family, OperationSink& out);

}  // namespace fairlead::nftables
