#include "proxy/modes/userspace/entry_rules.hpp"

#include <algorithm>

#include "proxy/modes/userspace/answer_routes.hpp"

namespace fairlead::userspace {
namespace {

std::string proto_of(const plan::ServicePlan& plan) {
  return std::string(to_lower(plan.key.service_port.protocol));
}

bool is_node_port(const plan::Frontend& frontend) {
  return frontend.kind == plan::FrontendKind::NodePort;
}

// Where in the maps a frontend stands: by address, protocol and port, or by the last two.
std::string place_of(const plan::ServicePlan& plan, const plan::Frontend& frontend) {
  if (is_node_port(frontend)) {
    return fmt::format("{} . {}", proto_of(plan), number(frontend.port));
  }
  return fmt::format("{} . {} . {}", frontend.address, proto_of(plan), number(frontend.port));
}

// Which of three: to the frontend's pool, to the cluster pool by the short cut, or either.
std::string_view way_of(const plan::Frontend& frontend) {
  if (!frontend.short_circuit) return "pool";
  return pool_of(frontend) ? "either" : "short";
}

void add_udp_ports(const plan::ServicePlan& plan, const plan::Frontend& frontend,
                   const Ports& ports, std::vector<Element>& out) {
  const std::string node = is_node_port(frontend) ? "node-" : "";
  const std::string key = is_node_port(frontend)
                              ? std::to_string(number(frontend.port))
                              : fmt::format("{} . {}", frontend.address, number(frontend.port));
  const auto add = [&](std::string_view set, PoolKind pool) {
    const auto port = ports.udp({.key = plan.key, .pool = pool, .source = source_rule(frontend)});
    check(port.has_value(), "a UDP entry has its sockets");
    out.push_back(
        {.set = node + std::string(set), .key = key, .value = std::to_string(number(*port))});
  };
  if (const auto pool = pool_of(frontend)) add("udp-pools", *pool);
  if (frontend.short_circuit) add("udp-shorts", PoolKind::Cluster);
}

// Ranges within others are left out: a set of intervals takes no overlaps.
std::vector<IpPrefix> widest(const std::vector<IpPrefix>& ranges) {
  std::vector<IpPrefix> out;
  for (const IpPrefix& range : ranges) {
    const bool covered = std::ranges::any_of(ranges, [&range](const IpPrefix& other) {
      return other != range && other.contains(range);
    });
    if (!covered) out.push_back(range);
  }
  return out;
}

std::string range_text(const IpPrefix& range) {
  return range.length() == range.address().bits() ? range.address().to_string() : range.to_string();
}

void add_frontend(const plan::ServicePlan& plan, const plan::Frontend& frontend, const Ports& ports,
                  std::vector<Element>& out) {
  const std::string place = place_of(plan, frontend);
  const std::string node = is_node_port(frontend) ? "node-" : "";
  const auto pool = pool_of(frontend);
  if (pool || frontend.short_circuit) {
    const bool udp = plan.key.service_port.protocol == Protocol::Udp;
    const std::string chain = udp ? fmt::format("{}udp-{}", node, way_of(frontend))
                                  : fmt::format("tcp-{}", way_of(frontend));
    out.push_back({.set = node + "routes", .key = place, .value = "goto " + chain});
    if (udp) add_udp_ports(plan, frontend, ports, out);
  }
  if (!pool) {
    out.push_back({.set = node + "turned-away",
                   .key = place,
                   .value = frontend.target == plan::Target::Reject ? "goto reject-it" : "drop"});
  }
  if (frontend.source_ranges.empty()) return;
  out.push_back({.set = "restricted", .key = place, .value = {}});
  for (const IpPrefix& range : widest(frontend.source_ranges)) {
    out.push_back(
        {.set = "admitted", .key = fmt::format("{} . {}", place, range_text(range)), .value = {}});
  }
}

// What tells clients of this node and its pods from others, as conditions of rules.
std::vector<std::string> local_conditions(IpFamily family, const plan::LocalDetector& detector) {
  std::vector<std::string> out{"fib saddr type local"};
  if (detector.source_prefix) {
    out.push_back(fmt::format("{} saddr {}", nft_family(family), *detector.source_prefix));
  }
  if (!detector.interface_name.empty()) {
    out.push_back(fmt::format("iifname \"{}\"", detector.interface_name));
  }
  if (!detector.interface_prefix.empty()) {
    out.push_back(fmt::format("iifname \"{}*\"", detector.interface_prefix));
  }
  return out;
}

struct Chain {
  std::string name;
  std::vector<std::string> rules;
};

std::string text_of(const Chain& chain) {
  std::string out = fmt::format("  chain {} {{\n", chain.name);
  for (const std::string& rule : chain.rules) out += fmt::format("    {}\n", rule);
  return out + "  }\n";
}

// pool, short and either for one kind of traffic.
std::vector<Chain> ways(const std::string& prefix, const std::vector<std::string>& locals,
                        const std::string& to_pool, const std::string& to_short) {
  Chain brief{.name = prefix + "-short", .rules = {}};
  for (const std::string& condition : locals) {
    brief.rules.push_back(fmt::format("{} {}", condition, to_short));
  }
  Chain either{.name = prefix + "-either", .rules = brief.rules};
  either.rules.push_back(to_pool);
  return {{.name = prefix + "-pool", .rules = {to_pool}}, std::move(brief), std::move(either)};
}

std::vector<Chain> way_chains(IpFamily family, const plan::NodePlan& node, TcpPorts ports) {
  const auto locals = local_conditions(family, node.detector);
  const std::string_view ip = nft_family(family);
  const auto tcp = [](PortRange ports) {
    return fmt::format("meta l4proto tcp redirect to :{}-{}", number(ports.first),
                       number(ports.last()));
  };
  const auto udp = [ip](std::string_view set) {
    return fmt::format("meta l4proto udp redirect to :{} daddr . udp dport map @{}", ip, set);
  };
  const auto node_udp = [](std::string_view set) {
    return fmt::format("meta l4proto udp redirect to :udp dport map @{}", set);
  };
  std::vector<Chain> out = ways("tcp", locals, tcp(ports.pool), tcp(ports.short_cut));
  std::ranges::move(ways("udp", locals, udp("udp-pools"), udp("udp-shorts")),
                    std::back_inserter(out));
  std::ranges::move(
      ways("node-udp", locals, node_udp("node-udp-pools"), node_udp("node-udp-shorts")),
      std::back_inserter(out));
  return out;
}

std::string sets_text(IpFamily family) {
  const std::string_view address = family == IpFamily::V4 ? "ipv4_addr" : "ipv6_addr";
  const std::string place = fmt::format("{} . inet_proto . inet_service", address);
  std::string out;
  const auto add = [&out](std::string_view kind, std::string_view name, std::string_view type,
                          std::string_view flags = {}) {
    out += fmt::format("  {} {} {{\n    type {}\n{}  }}\n", kind, name, type, flags);
  };
  for (const std::string_view name : {"routes", "turned-away"}) {
    add("map", name, place + " : verdict");
    add("map", fmt::format("node-{}", name), "inet_proto . inet_service : verdict");
  }
  for (const std::string_view name : {"udp-pools", "udp-shorts"}) {
    add("map", name, fmt::format("{} . inet_service : inet_service", address));
    add("map", fmt::format("node-{}", name), "inet_service : inet_service");
  }
  add("set", "restricted", place);
  add("set", "admitted", fmt::format("{} . {}", place, address), "    flags interval\n");
  add("set", "cluster-ips", address);
  return out;
}

// Which destinations are the node's for node ports.
std::string node_port_condition(IpFamily family, const plan::NodePlan& node) {
  const std::string_view ip = nft_family(family);
  if (!node.node_port_addresses) {
    return fmt::format("fib daddr type local {} daddr != {} ", ip,
                       family == IpFamily::V4 ? "127.0.0.0/8" : "::1");
  }
  return fmt::format("{} daddr {{ {} }} ", ip, fmt::join(*node.node_port_addresses, ", "));
}

}  // namespace

std::string_view nft_family(IpFamily family) { return family == IpFamily::V4 ? "ip" : "ip6"; }

std::vector<Element> elements_of(const plan::ServicePlan& plan, const Ports& ports) {
  std::vector<Element> out;
  const bool forwarded = plan.key.service_port.protocol != Protocol::Sctp;
  for (const plan::Frontend& frontend : plan.frontends) {
    if (forwarded) add_frontend(plan, frontend, ports, out);
    if (frontend.kind == plan::FrontendKind::ClusterIp) {
      out.push_back({.set = "cluster-ips", .key = frontend.address.to_string(), .value = {}});
    }
  }
  std::ranges::sort(out);
  const auto surplus = std::ranges::unique(out);
  out.erase(surplus.begin(), surplus.end());
  return out;
}

std::string table_text(IpFamily family, const plan::NodePlan& node, TcpPorts ports,
                       bool transparent) {
  const std::string_view ip = nft_family(family);
  const std::string place = fmt::format("{} daddr . meta l4proto . th dport", ip);
  const bool no_node_ports = node.node_port_addresses && node.node_port_addresses->empty();
  const auto by_node_port = [&](std::string_view map) -> std::vector<std::string> {
    if (no_node_ports) return {};
    return {
        fmt::format("{}meta l4proto . th dport vmap @{}", node_port_condition(family, node), map)};
  };

  std::vector<Chain> chains = way_chains(family, node, ports);
  chains.push_back({.name = "services", .rules = {place + " vmap @routes"}});
  std::ranges::copy(by_node_port("node-routes"), std::back_inserter(chains.back().rules));
  chains.push_back(
      {.name = "reject-it", .rules = {"meta l4proto tcp reject with tcp reset", "reject"}});
  chains.push_back(
      {.name = "restrict",
       .rules = {fmt::format("{} @restricted {} . {} saddr != @admitted drop", place, place, ip)}});
  chains.push_back({.name = "turn-away", .rules = {place + " vmap @turned-away"}});
  std::vector<std::string>& turn_away = chains.back().rules;
  std::ranges::copy(by_node_port("node-turned-away"), std::back_inserter(turn_away));
  turn_away.push_back(fmt::format("{} daddr @cluster-ips goto reject-it", ip));
  for (const IpPrefix& cidr : node.service_cidrs) {
    turn_away.push_back(fmt::format("{} daddr {} drop", ip, cidr));
  }
  for (const auto& [hook, priority] : {std::pair{"prerouting", "dstnat"}, {"output", "-100"}}) {
    chains.push_back(
        {.name = fmt::format("nat-{}", hook),
         .rules = {fmt::format("type nat hook {} priority {}; policy accept;", hook, priority),
                   "jump services"}});
    chains.push_back(
        {.name = fmt::format("restrict-{}", hook),
         .rules = {fmt::format("type filter hook {} priority -110; policy accept;", hook),
                   "ct state new jump restrict"}});
  }
  for (const std::string_view hook : {"input", "forward", "output"}) {
    chains.push_back(
        {.name = fmt::format("turn-away-{}", hook),
         .rules = {fmt::format("type filter hook {} priority -5; policy accept;", hook),
                   "ct state new jump turn-away"}});
  }

  if (transparent) {
    chains.push_back({.name = "answers",
                      .rules = {"type filter hook prerouting priority mangle; policy accept;",
                                fmt::format("socket transparent 1 meta mark set meta mark or {:#x}",
                                            kAnswerMark)}});
  }

  std::string out = fmt::format("table {} {}\ndelete table {} {}\ntable {} {} {{\n{}", ip, kTable,
                                ip, kTable, ip, kTable, sets_text(family));
  for (const Chain& chain : chains) out += text_of(chain);
  return out + "}\n";
}

std::string change_text(IpFamily family, const std::set<Element>& gone,
                        const std::set<Element>& added) {
  std::string out;
  const auto lines = [&](std::string_view verb, const std::set<Element>& elements) {
    for (auto it = elements.begin(); it != elements.end();) {
      const std::string& set = it->set;
      out += fmt::format("{} element {} {} {} {{ {}", verb, nft_family(family), kTable, set,
                         it->text());
      for (++it; it != elements.end() && it->set == set; ++it) out += ", " + it->text();
      out += " }\n";
    }
  };
  lines("delete", gone);
  lines("add", added);
  return out;
}

}  // namespace fairlead::userspace
