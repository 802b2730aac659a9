#include "iptables/plans.hpp"

#include <fmt/format.h>

#include <iterator>

namespace fairlead::bench {
namespace {

IpAddress address(std::uint8_t network, std::uint64_t n) {
  return IpAddress::v4({network, 0, 0, 1}).plus(n);
}

plan::ServicePlanPtr make_service(int n, bool listening) {
  plan::ServicePlan service{
      .key = {.service_port = {.namespace_ = "bench", .name = fmt::format("svc-{:05}", n)}},
      .frontends = {{.address = address(20, static_cast<std::uint64_t>(n)),
                     .port = Port{80},
                     .target = plan::Target::ClusterPool,
                     .masquerade = plan::Masquerade::OffCluster}}};
  const int endpoints = listening ? 1 : kEndpoints;
  for (int i = 0; i < endpoints; ++i) {
    service.cluster_pool.push_back(
        {.address = address(
             11, std::uint64_t{10} * static_cast<std::uint64_t>(n) + static_cast<std::uint64_t>(i)),
         .port = Port{8080}});
  }
  if (listening) {
    const SocketAddress backend = listening_backend();
    service.cluster_pool = {{.address = backend.address, .port = backend.port}};
  }
  return std::make_shared<const plan::ServicePlan>(std::move(service));
}

}  // namespace

SocketAddress listening_backend() { return {.address = address(10, 0), .port = Port{8080}}; }

plan::Plan make_plan(int services) {
  plan::Plan plan;
  plan.nodes[IpFamily::V4].detector.source_prefix = IpPrefix(address(10, 0), 8);
  for (int n = 0; n < services; ++n) {
    const auto service = make_service(n, n == 0 || n == services - 1);
    plan.services.emplace(service->key, service);
  }
  return plan;
}

const plan::ServicePlanPtr& nth_service(const plan::Plan& plan, int n) {
  // Names and addresses have one order; the first one is not like the others.
  return std::next(plan.services.begin(), n + 1)->second;
}

plan::ServicePlanPtr without_last_backend(const plan::ServicePlan& service) {
  plan::ServicePlan out = service;
  out.cluster_pool.pop_back();
  return std::make_shared<const plan::ServicePlan>(std::move(out));
}

}  // namespace fairlead::bench
