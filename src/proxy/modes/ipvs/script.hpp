// All of a node as a script for the tools that IPVS's users know: sections that begin with a line
// "# TOOL" and hold that tool's input, in the order in which a node without any of it takes them:
// ip -batch for the device that the families share, then for each family ip -batch, ipset restore,
// ipvsadm -R, iptables-restore --noflush. The mode itself speaks netlink; a node on which this ran
// has what the mode would program. Pure.
#pragma once

#include <string>

#include "proxy/modes/ipvs/objects.hpp"
#include "proxy/modes/ipvs/rules.hpp"

namespace fairlead::ipvs {

std::string device_script();
// Of one family.
std::string to_script(const State& state, const Ruleset& rules, IpFamily family);

}  // namespace fairlead::ipvs
