// Plans for the tests of the nftables mode: short spellings, one example of everything, and random
// ones.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "proxy/plan/plan.hpp"

namespace fairlead::nftables::testing {

IpAddress ip(std::string_view text);
IpPrefix cidr(std::string_view text);
plan::Backend remote(std::string_view address, std::uint16_t port = 8080);
plan::Backend local(std::string_view address, std::uint16_t port = 8080);
plan::PlanKey key(std::string name, IpFamily family = IpFamily::V4,
                  Protocol protocol = Protocol::Tcp);
plan::Frontend cluster_ip(std::string_view address, std::uint16_t port = 80);

void put(plan::Plan& plan, plan::ServicePlan service);

// A ClusterIP service.
plan::ServicePlan simple_service(std::string name, std::string_view address, plan::Pool pool);

plan::NodePlan node_settings(IpFamily family);
plan::Plan empty_plan();    // both families
plan::Plan example_plan();  // every kind, policy and refusal, both families
// `services` ClusterIP services of `backends` backends each, IPv4.
plan::Plan large_plan(int services, int backends);

// A plan that is often wrong in interesting ways: pools shrink to nothing, services come, go and
// change kind. Frontends never collide, as the compiler guarantees.
plan::Plan random_plan(std::mt19937& random);

}  // namespace fairlead::nftables::testing
