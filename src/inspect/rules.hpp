// The rules a mode would program for a plan, as text for the mode's own tool: `nft -f`, or
// `iptables-restore` (one text for each family, each with a line that says which); in mode ipvs for
// four tools (ipvs/script.hpp). Pure: the same plan gives the same bytes.
#pragma once

#include <string>
#include <vector>

#include "inspect/node_view.hpp"

namespace fairlead::inspect {

struct RuleOptions {
  std::vector<IpFamily> families;  // of those the view programs
  // What the iptables mode finds out from the machine.
  bool localhost_node_ports = true;
  bool drop_invalid = true;
  std::string ipvs_scheduler;
};

// Unsupported in modes whose rules have no such text.
Result<std::string> render_rules(const NodeView& view, const RuleOptions& options);

}  // namespace fairlead::inspect
