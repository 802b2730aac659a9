// Plans of any size: services of one TCP port each. The first and the last lead to this machine.
#pragma once

#include "proxy/plan/plan.hpp"

namespace fairlead::bench {

inline constexpr int kEndpoints = 10;  // of each service, but for the first and the last
// Where the first and the last service lead.
SocketAddress listening_backend();

plan::Plan make_plan(int services);
// In the order of their addresses.
const plan::ServicePlanPtr& nth_service(const plan::Plan& plan, int n);
plan::ServicePlanPtr without_last_backend(const plan::ServicePlan& service);

}  // namespace fairlead::bench
