#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

std::string ServicePortName::to_string() const {
  return port.empty() ? fmt::format("{}/{}", namespace_, name)
                      : fmt::format("{}/{}:{}", namespace_, name, port);
}

namespace {

std::vector<ServiceChange> diff_services(const std::map<PlanKey, ServicePlanPtr>& before,
                                         const std::map<PlanKey, ServicePlanPtr>& after) {
  std::vector<ServiceChange> out;
  auto old = before.begin();
  auto now = after.begin();
  while (old != before.end() || now != after.end()) {
    if (now == after.end() || (old != before.end() && old->first < now->first)) {
      out.push_back({.before = old->second});
      ++old;
    } else if (old == before.end() || now->first < old->first) {
      out.push_back({.after = now->second});
      ++now;
    } else {
      if (old->second != now->second && *old->second != *now->second) {
        out.push_back({.before = old->second, .after = now->second});
      }
      ++old;
      ++now;
    }
  }
  return out;
}

}  // namespace

PlanDelta diff(const Plan& before, const Plan& after) {
  PlanDelta out{.services = diff_services(before.services, after.services)};
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    const auto old = before.nodes.find(family);
    const auto now = after.nodes.find(family);
    const bool had = old != before.nodes.end();
    const bool has = now != after.nodes.end();
    if (had != has || (had && old->second != now->second)) out.nodes_changed.push_back(family);
  }
  return out;
}

}  // namespace fairlead::plan
