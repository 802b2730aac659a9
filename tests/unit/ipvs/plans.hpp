// Plans for the tests of the IPVS mode: short spellings, one example of everything, random ones.
#pragma once

#include <random>
#include <string>

#include "proxy/plan/plan.hpp"

namespace fairlead::ipvs::testing {

IpAddress ip(std::string_view text);
IpPrefix cidr(std::string_view text);
plan::PlanKey key(std::string name, IpFamily family = IpFamily::V4,
                  Protocol protocol = Protocol::Tcp);
plan::Backend backend(std::string_view address, bool local = false);

void put(plan::Plan& plan, plan::ServicePlan service);
void drop(plan::Plan& plan, const plan::PlanKey& key);

// A ClusterIP service.
plan::ServicePlan simple_service(std::string name, std::string_view address, plan::Pool pool);
plan::Plan empty_plan();    // both families, pods known by their addresses
plan::Plan example_plan();  // every kind, policy and refusal, both families
plan::Plan large_plan(unsigned services, unsigned backends);
// Pools shrink to nothing, services come, go and change kind. Frontends never collide, as the
// compiler guarantees.
plan::Plan random_plan(std::mt19937& random);

}  // namespace fairlead::ipvs::testing
