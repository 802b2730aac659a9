// What is in this network namespace of modes that do not run: ours from an earlier configuration,
// or kube-proxy's (spec/kube-proxy 1.8). Removed once the mode that runs has programmed everything,
// so that connections meet the old rules until they meet the new ones; flows that the old rules
// have translated live on in conntrack. Sysctls stay as they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace fairlead::proxy {

struct Leftovers {
  std::vector<std::string> removed;  // "nftables ip kube-proxy", "iptables-legacy IPv4", "ipvs"
  std::vector<Error> failures;       // each leaves the others' removal as it is
};

// In the calling thread's network namespace; blocks. `mode` and `variant` are plan::Mode's name()
// and variant() of what stays; empty: nothing stays.
Leftovers remove_leftovers(std::string_view mode, std::string_view variant);

}  // namespace fairlead::proxy
