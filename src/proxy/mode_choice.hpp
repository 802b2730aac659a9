// Mode "auto": the best that this kernel and these tools can do.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "proxy/config.hpp"

namespace fairlead::proxy {

struct ModeChoice {
  std::string name;
  std::string reason;  // why this one and none of the better ones
};

struct ModeCandidate {
  std::string_view name;
  std::string_view merit;                 // what speaks for it
  std::function<Result<void>()> attempt;  // changes nothing that lasts
};

// The first that can be attempted; if none, an Error with what each one lacks. A lack of permission
// ends the search: the others would be no better off.
Result<ModeChoice> first_possible(std::span<const ModeCandidate> candidates);

// first_possible() of nftables, iptables, ipvs and userspace, tried in the calling thread's network
// namespace, when the mode of a valid configuration is "auto"; else the mode it names.
Result<ModeChoice> choose_mode(const Config& config);

}  // namespace fairlead::proxy
