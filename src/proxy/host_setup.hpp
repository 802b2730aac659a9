// What kube-proxy adjusts on the host at start: conntrack sysctls and its own OOM score
// (spec/kube-proxy 8.3, 1.1). Each step that is not possible is a warning, never the end: rules
// work without it, and in a container or namespace most of it is read-only.
#pragma once

#include <string>
#include <vector>

#include "proxy/config.hpp"

namespace fairlead::proxy {

// nf_conntrack_max for that many CPUs; 0 = leave it. At least `min`, at most 1048576 (the hash
// table takes memory even when empty).
std::int64_t conntrack_max(const ConntrackSection& config, int cpus);

// All return what could not be done, in words.
std::vector<std::string> apply_conntrack_sysctls(const ConntrackSection& config);
// Lets packets from 127.0.0.0/8 be sent to other machines, which localhost node ports need. Rules
// of the mode keep the network from using it.
std::vector<std::string> apply_route_localnet(const Config& config);
std::vector<std::string> apply_oom_score(std::int32_t adjustment);

}  // namespace fairlead::proxy
