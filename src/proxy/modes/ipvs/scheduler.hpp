// Schedulers of the kernel and how users write them: "wrr", or with options of the hashing ones
// after a colon, "sh:port,fallback". Pure.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "proxy/modes/ipvs/objects.hpp"

namespace fairlead::ipvs {

// All that kernels have had so far.
std::span<const std::string_view> scheduler_names();

// "mh" alone hashes the client's port too, as kube-proxy has it; with options, only those count.
// Empty is round robin. A name unknown to us is passed through: the kernel may be newer.
Result<Scheduling> parse_scheduler(std::string_view text);

}  // namespace fairlead::ipvs
