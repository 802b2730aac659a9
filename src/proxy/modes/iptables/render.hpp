// From a Plan to the rules of one family: pure, and the only place that knows kube-proxy's rules.
// The chains and rules are kube-proxy's (spec/kube-proxy 4), but for KUBE-SERVICES, which is a tree
// over the destination's address (decision record 8).
//
// Not here: health-check accept rules (a Plan does not hold those ports), running the tools.
#pragma once

#include "proxy/modes/iptables/ruleset.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::iptables {

struct RenderOptions {
  bool localhost_node_ports = false;  // node ports answer on 127.0.0.0/8 (IPv4 only)
  bool drop_invalid = true;           // off where conntrack takes TCP liberally
  bool endpoint_comments = true;      // which endpoint a balancing rule means; costly in bulk
};

// Nothing if the plan does not program `family`.
Ruleset render(const plan::Plan& plan, IpFamily family, const RenderOptions& options);

}  // namespace fairlead::iptables
