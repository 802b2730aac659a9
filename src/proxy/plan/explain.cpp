#include "proxy/plan/explain.hpp"

#include <fmt/ranges.h>

#include <algorithm>

namespace fairlead::plan {
namespace {

struct Match {
  const ServicePlan* service = nullptr;
  const Frontend* frontend = nullptr;
};

// NodePorts answer on the configured addresses, or on every address of the node but loopback.
bool is_node_port_address(const NodePlan& plan, const NodeAddresses& node,
                          const IpAddress& address) {
  if (address.is_loopback() && !(node.localhost_node_ports && address.is_v4())) return false;
  if (!plan.node_port_addresses) return node.contains(address);
  return std::ranges::find(*plan.node_port_addresses, address) != plan.node_port_addresses->end();
}

bool frontend_catches(const Frontend& frontend, const Packet& packet, bool to_node_port_address) {
  if (frontend.port != packet.destination.port) return false;
  return frontend.kind == FrontendKind::NodePort ? to_node_port_address
                                                 : frontend.address == packet.destination.address;
}

// An address of a service wins over a node port, as in the kernel's dispatch.
Match find_match(const Plan& plan, const NodePlan& node_plan, const Packet& packet,
                 const NodeAddresses& node) {
  const bool to_node_port_address =
      is_node_port_address(node_plan, node, packet.destination.address);
  Match node_port;
  for (const auto& [key, service] : plan.services) {
    if (key.family != packet.destination.address.family() ||
        key.service_port.protocol != packet.protocol) {
      continue;
    }
    for (const Frontend& frontend : service->frontends) {
      if (!frontend_catches(frontend, packet, to_node_port_address)) continue;
      if (frontend.kind != FrontendKind::NodePort)
        return {.service = service.get(), .frontend = &frontend};
      node_port = {.service = service.get(), .frontend = &frontend};
    }
  }
  return node_port;
}

bool is_cluster_ip(const Plan& plan, const IpAddress& address) {
  return std::ranges::any_of(plan.services, [&](const auto& entry) {
    return std::ranges::any_of(entry.second->frontends, [&](const Frontend& frontend) {
      return frontend.kind == FrontendKind::ClusterIp && frontend.address == address;
    });
  });
}

Explanation explain_unmatched(const Plan& plan, const NodePlan& node_plan, const Packet& packet) {
  const IpAddress& to = packet.destination.address;
  if (is_cluster_ip(plan, to)) {
    return {.verdict = Verdict::Reject,
            .reason = fmt::format("{} is a cluster IP, but no service port is {}/{}", to,
                                  packet.destination.port, packet.protocol)};
  }
  const auto range = std::ranges::find_if(
      node_plan.service_cidrs, [&](const IpPrefix& prefix) { return prefix.contains(to); });
  if (range != node_plan.service_cidrs.end()) {
    return {.verdict = Verdict::Drop,
            .reason = fmt::format("{} lies in the service range {} but belongs to no service", to,
                                  *range)};
  }
  return {.verdict = Verdict::NotAService,
          .reason = fmt::format("{} is no address of a service", packet.destination)};
}

bool is_pod_traffic(const LocalDetector& detector, const Packet& packet) {
  if (detector.source_prefix) return detector.source_prefix->contains(packet.source);
  if (!detector.interface_name.empty()) return packet.input_interface == detector.interface_name;
  return !detector.interface_prefix.empty() &&
         packet.input_interface.starts_with(detector.interface_prefix);
}

struct Decision {
  Target target = Target::Reject;
  bool masquerade = false;
  std::string why;
};

Decision decide(const Frontend& frontend, const NodePlan& node_plan, const Packet& packet,
                const NodeAddresses& node) {
  const bool from_pod = is_pod_traffic(node_plan.detector, packet);
  if (frontend.short_circuit && from_pod) {
    return {.target = Target::ClusterPool,
            .why = "a pod of this cluster takes the short cut past policy Local"};
  }
  if (frontend.short_circuit && node.contains(packet.source)) {
    return {.target = Target::ClusterPool,
            .masquerade = true,
            .why = "the node itself takes the short cut past policy Local, masqueraded"};
  }
  if (node_plan.masquerade_all && frontend.kind == FrontendKind::ClusterIp) {
    return {.target = frontend.target, .masquerade = true, .why = "masqueradeAll is set"};
  }
  switch (frontend.masquerade) {
    case Masquerade::Never:
      return {.target = frontend.target, .why = "the client's address is kept"};
    case Masquerade::Always:
      return {.target = frontend.target,
              .masquerade = true,
              .why =
                  "traffic from outside under policy Cluster is masqueraded so that replies come "
                  "back here"};
    case Masquerade::OffCluster:
      if (from_pod || !node_plan.detector.implemented()) {
        return {.target = frontend.target, .why = "the client's address is kept"};
      }
      return {.target = frontend.target,
              .masquerade = true,
              .why = fmt::format("{} is no pod address, so it is masqueraded", packet.source)};
  }
  return {};
}

std::vector<EndpointShare> shares(const Pool& pool, const Packet& packet, bool masquerade) {
  std::vector<EndpointShare> out;
  for (const Backend& backend : pool) {
    out.push_back(
        {.backend = backend,
         .probability = 1.0 / static_cast<double>(pool.size()),
         .masqueraded = masquerade || (backend.local && backend.address == packet.source)});
  }
  return out;
}

// The texts quoted here are Kubernetes names and our own sentences: quotes and backslashes are all
// there is to escape.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string_view name_of(FrontendKind kind) {
  switch (kind) {
    case FrontendKind::ClusterIp:
      return "cluster IP";
    case FrontendKind::ExternalIp:
      return "external IP";
    case FrontendKind::LoadBalancerIp:
      return "load-balancer IP";
    case FrontendKind::NodePort:
      return "node port";
  }
  return "?";
}

bool NodeAddresses::contains(const IpAddress& address) const {
  return address.is_loopback() || std::ranges::find(local, address) != local.end();
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::Forward:
      return "forward";
    case Verdict::Reject:
      return "reject";
    case Verdict::Drop:
      return "drop";
    case Verdict::NotAService:
      return "not-a-service";
  }
  return "?";
}

Explanation explain(const Plan& plan, const Packet& packet, const NodeAddresses& node) {
  const auto node_plan = plan.nodes.find(packet.destination.address.family());
  if (node_plan == plan.nodes.end()) {
    return {.reason = fmt::format("{} is not programmed on this node",
                                  packet.destination.address.family())};
  }
  const Match match = find_match(plan, node_plan->second, packet, node);
  if (match.frontend == nullptr) return explain_unmatched(plan, node_plan->second, packet);

  Explanation out{.service = match.service->key, .frontend = *match.frontend};
  const auto& ranges = match.frontend->source_ranges;
  const bool allowed = ranges.empty() || std::ranges::any_of(ranges, [&](const IpPrefix& prefix) {
                         return prefix.contains(packet.source);
                       });
  if (!allowed) {
    out.verdict = Verdict::Drop;
    out.target = Target::Drop;
    out.reason = fmt::format("{} is in none of the service's loadBalancerSourceRanges ({})",
                             packet.source, fmt::join(ranges, ", "));
    return out;
  }
  const Decision decision = decide(*match.frontend, node_plan->second, packet, node);
  out.target = decision.target;
  const Pool& pool = decision.target == Target::LocalPool ? match.service->local_pool
                                                          : match.service->cluster_pool;
  switch (decision.target) {
    case Target::Reject:
      out.verdict = Verdict::Reject;
      out.reason = "the service has no endpoints";
      return out;
    case Target::Drop:
      out.verdict = Verdict::Drop;
      out.reason = "policy Local and the service has no endpoint on this node";
      return out;
    case Target::ClusterPool:
    case Target::LocalPool:
      break;
  }
  if (pool.empty()) {  // a short cut to a pool that has nothing left
    out.verdict = Verdict::Reject;
    out.reason = "the service has no endpoints";
    return out;
  }
  out.verdict = Verdict::Forward;
  out.endpoints = shares(pool, packet, decision.masquerade);
  out.affinity = match.service->affinity;
  out.reason = decision.why;
  return out;
}

std::string to_text(const Explanation& e) {
  std::string out;
  if (e.service) {
    out += fmt::format("service   {} ({}, {})\n", e.service->service_port.to_string(),
                       e.service->service_port.protocol, e.service->family);
  }
  if (e.frontend) {
    const std::string where =
        e.frontend->kind == FrontendKind::NodePort
            ? fmt::format("{}", e.frontend->port)
            : SocketAddress{e.frontend->address, e.frontend->port}.to_string();
    out += fmt::format("frontend  {} {}\n", name_of(e.frontend->kind), where);
  }
  out += fmt::format("verdict   {}: {}\n", to_string(e.verdict), e.reason);
  for (const EndpointShare& share : e.endpoints) {
    out +=
        fmt::format("endpoint  {:<24} 1/{} ({:.1f} %){}{}\n",
                    SocketAddress{share.backend.address, share.backend.port}.to_string(),
                    e.endpoints.size(), share.probability * 100,
                    share.backend.local ? "  local" : "", share.masqueraded ? "  masqueraded" : "");
  }
  if (e.affinity) {
    out += fmt::format("affinity  ClientIP, {} s after the client's last new connection\n",
                       e.affinity->count());
  }
  return out;
}

std::string to_json(const Explanation& e) {
  std::string out =
      fmt::format("{{\"verdict\":{},\"reason\":{}", quoted(to_string(e.verdict)), quoted(e.reason));
  if (e.service) {
    const ServicePortName& name = e.service->service_port;
    out += fmt::format(
        ",\"service\":{{\"namespace\":{},\"name\":{},\"port\":{},\"protocol\":{},\"family\":{}}}",
        quoted(name.namespace_), quoted(name.name), quoted(name.port),
        quoted(fairlead::to_string(name.protocol)), quoted(fairlead::to_string(e.service->family)));
  }
  if (e.frontend) {
    out += fmt::format(",\"frontend\":{{\"kind\":{},\"address\":{},\"port\":{}}}",
                       quoted(name_of(e.frontend->kind)), quoted(e.frontend->address.to_string()),
                       e.frontend->port);
  }
  out += ",\"endpoints\":[";
  for (std::size_t i = 0; i < e.endpoints.size(); ++i) {
    const EndpointShare& share = e.endpoints[i];
    out += fmt::format(
        "{}{{\"address\":{},\"port\":{},\"local\":{},\"probability\":{:.6f},\"masqueraded\":{}}}",
        i == 0 ? "" : ",", quoted(share.backend.address.to_string()), share.backend.port,
        share.backend.local, share.probability, share.masqueraded);
  }
  out += "]";
  if (e.affinity) out += fmt::format(",\"affinitySeconds\":{}", e.affinity->count());
  return out + "}";
}

}  // namespace fairlead::plan
