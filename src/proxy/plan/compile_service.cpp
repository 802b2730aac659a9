// One Service -> its ServicePlans: flags, frontends and the traffic decision table
// (spec/kube-proxy 3.1, 3.5). No state.
#include <algorithm>

#include "proxy/plan/compile.hpp"
#include "proxy/plan/select.hpp"

namespace fairlead::plan {
namespace {

bool contains(const std::vector<IpAddress>& all, const IpAddress& address) {
  return std::ranges::find(all, address) != all.end();
}

// One service port in one family, with what is needed to decide about it.
struct Subject {
  const model::Service& service;
  const model::ServiceAddresses& addresses;
  const model::ServicePort& port;
  IpFamily family = IpFamily::V4;

  bool external() const {
    return port.node_port != Port{} || !addresses.load_balancer_ips.empty() ||
           !addresses.external_ips.empty();
  }
  // The cluster pool also serves the short cut of nodes and pods past policy Local.
  bool uses_cluster() const { return !service.internal_local || external(); }
  bool uses_local() const {
    return service.internal_local || (service.external_local && external());
  }
};

Frontend cluster_ip_frontend(const Subject& s, const Selection& selection) {
  Frontend out{.kind = FrontendKind::ClusterIp,
               .address = s.addresses.cluster_ip,
               .port = s.port.port,
               .masquerade = Masquerade::OffCluster};
  if (!selection.any) {
    out.target = Target::Reject;
  } else if (!s.service.internal_local) {
    out.target = Target::ClusterPool;
  } else {
    out.target = selection.local.empty() ? Target::Drop : Target::LocalPool;
  }
  return out;
}

// What all ways in from outside have in common.
Frontend external_frontend(const Subject& s, const Selection& selection) {
  if (!selection.any) return {.target = Target::Reject};
  if (!s.service.external_local) {
    return {.target = Target::ClusterPool, .masquerade = Masquerade::Always};
  }
  return {.target = selection.local.empty() ? Target::Drop : Target::LocalPool,
          .short_circuit = !selection.cluster.empty()};
}

// Who may use the load balancer's addresses. A range that holds this node admits those addresses
// themselves as well: a node that has one bound locally uses it as its source.
std::vector<IpPrefix> source_ranges(const Subject& s, const NodeContext& node) {
  std::vector<IpPrefix> out = s.addresses.source_ranges;
  const auto mine = node.addresses.find(s.family);
  if (mine == node.addresses.end()) return out;
  const bool includes_node =
      std::ranges::any_of(out, [&](const IpPrefix& range) { return range.contains(mine->second); });
  if (!includes_node) return out;
  for (const IpAddress& address : s.addresses.load_balancer_ips) {
    out.push_back(IpPrefix::host(address));
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

std::vector<Frontend> frontends_of(const Subject& s, const Selection& selection,
                                   const NodeContext& node) {
  std::vector<Frontend> out{cluster_ip_frontend(s, selection)};
  const Frontend base = external_frontend(s, selection);
  const auto add = [&](FrontendKind kind, const IpAddress& address, Port port) -> Frontend& {
    Frontend& added = out.emplace_back(base);
    added.kind = kind;
    added.address = address;
    added.port = port;
    return added;
  };
  const auto& balancers = s.addresses.load_balancer_ips;
  for (const IpAddress& address : balancers) {
    if (address == s.addresses.cluster_ip) continue;
    add(FrontendKind::LoadBalancerIp, address, s.port.port).source_ranges = source_ranges(s, node);
  }
  for (const IpAddress& address : s.addresses.external_ips) {
    // Named twice: as the load balancer's, it has the restrictions.
    if (address == s.addresses.cluster_ip || contains(balancers, address)) continue;
    add(FrontendKind::ExternalIp, address, s.port.port);
  }
  if (s.port.node_port != Port{}) {
    add(FrontendKind::NodePort, IpAddress::any(s.family), s.port.node_port);
  }
  std::ranges::sort(out);
  out.shrink_to_fit();
  return out;
}

ServingSet serving_set(const std::vector<Candidate>& all) {
  ServingSet out;
  for (const Candidate& c : all) {
    if (c.ready || c.serving) {
      out.push_back({.address = c.backend.address, .port = c.backend.port});
    }
  }
  std::ranges::sort(out);
  return out;
}

void compile_port(const Subject& subject, PlanKey key, const model::ServiceRecord& record,
                  const model::Model& model, const NodeContext& node, CompiledService& out) {
  const auto all = candidates(
      record,
      {.name = subject.port.name, .protocol = subject.port.protocol, .family = subject.family},
      model, node.name);
  Selection selection =
      select(all, {.cluster = subject.uses_cluster(), .local = subject.uses_local()}, model,
             {.node = node.name, .zone = node.zone});
  if (key.service_port.protocol == Protocol::Udp) out.udp[key] = serving_set(all);
  auto frontends = frontends_of(subject, selection, node);
  std::optional<Port> health_check;
  if (subject.service.health_check_node_port != Port{})
    health_check = subject.service.health_check_node_port;
  out.plans.push_back(std::make_shared<const ServicePlan>(
      ServicePlan{.key = std::move(key),
                  .affinity = subject.service.affinity,
                  .cluster_pool = std::move(selection.cluster),
                  .local_pool = std::move(selection.local),
                  .frontends = std::move(frontends),
                  .health_check_node_port = health_check,
                  .ipvs_scheduler = subject.service.ipvs_scheduler,
                  .proxy_protocol = subject.service.proxy_protocol}));
}

// Load balancers steer by this: ready endpoints only, so that they leave before the last
// terminating one stops serving.
std::size_t local_ready_addresses(const model::ServiceRecord& record, IpFamily family,
                                  const model::Model& model, std::string_view node_name) {
  std::set<IpAddress> out;
  for (const auto& [name, slice] : record.slices) {
    if (slice.family != family || slice.ports.empty()) continue;
    for (const model::Endpoint& e : slice.endpoints) {
      if (e.ready && e.node != model::TextId{0} && model.text(e.node) == node_name) {
        out.insert(e.address);
      }
    }
  }
  return out.size();
}

}  // namespace

CompiledService compile_service(const kube::NamespacedName& name,
                                const model::ServiceRecord* record, const model::Model& model,
                                const NodeContext& node) {
  CompiledService out;
  if (record == nullptr || !record->service) return out;
  const model::Service& service = *record->service;
  if (service.health_check_node_port != Port{}) {
    out.health_check = HealthCheck{.port = service.health_check_node_port};
  }
  for (const auto& [family, unused] : node.families) {
    const auto& addresses = service.addresses(family);
    if (!addresses) continue;
    for (const model::ServicePort& port : service.ports) {
      PlanKey key{.service_port = {.namespace_ = name.namespace_,
                                   .name = name.name,
                                   .port = port.name,
                                   .protocol = port.protocol},
                  .family = family};
      compile_port({.service = service, .addresses = *addresses, .port = port, .family = family},
                   std::move(key), *record, model, node, out);
    }
    if (out.health_check) {
      out.health_check->local_endpoints[family] =
          local_ready_addresses(*record, family, model, node.name);
    }
  }
  std::ranges::sort(out.plans, {}, [](const ServicePlanPtr& plan) { return plan->key; });
  return out;
}

}  // namespace fairlead::plan
