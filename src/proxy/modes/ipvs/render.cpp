#include "proxy/modes/ipvs/render.hpp"

#include <algorithm>

#include "proxy/modes/ipvs/scheduler.hpp"

namespace fairlead::ipvs {
namespace {

using plan::Frontend;
using plan::FrontendKind;
using plan::Masquerade;
using plan::ServicePlan;
using plan::Target;

// A mark's two lowest bits say the protocol.
constexpr std::uint32_t kProtocolBits = 0x3;

std::uint32_t protocol_bits(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp:
      return 0;
    case Protocol::Udp:
      return 1;
    case Protocol::Sctp:
      return 2;
  }
  return 0;
}

// FNV-1a: any hash will do that is the same in every run.
std::uint32_t hash_of(const plan::PlanKey& key) {
  std::uint32_t hash = 2166136261U;
  const auto add = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  };
  add(key.service_port.to_string());
  add(to_string(key.family));
  return hash ^ (hash >> 16U);
}

bool takes_short_cut(const Frontend& frontend) {
  return frontend.short_circuit && frontend.target != Target::ClusterPool;
}

SetEntry entry_of(SetId set, const ServerKey& key) {
  return {.set = set,
          .address = key.address,
          .protocol = key.protocol,
          .port = key.port,
          .source = IpPrefix(IpAddress::any(key.address.family()), 0)};
}

class ServiceRenderer {
 public:
  ServiceRenderer(const ServicePlan& service, const Rendering& with)
      : service_(service), with_(with) {}

  Rendered run() && {
    for (const Frontend& frontend : service_.frontends) {
      if (frontend.kind == FrontendKind::NodePort) {
        for (const IpAddress& address : with_.node_ports) add(frontend, address);
      } else {
        add(frontend, frontend.address);
        bind(frontend.address);
      }
    }
    add_short_cut();
    add_loop_back();
    if (service_.health_check_node_port)
      out_.shared.insert(admitted(*service_.health_check_node_port, service_.key.family));
    return std::move(out_);
  }

 private:
  Protocol protocol() const { return service_.key.service_port.protocol; }

  Scheduling scheduling() const {
    if (service_.ipvs_scheduler.empty()) return with_.surroundings.scheduling;
    auto chosen = parse_scheduler(service_.ipvs_scheduler);
    // A service must not come to a halt for a word in one of its annotations.
    if (!chosen || !with_.surroundings.schedulers.contains(chosen->name))
      return with_.surroundings.scheduling;
    return *std::move(chosen);
  }

  Server server_for(const plan::Pool& pool) const {
    Server out{.scheduling = scheduling()};
    if (service_.affinity) out.persistence = static_cast<std::uint32_t>(service_.affinity->count());
    for (const plan::Backend& backend : pool)
      out.destinations.emplace(Destination{.address = backend.address, .port = backend.port}, 1);
    return out;
  }

  // The kernel does not translate the port for a persistent server reached by a mark. Affinity
  // there is a hash of the client's address.
  Server sticky_without_time(Server server) const {
    if (server.persistence == 0) return server;
    server.persistence = 0;
    if (with_.surroundings.schedulers.contains("sh"))
      server.scheduling = {.name = "sh", .flags = kFallback};
    return server;
  }

  const plan::Pool& pool_of(Target target) const {
    static const plan::Pool nobody;
    if (target == Target::ClusterPool) return service_.cluster_pool;
    return target == Target::LocalPool ? service_.local_pool : nobody;
  }

  void add(const Frontend& frontend, const IpAddress& address) {
    const ServerKey key{.family = service_.key.family,
                        .address = address,
                        .port = frontend.port,
                        .protocol = protocol()};
    if (frontend.kind == FrontendKind::NodePort && with_.claimed.contains(key)) return;
    Server server = server_for(pool_of(frontend.target));
    if (!server.destinations.empty()) {
      out_.own.servers.emplace(key, std::move(server));
      enter(SetId::Servers, key);
    } else {
      enter(frontend.target == Target::Drop ? SetId::Drop : SetId::Reject, key);
    }
    if (frontend.masquerade == Masquerade::OffCluster) enter(SetId::ClusterIp, key);
    if (frontend.masquerade == Masquerade::Always) enter(SetId::Masquerade, key);
    if (!frontend.source_ranges.empty()) enter(SetId::Firewalled, key);
    for (const IpPrefix& range : frontend.source_ranges) admit(key, range);
    if (takes_short_cut(frontend)) {
      if (mark_ == 0) mark_ = with_.mark();
      SetEntry entry = entry_of(SetId::ShortCut, key);
      entry.mark = mark_;
      out_.own.entries.insert(entry);
    }
  }

  void enter(SetId set, const ServerKey& key) { out_.own.entries.insert(entry_of(set, key)); }

  // Sets cannot hold a range of length 0, only its halves.
  void admit(const ServerKey& key, const IpPrefix& range) {
    SetEntry entry = entry_of(SetId::SourceRanges, key);
    if (range.length() != 0) {
      entry.source = range;
      out_.own.entries.insert(entry);
      return;
    }
    const IpPrefix low(range.address(), 1);
    entry.source = low;
    out_.own.entries.insert(entry);
    std::array<std::uint8_t, 16> top{0x80};
    const auto bytes = std::span(top).first(range.address().bytes().size());
    entry.source = IpPrefix(IpAddress::from_bytes(bytes), 1);
    out_.own.entries.insert(entry);
  }

  void bind(const IpAddress& address) {
    if (with_.surroundings.interface_addresses.contains(address)) return;
    out_.shared.insert(bound(address));
  }

  void add_short_cut() {
    if (mark_ == 0) return;
    // Packets of the node itself also bear the bit that has them masqueraded.
    for (const std::uint32_t mark : {mark_, mark_ | with_.node.masquerade_mark}) {
      const ServerKey key{.family = service_.key.family,
                          .mark = mark,
                          .address = IpAddress::any(service_.key.family),
                          .protocol = protocol()};
      out_.own.servers.emplace(key, sticky_without_time(server_for(service_.cluster_pool)));
    }
  }

  void add_loop_back() {
    for (const plan::Pool* pool : {&service_.cluster_pool, &service_.local_pool}) {
      for (const plan::Backend& backend : *pool) {
        if (!backend.local) continue;
        out_.shared.insert({.set = SetId::LoopBack,
                            .address = backend.address,
                            .protocol = protocol(),
                            .port = backend.port,
                            .source = IpPrefix::host(backend.address)});
      }
    }
  }

  const ServicePlan& service_;
  const Rendering& with_;
  Rendered out_;
  std::uint32_t mark_ = 0;
};

}  // namespace

std::vector<IpAddress> node_port_addresses(const plan::NodePlan& node, IpFamily family,
                                           const Surroundings& surroundings) {
  std::vector<IpAddress> out;
  if (node.node_port_addresses) {
    std::ranges::copy_if(*node.node_port_addresses, std::back_inserter(out),
                         [&](const IpAddress& a) { return a.family() == family; });
  } else {
    std::ranges::copy_if(surroundings.interface_addresses, std::back_inserter(out),
                         [&](const IpAddress& a) {
                           return a.family() == family && (a.is_v4() || !a.is_link_local());
                         });
  }
  std::erase_if(out, [](const IpAddress& a) { return a.is_loopback(); });
  std::ranges::sort(out);
  return out;
}

std::uint32_t Marks::of(const plan::PlanKey& key, std::uint32_t masquerade_mark) {
  if (const auto known = marks_.find(key); known != marks_.end()) return known->second;
  std::uint32_t number = hash_of(key);
  while (true) {
    const std::uint32_t usable = kMarkNumbers & ~kProtocolBits & ~masquerade_mark;
    const std::uint32_t mark =
        kMarkPrefix | (number & usable) | protocol_bits(key.service_port.protocol);
    if (taken_.insert(mark).second) {
      marks_.emplace(key, mark);
      return mark;
    }
    number += kProtocolBits + 1;
  }
}

void Marks::release(const plan::PlanKey& key) {
  const auto known = marks_.find(key);
  if (known == marks_.end()) return;
  taken_.erase(known->second);
  marks_.erase(known);
}

Protocol protocol_of_mark(std::uint32_t mark) {
  switch (mark & kProtocolBits) {
    case 1:
      return Protocol::Udp;
    case 2:
      return Protocol::Sctp;
    default:
      return Protocol::Tcp;
  }
}

SetEntry record_of(const ServerKey& key) { return entry_of(SetId::Servers, key); }

SetEntry bound(const IpAddress& address) {
  return {.set = SetId::Addresses,
          .address = address,
          .source = IpPrefix(IpAddress::any(address.family()), 0)};
}

SetEntry admitted(Port health_check, IpFamily family) {
  return {.set = SetId::HealthCheck,
          .address = IpAddress::any(family),
          .port = health_check,
          .source = IpPrefix(IpAddress::any(family), 0)};
}

void add_shared(const SetEntry& entry, State& to) {
  to.entries.insert(entry);
  if (entry.set == SetId::Addresses) to.addresses.insert(entry.address);
}

std::set<ServerKey> claimed_servers(const plan::Plan& plan, IpFamily family,
                                    const std::vector<IpAddress>& node_ports) {
  std::set<ServerKey> out;
  for (const auto& [key, service] : plan.services) {
    if (key.family != family) continue;
    for (const Frontend& frontend : service->frontends) {
      if (!std::ranges::binary_search(node_ports, frontend.address)) continue;
      out.insert({.family = family,
                  .address = frontend.address,
                  .port = frontend.port,
                  .protocol = key.service_port.protocol});
    }
  }
  return out;
}

State render_family(const plan::Plan& plan, IpFamily family, const Surroundings& surroundings) {
  const plan::NodePlan& node = plan.nodes.at(family);
  const std::vector<IpAddress> node_ports = node_port_addresses(node, family, surroundings);
  const std::set<ServerKey> claimed = claimed_servers(plan, family, node_ports);
  State out;
  Marks marks;
  for (const auto& entry : plan.services) {
    const plan::PlanKey& key = entry.first;
    if (key.family != family) continue;
    Rendered rendered =
        render(*entry.second, {.node = node,
                               .surroundings = surroundings,
                               .node_ports = node_ports,
                               .claimed = claimed,
                               .mark = [&] { return marks.of(key, node.masquerade_mark); }});
    out.servers.merge(rendered.own.servers);
    out.entries.merge(rendered.own.entries);
    for (const SetEntry& shared : rendered.shared) add_shared(shared, out);
  }
  return out;
}

bool needs_mark(const ServicePlan& service) {
  return std::ranges::any_of(service.frontends, takes_short_cut);
}

Rendered render(const ServicePlan& service, const Rendering& with) {
  return ServiceRenderer(service, with).run();
}

}  // namespace fairlead::ipvs
