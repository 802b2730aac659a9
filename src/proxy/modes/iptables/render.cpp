#include "proxy/modes/iptables/render.hpp"

#include <algorithm>
#include <utility>

namespace fairlead::iptables {
namespace {

std::size_t endpoints_of(const plan::ServicePlanPtr& service) {
  return service ? std::max(service->cluster_pool.size(), service->local_pool.size()) : 0;
}

std::size_t rules_in(const Chains& chains) {
  std::size_t out = 0;
  for (const auto& [name, rules] : chains) out += rules.size();
  return out;
}

void add_chains(const Chains& from, Chains& to) { to.insert(from.begin(), from.end()); }

}  // namespace

SharedContext Renderer::context() const {
  return {.node = &node_, .family = family_, .shape = shape_, .options = options_};
}

Shape Renderer::shape_for(std::size_t endpoints) const {
  if (!options_.compares_addresses) return Shape::Chains;
  // A cluster that hovers about the limit does not change its shape each time.
  const std::size_t limit =
      shape_ == Shape::Large ? options_.large_above / 2 : options_.large_above;
  return endpoints > limit ? Shape::Large : Shape::Chains;
}

Listings Renderer::all_listings() const {
  Listings out;
  for (const auto& [key, service] : services_) out.add(service.listings);
  return out;
}

void Renderer::full(const plan::Plan& plan) {
  services_.clear();
  shared_ = {};
  endpoints_ = 0;
  const auto node = plan.nodes.find(family_);
  if (node == plan.nodes.end()) return;
  node_ = node->second;
  for (const auto& [key, service] : plan.services) {
    if (key.family == family_) endpoints_ += endpoints_of(service);
  }
  shape_ = shape_for(endpoints_);
  for (const auto& [key, service] : plan.services) {
    if (key.family == family_) services_.emplace(key, service_rules(*service, node_, shape_));
  }
  shared_ = shared_rules(context(), all_listings());
}

Ruleset Renderer::rules() const {
  Ruleset out = shared_;
  for (const auto& [key, service] : services_) add_chains(service.own, out.nat);
  return out;
}

RulesetView Renderer::view() const {
  RulesetView out = iptables::view(shared_);
  for (const auto& [key, service] : services_) {
    for (const auto& [name, rules] : service.own) out.nat.emplace_back(name, &rules);
  }
  std::ranges::sort(out.nat, {}, &ChainsView::value_type::first);
  return out;
}

RuleTotals Renderer::totals() const {
  RuleTotals out{.filter = rules_in(shared_.filter), .nat = rules_in(shared_.nat)};
  for (const auto& [key, service] : services_) out.nat += rules_in(service.own);
  return out;
}

std::optional<Change> Renderer::change(const plan::PlanDelta& delta) {
  std::size_t endpoints = endpoints_;
  for (const plan::ServiceChange& change : delta.services) {
    const plan::PlanKey& key = (change.after ? change.after : change.before)->key;
    if (key.family == family_) {
      endpoints = endpoints + endpoints_of(change.after) - endpoints_of(change.before);
    }
  }
  if (shape_for(endpoints) != shape_) return std::nullopt;
  endpoints_ = endpoints;

  Change out;
  Listings departed;
  bool listings_differ = false;
  for (const plan::ServiceChange& change : delta.services) {
    const plan::PlanKey& key = (change.after ? change.after : change.before)->key;
    if (key.family != family_) continue;
    ServiceRules after;
    if (change.after) after = service_rules(*change.after, node_, shape_);
    ServiceRules& known = services_[key];
    add_chains(known.own, out.before.nat);
    add_chains(after.own, out.after.nat);
    listings_differ = listings_differ || known.listings != after.listings;
    departed.add(known.listings.filter_entries_missing_in(after.listings));
    known = std::move(after);
    if (!change.after) services_.erase(key);
  }
  if (!listings_differ) return out;
  const Listings listings = all_listings();
  Ruleset shared = shared_rules(context(), listings);
  departed.add(listings);
  out.filter_between = shared_filter_rules(context(), std::move(departed));
  out.before.filter = shared_.filter;
  out.after.filter = shared.filter;
  add_chains(shared_.nat, out.before.nat);
  add_chains(shared.nat, out.after.nat);
  shared_ = std::move(shared);
  return out;
}

Ruleset render(const plan::Plan& plan, IpFamily family, const RenderOptions& options) {
  Renderer renderer(family, options);
  renderer.full(plan);
  return renderer.rules();
}

}  // namespace fairlead::iptables
