#include "unit/nftables/plans.hpp"

#include <algorithm>

namespace fairlead::nftables::testing {

using plan::Frontend;
using plan::FrontendKind;
using plan::Masquerade;
using plan::Plan;
using plan::Pool;
using plan::ServicePlan;
using plan::Target;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
IpPrefix cidr(std::string_view text) { return IpPrefix::parse(text).value(); }

plan::Backend remote(std::string_view address, std::uint16_t port) {
  return {.address = ip(address), .port = Port{port}, .local = false};
}
plan::Backend local(std::string_view address, std::uint16_t port) {
  return {.address = ip(address), .port = Port{port}, .local = true};
}

plan::PlanKey key(std::string name, IpFamily family, Protocol protocol) {
  return {.service_port = {.namespace_ = "ns",
                           .name = std::move(name),
                           .port = "p",
                           .protocol = protocol},
          .family = family};
}

Frontend cluster_ip(std::string_view address, std::uint16_t port) {
  return {.kind = FrontendKind::ClusterIp,
          .address = ip(address),
          .port = Port{port},
          .target = Target::ClusterPool,
          .masquerade = Masquerade::OffCluster};
}

void put(Plan& plan, ServicePlan service) {
  const plan::PlanKey name = service.key;
  plan.services[name] = std::make_shared<const ServicePlan>(std::move(service));
}

ServicePlan simple_service(std::string name, std::string_view address, Pool pool) {
  return {.key = key(std::move(name)),
          .cluster_pool = std::move(pool),
          .frontends = {cluster_ip(address)}};
}

plan::NodePlan node_settings(IpFamily family) {
  if (family == IpFamily::V4) {
    return {.detector = {.source_prefix = cidr("10.0.0.0/16")},
            .service_cidrs = {cidr("10.96.0.0/16")}};
  }
  return {.detector = {.source_prefix = cidr("fd00:10::/64")},
          .node_port_addresses = std::vector{ip("fd00:50::1")},
          .service_cidrs = {cidr("fd00:96::/112")}};
}

Plan empty_plan() {
  Plan plan;
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6})
    plan.nodes[family] = node_settings(family);
  return plan;
}

namespace {

Frontend external(FrontendKind kind, std::string_view address, std::uint16_t port) {
  return {.kind = kind,
          .address = ip(address),
          .port = Port{port},
          .target = Target::ClusterPool,
          .masquerade = Masquerade::Always};
}

// Policy Local: clients go to this node's backends and keep their address; pods and the node take
// the short cut.
Frontend local_policy(Frontend frontend, Target target) {
  frontend.target = target;
  frontend.masquerade = Masquerade::Never;
  frontend.short_circuit = true;
  return frontend;
}

ServicePlan load_balancer() {
  Frontend balanced =
      local_policy(external(FrontendKind::LoadBalancerIp, "198.51.100.9", 80), Target::LocalPool);
  balanced.source_ranges = {cidr("203.0.113.0/25"), cidr("203.0.113.64/26"),
                            cidr("198.51.100.9/32")};
  return {.key = key("balanced"),
          .cluster_pool = {local("10.0.1.4"), remote("10.0.2.4"), remote("10.0.2.5")},
          .local_pool = {local("10.0.1.4")},
          .frontends = {
              cluster_ip("10.96.0.12"), balanced,
              local_policy(external(FrontendKind::NodePort, "0.0.0.0", 30081), Target::LocalPool)}};
}

ServicePlan sticky() {
  return {.key = key("sticky"),
          .affinity = std::chrono::seconds{600},
          .cluster_pool = {local("10.0.1.2"), remote("10.0.2.2")},
          .frontends = {cluster_ip("10.96.0.10"),
                        external(FrontendKind::ExternalIp, "198.51.100.7", 80),
                        external(FrontendKind::NodePort, "0.0.0.0", 30080)}};
}

ServicePlan refusing() {
  Frontend rejecting = cluster_ip("10.96.0.13", 53);
  rejecting.target = Target::Reject;
  Frontend node_port = external(FrontendKind::NodePort, "0.0.0.0", 30053);
  node_port.target = Target::Reject;
  return {.key = key("none", IpFamily::V4, Protocol::Udp), .frontends = {rejecting, node_port}};
}

ServicePlan dropping() {
  Frontend internal = cluster_ip("10.96.0.14");
  internal.target = Target::Drop;
  return {.key = key("silent"),
          .cluster_pool = {remote("10.0.2.6")},
          .frontends = {internal,
                        local_policy(external(FrontendKind::LoadBalancerIp, "198.51.100.10", 80),
                                     Target::Drop)}};
}

ServicePlan six() {
  Frontend balanced = external(FrontendKind::LoadBalancerIp, "2001:db8::9", 443);
  balanced.source_ranges = {cidr("2001:db8:1::/48")};
  return {.key = key("six", IpFamily::V6),
          .affinity = std::chrono::hours{3},
          .cluster_pool = {local("fd00:10::2", 8443), remote("fd00:11::2", 8443)},
          .frontends = {cluster_ip("fd00:96::10", 443), balanced,
                        external(FrontendKind::NodePort, "::", 30443)}};
}

}  // namespace

Plan example_plan() {
  Plan plan = empty_plan();
  put(plan, simple_service("plain", "10.96.0.11", {remote("10.0.1.3"), remote("10.0.2.3")}));
  put(plan, sticky());
  put(plan, load_balancer());
  put(plan, refusing());
  put(plan, dropping());
  put(plan, six());
  put(plan, {.key = key("sctp", IpFamily::V6, Protocol::Sctp),
             .cluster_pool = {remote("fd00:11::3", 9)},
             .frontends = {cluster_ip("fd00:96::11", 9)}});
  return plan;
}

Plan large_plan(int services, int backends) {
  const auto offset = [](int n) { return static_cast<std::uint64_t>(n); };
  Plan plan;
  plan.nodes[IpFamily::V4] = node_settings(IpFamily::V4);
  for (int s = 0; s < services; ++s) {
    Pool pool;
    for (int b = 0; b < backends; ++b) {
      pool.push_back({.address = ip("10.0.0.0").plus(offset(s) * offset(backends) + offset(b)),
                      .port = Port{8080}});
    }
    put(plan, {.key = key(fmt::format("service-{:05}", s)),
               .cluster_pool = std::move(pool),
               .frontends = {{.kind = FrontendKind::ClusterIp,
                              .address = ip("10.96.0.0").plus(offset(s) + 1),
                              .port = Port{80},
                              .target = Target::ClusterPool,
                              .masquerade = Masquerade::OffCluster}}});
  }
  return plan;
}

namespace {

class RandomService {
 public:
  RandomService(std::mt19937& random, int index) : random_(random), index_(index) {}

  ServicePlan make() {
    const bool v6 = index_ % 3 == 2;
    family_ = v6 ? IpFamily::V6 : IpFamily::V4;
    ServicePlan service{.key = key(fmt::format("random-{}", index_), family_,
                                   index_ % 2 == 0 ? Protocol::Tcp : Protocol::Udp)};
    if (below(4) == 0) service.affinity = std::chrono::seconds{below(2) == 0 ? 60 : 10800};
    for (int b = 0; b < below(6); ++b) add_backend(service);
    std::ranges::sort(service.cluster_pool);
    std::ranges::sort(service.local_pool);
    service.frontends.push_back(frontend(FrontendKind::ClusterIp, 0));
    if (below(2) == 0) service.frontends.push_back(frontend(FrontendKind::NodePort, 1));
    if (below(3) == 0) service.frontends.push_back(frontend(FrontendKind::LoadBalancerIp, 2));
    if (below(3) == 0) service.frontends.push_back(frontend(FrontendKind::ExternalIp, 3));
    return service;
  }

 private:
  int below(int n) { return std::uniform_int_distribution<int>{0, n - 1}(random_); }

  // Few addresses, so that services share backends (and hairpin pairs).
  void add_backend(ServicePlan& service) {
    const IpAddress base = family_ == IpFamily::V4 ? ip("10.0.1.0") : ip("fd00:10::100");
    const plan::Backend backend{.address = base.plus(static_cast<std::uint64_t>(below(12))),
                                .port = Port{static_cast<std::uint16_t>(8080 + below(2))},
                                .local = false};
    const auto same = [&](const plan::Backend& b) {
      return b.address == backend.address && b.port == backend.port;
    };
    if (std::ranges::any_of(service.cluster_pool, same)) return;
    plan::Backend placed = backend;
    placed.local = backend.address.bytes().back() % 2 == 0;
    service.cluster_pool.push_back(placed);
    if (placed.local) service.local_pool.push_back(placed);
  }

  Frontend frontend(FrontendKind kind, std::uint64_t salt) {
    const IpAddress base = family_ == IpFamily::V4 ? ip("10.96.0.0") : ip("fd00:96::");
    const auto number = static_cast<std::uint64_t>(index_) + 1 + salt * 100;
    Frontend f{
        .kind = kind,
        .address = kind == FrontendKind::NodePort ? IpAddress::any(family_) : base.plus(number),
        .port =
            Port{static_cast<std::uint16_t>(kind == FrontendKind::NodePort ? 30000 + index_ : 80)},
        .target = static_cast<Target>(below(4)),
        .masquerade = static_cast<Masquerade>(below(3)),
        .short_circuit = kind != FrontendKind::ClusterIp && below(2) == 0};
    if (kind == FrontendKind::LoadBalancerIp && below(2) == 0) {
      f.source_ranges = family_ == IpFamily::V4
                            ? std::vector{cidr("203.0.113.0/24"), cidr("203.0.113.128/25")}
                            : std::vector{cidr("2001:db8::/32")};
      if (below(2) == 0) f.source_ranges.pop_back();
    }
    return f;
  }

  std::mt19937& random_;
  int index_;
  IpFamily family_ = IpFamily::V4;
};

}  // namespace

Plan random_plan(std::mt19937& random) {
  Plan plan = empty_plan();
  constexpr int kMostServices = 14;
  for (int i = 0; i < kMostServices; ++i) {
    if (std::uniform_int_distribution<int>{0, 3}(random) == 0) continue;
    put(plan, RandomService(random, i).make());
  }
  return plan;
}

}  // namespace fairlead::nftables::testing
