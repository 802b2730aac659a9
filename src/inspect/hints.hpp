// What somebody who wonders about a verdict should know beside it: objects that name the packet's
// destination and yet do not catch it, or catch it instead of others. Pure.
#pragma once

#include <string>
#include <vector>

#include "inspect/node_view.hpp"

namespace fairlead::inspect {

std::vector<std::string> hints(const NodeView& view, const plan::Packet& packet,
                               const plan::Explanation& explanation);

}  // namespace fairlead::inspect
