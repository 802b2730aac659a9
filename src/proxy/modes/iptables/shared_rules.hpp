// The chains all services share: entries into services, refusals, masquerading, forwarding.
#pragma once

#include "proxy/modes/iptables/service_rules.hpp"

namespace fairlead::iptables {

struct RenderOptions {
  bool localhost_node_ports = false;  // node ports answer on 127.0.0.0/8 (IPv4 only)
  bool drop_invalid = true;           // off where conntrack takes TCP liberally
  // The kernel can compare a packet's two addresses (xt_bpf): what Shape::Large needs.
  bool compares_addresses = true;
  // More endpoints than that make a large cluster, until only half are left: kube-proxy's limit,
  // beyond which it leaves comments out too.
  std::size_t large_above = 1000;
};

// One family's node and how it is written.
struct SharedContext {
  const plan::NodePlan* node = nullptr;
  IpFamily family = IpFamily::V4;
  Shape shape = Shape::Chains;
  RenderOptions options;
};

// The match of packets whose source and destination are equal.
std::string equal_addresses(IpFamily family);

Ruleset shared_rules(const SharedContext& context, Listings listings);
// The filter table of it.
Chains shared_filter_rules(const SharedContext& context, Listings listings);

}  // namespace fairlead::iptables
