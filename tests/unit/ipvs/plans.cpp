#include "unit/ipvs/plans.hpp"

#include <algorithm>

namespace fairlead::ipvs::testing {
namespace {

using plan::Frontend;
using plan::FrontendKind;
using plan::Masquerade;
using plan::ServicePlan;
using plan::Target;

Frontend cluster_ip(const IpAddress& address, std::uint16_t port = 80) {
  return {.kind = FrontendKind::ClusterIp,
          .address = address,
          .port = Port{port},
          .target = Target::ClusterPool,
          .masquerade = Masquerade::OffCluster};
}

Frontend from_outside(FrontendKind kind, const IpAddress& address, std::uint16_t port,
                      Target target, bool short_circuit = false) {
  return {.kind = kind,
          .address = address,
          .port = Port{port},
          .target = target,
          .masquerade = target == Target::ClusterPool ? Masquerade::Always : Masquerade::Never,
          .short_circuit = short_circuit};
}

unsigned roll(std::mt19937& random, unsigned sides) { return random() % sides; }

}  // namespace

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
IpPrefix cidr(std::string_view text) { return *IpPrefix::parse(text); }

plan::PlanKey key(std::string name, IpFamily family, Protocol protocol) {
  return {.service_port = {.namespace_ = "ns",
                           .name = std::move(name),
                           .port = "p",
                           .protocol = protocol},
          .family = family};
}

plan::Backend backend(std::string_view address, bool local) {
  return {.address = ip(address), .port = Port{8080}, .local = local};
}

void put(plan::Plan& plan, ServicePlan service) {
  std::ranges::sort(service.frontends);
  auto key = service.key;
  plan.services.insert_or_assign(std::move(key),
                                 std::make_shared<const ServicePlan>(std::move(service)));
}

void drop(plan::Plan& plan, const plan::PlanKey& key) { plan.services.erase(key); }

ServicePlan simple_service(std::string name, std::string_view address, plan::Pool pool) {
  const IpAddress parsed = ip(address);
  return {.key = key(std::move(name), parsed.family()),
          .cluster_pool = std::move(pool),
          .frontends = {cluster_ip(parsed)}};
}

plan::Plan empty_plan() {
  plan::Plan out;
  out.nodes[IpFamily::V4].detector.source_prefix = cidr("10.0.0.0/16");
  out.nodes[IpFamily::V6].detector.source_prefix = cidr("fd00:10::/48");
  return out;
}

plan::Plan example_plan() {
  plan::Plan plan = empty_plan();
  plan.nodes[IpFamily::V4].service_cidrs = {cidr("10.96.0.0/16")};
  const plan::Pool pool = {backend("10.0.1.2", true), backend("10.0.2.2")};
  const plan::Pool at_home = {backend("10.0.1.2", true)};
  const IpAddress any = IpAddress::any(IpFamily::V4);

  put(plan, simple_service("web", "10.96.0.11", pool));
  put(plan, simple_service("six", "fd00:96::11", {backend("fd00:10:0:1::2", true)}));
  auto sticky = simple_service("sticky", "10.96.0.12", pool);
  sticky.affinity = std::chrono::seconds{600};
  sticky.ipvs_scheduler = "sh:port,fallback";
  put(plan, sticky);
  auto nobody = simple_service("nobody", "10.96.0.13", {});
  nobody.frontends[0].target = Target::Reject;
  put(plan, nobody);
  auto at_home_only = simple_service("at-home", "10.96.0.14", {});
  at_home_only.local_pool = at_home;
  at_home_only.frontends[0].target = Target::LocalPool;
  put(plan, at_home_only);

  auto everywhere = simple_service("everywhere", "10.96.0.15", pool);
  everywhere.frontends.push_back(
      from_outside(FrontendKind::NodePort, any, 30080, Target::ClusterPool));
  everywhere.frontends.push_back(
      from_outside(FrontendKind::ExternalIp, ip("198.51.100.7"), 80, Target::ClusterPool));
  auto balancer =
      from_outside(FrontendKind::LoadBalancerIp, ip("198.51.100.9"), 80, Target::ClusterPool);
  balancer.source_ranges = {cidr("0.0.0.0/0"), cidr("203.0.113.0/24")};
  everywhere.frontends.push_back(balancer);
  put(plan, everywhere);

  auto near = simple_service("near", "10.96.0.16", pool);
  near.key.service_port.protocol = Protocol::Udp;
  near.local_pool = at_home;
  near.affinity = std::chrono::seconds{60};
  near.frontends.push_back(
      from_outside(FrontendKind::NodePort, any, 30081, Target::LocalPool, true));
  put(plan, near);
  auto far = simple_service("far", "10.96.0.17", {backend("10.0.2.2")});
  far.frontends.push_back(
      from_outside(FrontendKind::LoadBalancerIp, ip("198.51.100.10"), 80, Target::Drop, true));
  far.health_check_node_port = Port{30999};
  put(plan, far);
  return plan;
}

plan::Plan large_plan(unsigned services, unsigned backends) {
  plan::Plan plan = empty_plan();
  for (unsigned i = 0; i < services; ++i) {
    plan::Pool pool;
    for (unsigned j = 0; j < backends; ++j) {
      pool.push_back({.address = ip("10.0.2.0").plus(i % 50 * 256 + j), .port = Port{8080}});
    }
    put(plan, simple_service(fmt::format("s{}", i), ip("10.96.0.1").plus(i).to_string(), pool));
  }
  return plan;
}

plan::Plan random_plan(std::mt19937& random) {
  plan::Plan plan = empty_plan();
  for (unsigned i = 0; i < 8; ++i) {
    if (roll(random, 4) == 0) continue;
    plan::Pool pool;
    for (unsigned j = 0; j < 4; ++j) {
      if (roll(random, 2) == 0) continue;
      pool.push_back(backend(fmt::format("10.0.{}.2", j), j < 2));
    }
    // Two service ports share each address.
    auto service = simple_service(fmt::format("s{}", i), fmt::format("10.96.0.{}", i / 2), pool);
    service.frontends[0].port = Port{static_cast<std::uint16_t>(80 + i % 2)};
    std::ranges::copy_if(pool, std::back_inserter(service.local_pool), &plan::Backend::local);
    if (pool.empty()) service.frontends[0].target = Target::Reject;
    if (roll(random, 3) == 0) service.affinity = std::chrono::seconds{60 * (1 + roll(random, 2))};
    if (roll(random, 3) == 0) service.ipvs_scheduler = roll(random, 2) == 0 ? "wrr" : "mh";
    if (roll(random, 2) == 0) service.key.service_port.protocol = Protocol::Udp;
    if (roll(random, 2) == 0 && !pool.empty()) {
      const Target target = service.local_pool.empty() ? Target::Drop : Target::LocalPool;
      service.frontends.push_back(from_outside(FrontendKind::NodePort, IpAddress::any(IpFamily::V4),
                                               static_cast<std::uint16_t>(30000 + i), target,
                                               true));
    }
    if (roll(random, 3) == 0) service.health_check_node_port = Port{31000};
    put(plan, std::move(service));
  }
  return plan;
}

}  // namespace fairlead::ipvs::testing
