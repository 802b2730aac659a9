#include "proxy/modes/iptables/shared_rules.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

using plan::NodePlan;

void add_masquerading(const SharedContext& context, Chains& nat) {
  const NodePlan& node = *context.node;
  const std::string bit = fmt::format("{0:#x}/{0:#x}", node.masquerade_mark);
  nat["KUBE-MARK-MASQ"] = {fmt::format("-j MARK --set-xmark {}", bit)};
  Rules& leaving = nat["KUBE-POSTROUTING"];
  // A backend that meets itself; with chains for endpoints these see to it.
  if (context.shape == Shape::Large) {
    leaving.push_back(fmt::format("{} -m conntrack --ctstate DNAT {} -j KUBE-MARK-MASQ",
                                  quoted_comment("kubernetes endpoints that are their own clients"),
                                  equal_addresses(context.family)));
  }
  const Rules marked = {
      fmt::format("-m mark ! --mark {} -j RETURN", bit),
      // Cleared: a packet that enters the stack again is not masqueraded twice.
      fmt::format("-j MARK --set-xmark {:#x}/0x0", node.masquerade_mark),
      quoted_comment("kubernetes service traffic requiring SNAT") + " -j MASQUERADE --random-fully",
  };
  leaving.insert(leaving.end(), marked.begin(), marked.end());
}

void add_forwarding(const NodePlan& node, const RenderOptions& options, Chains& filter) {
  Rules& rules = filter["KUBE-FORWARD"];
  if (options.drop_invalid) rules.emplace_back("-m conntrack --ctstate INVALID -j DROP");
  rules.push_back(fmt::format("{} -m mark --mark {:#x}/{:#x} -j ACCEPT",
                              quoted_comment("kubernetes forwarding rules"), node.masquerade_mark,
                              node.masquerade_mark));
  rules.push_back(quoted_comment("kubernetes forwarding conntrack rule") +
                  " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
}

// Where every local address answers: all but those of loopback.
std::string_view loopback_exception(IpFamily family, const RenderOptions& options) {
  if (family == IpFamily::V6) return "! -d ::1/128 ";
  return options.localhost_node_ports ? "" : "! -d 127.0.0.0/8 ";
}

void add_node_port_tail(const NodePlan& node, IpFamily family, const RenderOptions& options,
                        Rules& services) {
  const std::string comment = quoted_comment(
      "kubernetes service nodeports; NOTE: this must be the last rule in this chain");
  if (node.node_port_addresses) {
    for (const IpAddress& address : *node.node_port_addresses) {
      services.push_back(
          fmt::format("-d {} {} -j KUBE-NODEPORTS", IpPrefix::host(address), comment));
    }
    return;
  }
  services.push_back(fmt::format("{}{} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
                                 loopback_exception(family, options), comment));
}

Rules node_port_refusals(const SharedContext& context, Rules rules) {
  if (context.node->node_port_addresses) return rules;  // each names its address
  for (std::string& rule : rules)
    rule.insert(0, loopback_exception(context.family, context.options));
  return rules;
}

// Refuses what is for nobody: other ports of cluster IPs, and addresses of the service ranges that
// no service has. An address that is this machine's own is another one's affair (a DNS cache that
// listens on the cluster's DNS address).
void add_strays(const SharedContext& context, Chains& filter) {
  filter[kStrayChain] = {
      "-m addrtype --dst-type LOCAL -j RETURN",
      fmt::format("-p tcp -j {}", reject(Protocol::Tcp, context.family)),
      fmt::format("-j {}", reject(Protocol::Udp, context.family)),
  };
  for (const IpPrefix& range : context.node->service_cidrs) {
    filter["KUBE-SERVICES"].push_back(
        fmt::format("-d {} {} -m addrtype ! --dst-type LOCAL -j DROP", range,
                    quoted_comment("addresses of the service range that nobody has")));
  }
}

void append_sorted(Rules from, Rules& to) {
  std::ranges::sort(from);
  std::ranges::move(from, std::back_inserter(to));
}

}  // namespace

// A classic BPF program as iptables writes it: instructions "code jump-if-true jump-if-false
// operand", loads of 32 bits at a time.
std::string equal_addresses(IpFamily family) {
  constexpr unsigned kLoad = 0x20, kToIndex = 0x07, kJumpIfEqual = 0x1d, kReturn = 0x06;
  const unsigned words = family == IpFamily::V4 ? 1 : 4;
  const unsigned source = family == IpFamily::V4 ? 12 : 8;
  const unsigned instructions = 4 * words + 2;
  std::string out = fmt::format("{}", instructions);
  for (unsigned word = 0; word < words; ++word) {
    const unsigned offset = source + 4 * word;
    const unsigned jump_at = 4 * word + 3;
    out += fmt::format(",{} 0 0 {},{} 0 0 0,{} 0 0 {},{} 0 {} 0", kLoad, offset, kToIndex, kLoad,
                       offset + 4 * words, kJumpIfEqual, instructions - 1 - jump_at - 1);
  }
  out += fmt::format(",{0} 0 0 65535,{0} 0 0 0", kReturn);
  return fmt::format("-m bpf --bytecode \"{}\"", out);
}

Chains shared_filter_rules(const SharedContext& context, Listings listings) {
  Chains filter;
  add_dispatch(std::move(listings.refused_services), "KUBE-SERVICES", filter);
  add_dispatch(std::move(listings.refused_externals), "KUBE-EXTERNAL-SERVICES", filter);
  append_sorted(node_port_refusals(context, std::move(listings.refused_node_ports)),
                filter["KUBE-EXTERNAL-SERVICES"]);
  add_dispatch(std::move(listings.firewalled), "KUBE-PROXY-FIREWALL", filter);
  append_sorted(std::move(listings.health_checks), filter["KUBE-NODEPORTS"]);
  add_strays(context, filter);
  add_forwarding(*context.node, context.options, filter);
  filter[kCanaryChain];
  return filter;
}

Ruleset shared_rules(const SharedContext& context, Listings listings) {
  Chains nat;
  add_dispatch(std::move(listings.services), "KUBE-SERVICES", nat);
  add_node_port_tail(*context.node, context.family, context.options, nat["KUBE-SERVICES"]);
  append_sorted(std::move(listings.node_ports), nat["KUBE-NODEPORTS"]);
  add_masquerading(context, nat);
  nat[kCanaryChain];
  return {.filter = shared_filter_rules(context, std::move(listings)),
          .nat = std::move(nat),
          .mangle = {{kCanaryChain, {}}}};
}

}  // namespace fairlead::iptables
