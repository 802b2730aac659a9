#include "proxy/plan/claims.hpp"

namespace fairlead::plan {
namespace {

int rank_of(FrontendKind kind) {
  switch (kind) {
    case FrontendKind::ClusterIp:
      return 0;
    case FrontendKind::NodePort:
      return 1;
    case FrontendKind::LoadBalancerIp:
      return 2;
    case FrontendKind::ExternalIp:
      return 3;
  }
  return 4;
}

}  // namespace

Place place_of(const PlanKey& key, const Frontend& frontend) {
  return {
      .address = frontend.address, .port = frontend.port, .protocol = key.service_port.protocol};
}

kube::NamespacedName service_of(const PlanKey& key) {
  return {.namespace_ = key.service_port.namespace_, .name = key.service_port.name};
}

Bid bid_of(const PlanKey& key, FrontendKind kind) { return {.rank = rank_of(kind), .key = key}; }

Plan without_conflicts(Plan plan) {
  std::map<Place, Bid> winners;
  for (const auto& [key, service] : plan.services) {
    for (const Frontend& frontend : service->frontends) {
      const Bid bid = bid_of(key, frontend.kind);
      const auto [found, is_new] = winners.try_emplace(place_of(key, frontend), bid);
      if (!is_new) found->second = std::min(found->second, bid);
    }
  }
  for (auto& [key, service] : plan.services) {
    const auto lost = [&](const Frontend& frontend) {
      return winners.at(place_of(key, frontend)).key != key;
    };
    ServicePlan reduced = *service;
    if (std::erase_if(reduced.frontends, lost) > 0) {
      service = std::make_shared<const ServicePlan>(std::move(reduced));
    }
  }
  return plan;
}

bool Claims::bid(const PlanKey& key, const Frontend& frontend) {
  const Place place = place_of(key, frontend);
  const auto [found, is_new] =
      owners_.try_emplace(place, Owner{.kind = frontend.kind, .key = &key});
  if (is_new) return true;
  Owner& owner = found->second;
  const Bid ours = bid_of(key, frontend.kind);
  if (owner.key == &key) {
    owner.kind = frontend.kind;
    const auto waiting = waiting_.find(place);
    if (waiting != waiting_.end() && *waiting->second.begin() < ours) {
      disturbed_.insert(service_of(waiting->second.begin()->key));  // it will outbid us
    }
    return true;
  }
  if (ours < bid_of(*owner.key, owner.kind)) {
    disturbed_.insert(service_of(*owner.key));  // it has to do without
    owner = {.kind = frontend.kind, .key = &key};
    return true;
  }
  waiting_[place].insert(ours);
  waits_for_[key].insert(place);
  return false;
}

void Claims::release(const PlanKey& key, const Place& place) {
  const auto owner = owners_.find(place);
  if (owner == owners_.end() || owner->second.key != &key) return;
  owners_.erase(owner);
  if (const auto waiting = waiting_.find(place); waiting != waiting_.end()) {
    disturbed_.insert(service_of(waiting->second.begin()->key));
  }
}

std::set<Place> Claims::stop_waiting(const PlanKey& key) {
  auto found = waits_for_.extract(key);
  if (found.empty()) return {};
  for (const Place& place : found.mapped()) {
    const auto waiting = waiting_.find(place);
    std::erase_if(waiting->second, [&](const Bid& bid) { return bid.key == key; });
    if (waiting->second.empty()) {
      waiting_.erase(waiting);
    } else if (!owners_.contains(place)) {
      // It was this one's turn; if it does not bid again, it is the next one's.
      disturbed_.insert(service_of(waiting->second.begin()->key));
    }
  }
  return std::move(found.mapped());
}

}  // namespace fairlead::plan
