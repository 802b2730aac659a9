// Where in the kernel's rules to look for what an Explanation tells, in the words of the mode's own
// tool. Pure.
#pragma once

#include <string>
#include <string_view>

#include "proxy/plan/explain.hpp"

namespace fairlead::inspect {

// Empty when there is no one place: nobody's packet, or, in mode nftables, a refusal.
std::string kernel_rule(std::string_view mode, const plan::Explanation& explanation);

}  // namespace fairlead::inspect
