// A tree of chains over the destination's address in place of one long list: at most sixteen rules
// are tried on each level.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "base/ip.hpp"
#include "proxy/modes/iptables/ruleset.hpp"

namespace fairlead::iptables {

struct Destination {
  IpAddress address;
  int rank = 0;  // within its address: lower ones are tried first
  std::string rule;
  auto operator<=>(const Destination&) const = default;
};

// Appends to the chain `root` of `chains` what leads to every destination's rule, and adds the
// chains below it. A packet that no rule takes returns to `root` and goes on behind what was
// appended. Destinations of one address and rank exclude each other: they are ordered by their
// rules' text. Equal ones count once.
void add_dispatch(std::vector<Destination> destinations, const std::string& root, Chains& chains);

}  // namespace fairlead::iptables
