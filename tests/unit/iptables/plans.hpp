// Plans for the tests of the iptables mode: short spellings, the specification's worked example,
// and many services of one kind.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>

#include "proxy/plan/plan.hpp"

namespace fairlead::iptables::testing {

using plan::Backend;
using plan::Frontend;
using plan::FrontendKind;
using plan::Masquerade;
using plan::Plan;
using plan::ServicePlan;
using plan::Target;

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline IpPrefix cidr(std::string_view text) { return IpPrefix::parse(text).value(); }
inline Backend backend(std::string_view address) {
  return {.address = ip(address), .port = Port{8080}};
}

inline plan::ServicePortName port_name(std::string name, std::string port,
                                       Protocol protocol = Protocol::Tcp) {
  return {
      .namespace_ = "ns", .name = std::move(name), .port = std::move(port), .protocol = protocol};
}

inline Frontend cluster_ip(std::string_view address, Target target, std::uint16_t port = 80) {
  return {.address = ip(address),
          .port = Port{port},
          .target = target,
          .masquerade = Masquerade::OffCluster};
}

inline Frontend external(FrontendKind kind, std::string_view address, std::uint16_t port,
                         Target target) {
  return {.kind = kind,
          .address = ip(address),
          .port = Port{port},
          .target = target,
          .masquerade = target == Target::ClusterPool ? Masquerade::Always : Masquerade::Never,
          .short_circuit = target == Target::Drop};
}

inline void put(Plan& plan, ServicePlan service) {
  const plan::PlanKey key = service.key;
  plan.services[key] = std::make_shared<const ServicePlan>(std::move(service));
}

inline Plan empty_plan() {
  Plan plan;
  plan.nodes[IpFamily::V4].detector.source_prefix = cidr("10.0.0.0/16");
  return plan;
}

// A load balancer of policy Local whose only endpoint is elsewhere.
inline ServicePlan balancer() {
  Frontend vip = external(FrontendKind::LoadBalancerIp, "198.51.100.9", 80, Target::Drop);
  vip.source_ranges = {cidr("192.168.50.0/24"), cidr("198.51.100.9/32"), cidr("203.0.113.0/25")};
  return {.key = {.service_port = port_name("lb", "p")},
          .cluster_pool = {backend("10.0.2.4")},
          .frontends = {cluster_ip("10.96.0.12", Target::ClusterPool),
                        external(FrontendKind::ExternalIp, "198.51.100.7", 80, Target::Drop), vip,
                        external(FrontendKind::NodePort, "0.0.0.0", 30081, Target::Drop)},
          .health_check_node_port = Port{30999}};
}

inline Plan worked_example() {
  Plan plan = empty_plan();
  put(plan, {.key = {.service_port = port_name("a", "p")},
             .affinity = std::chrono::seconds{600},
             .cluster_pool = {backend("10.0.1.2"), backend("10.0.2.2")},
             .frontends = {cluster_ip("10.96.0.10", Target::ClusterPool)}});
  put(plan,
      {.key = {.service_port = port_name("np", "p")},
       .cluster_pool = {backend("10.0.1.3"), backend("10.0.2.3")},
       .frontends = {cluster_ip("10.96.0.11", Target::ClusterPool),
                     external(FrontendKind::NodePort, "0.0.0.0", 30080, Target::ClusterPool)}});
  put(plan, balancer());
  put(plan, {.key = {.service_port = port_name("none", "dns", Protocol::Udp)},
             .frontends = {cluster_ip("10.96.0.13", Target::Reject, 53),
                           external(FrontendKind::NodePort, "0.0.0.0", 30053, Target::Reject)}});
  put(plan, {.key = {.service_port = port_name("itp", "p")},
             .cluster_pool = {backend("10.0.2.5")},
             .frontends = {cluster_ip("10.96.0.14", Target::Drop)}});
  return plan;
}

inline Plan many_services(int services, int backends) {
  Plan plan = empty_plan();
  for (int i = 0; i < services; ++i) {
    ServicePlan service{.key = {.service_port = port_name(fmt::format("s{}", i), "p")}};
    for (int j = 0; j < backends; ++j) {
      service.cluster_pool.push_back(backend(fmt::format("10.{}.{}.{}", j, i / 250, i % 250)));
    }
    service.frontends = {
        cluster_ip(fmt::format("10.96.{}.{}", i / 250, i % 250), Target::ClusterPool)};
    put(plan, std::move(service));
  }
  return plan;
}

inline Plan without_one_backend(Plan plan) {
  ServicePlan service = *plan.services.begin()->second;
  service.cluster_pool.pop_back();
  put(plan, std::move(service));
  return plan;
}

}  // namespace fairlead::iptables::testing
