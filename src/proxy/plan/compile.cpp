#include "proxy/plan/compile.hpp"

#include <algorithm>

namespace fairlead::plan {
namespace {

// All keys of one Service lie side by side in maps ordered by PlanKey.
PlanKey first_key_of(const kube::NamespacedName& name) {
  return {.service_port = {.namespace_ = name.namespace_, .name = name.name}};
}

bool belongs_to(const PlanKey& key, const kube::NamespacedName& name) {
  return key.service_port.namespace_ == name.namespace_ && key.service_port.name == name.name;
}

template <class Value>
std::vector<PlanKey> keys_of(const std::map<PlanKey, Value>& map,
                             const kube::NamespacedName& name) {
  std::vector<PlanKey> out;
  // The smallest protocol is not 0, so the first key may sort behind a port named "": start at the
  // lowest possible one.
  PlanKey first = first_key_of(name);
  first.service_port.protocol = Protocol{};
  first.family = IpFamily{};
  for (auto it = map.lower_bound(first); it != map.end() && belongs_to(it->first, name); ++it) {
    out.push_back(it->first);
  }
  return out;
}

// Flows can only lead nowhere when an endpoint went away, or when datagrams may have been sent
// before there was any, or before an address led here.
bool flows_need_review(const ServingSet& before, const ServingSet& after) {
  if (before.empty() && !after.empty()) return true;
  return !std::ranges::includes(after, before);
}

// Frontends of `from` whose place none of `to` has.
std::vector<Frontend> beyond(const std::vector<Frontend>& from, const std::vector<Frontend>& to) {
  std::vector<Frontend> out;
  std::ranges::copy_if(from, std::back_inserter(out), [&](const Frontend& frontend) {
    return std::ranges::none_of(to, [&](const Frontend& other) {
      return other.address == frontend.address && other.port == frontend.port;
    });
  });
  return out;
}

}  // namespace

// What one update() collects. `originals` holds the plans as they were before it.
struct Compiler::Pass {
  Update update;
  std::set<kube::NamespacedName> queue;
  std::map<PlanKey, ServicePlanPtr> originals;
  std::map<PlanKey, FlowReview> reviews;
};

Compiler::Compiler(NodeContext node) : node_(std::move(node)) {}

Update Compiler::update(model::Model& model) {
  Pass pass;
  pass.queue = model.take_dirty();
  while (!pass.queue.empty()) {
    const auto next = pass.queue.extract(pass.queue.begin());
    recompile(next.value(), model, pass);
    ++pass.update.recompiled;
    pass.queue.merge(claims_.take_disturbed());
  }
  pass.update.delta = take_delta(pass);
  for (auto& [key, review] : pass.reviews) pass.update.flows.push_back(std::move(review));
  return std::move(pass.update);
}

void Compiler::set_node(NodeContext node, model::Model& model) {
  const auto same_families = std::ranges::equal(
      node.families, node_.families, {}, [](const auto& f) { return f.first; },
      [](const auto& f) { return f.first; });
  if (node.name != node_.name || node.zone != node_.zone || node.addresses != node_.addresses ||
      !same_families) {
    model.mark_all_dirty();
  }
  node_ = std::move(node);
}

void Compiler::recompile(const kube::NamespacedName& name, const model::Model& model, Pass& pass) {
  CompiledService compiled = compile_service(name, model.find(name), model, node_);
  const std::vector<PlanKey> old_keys = keys_of(plan_.services, name);
  std::set<PlanKey> now;
  for (const ServicePlanPtr& plan : compiled.plans) {
    now.insert(plan->key);
    publish(plan, pass);
  }
  for (const PlanKey& key : old_keys) {
    if (!now.contains(key)) retract(key, pass);
  }
  if (compiled.health_check) {
    health_checks_.insert_or_assign(name, *std::move(compiled.health_check));
  } else {
    health_checks_.erase(name);
  }
  review_flows(name, std::move(compiled.udp), pass);
}

void Compiler::publish(const ServicePlanPtr& wanted, Pass& pass) {
  const auto place = plan_.services.try_emplace(wanted->key, nullptr).first;
  const PlanKey& key = place->first;
  const ServicePlanPtr before = place->second;
  pass.originals.try_emplace(key, before);
  ServicePlanPtr settled = settle(key, wanted, pass);
  if (before) {
    std::set<Place> still_wanted;
    for (const Frontend& frontend : wanted->frontends) still_wanted.insert(place_of(key, frontend));
    for (const Frontend& frontend : before->frontends) {
      if (!still_wanted.contains(place_of(key, frontend))) {
        claims_.release(key, place_of(key, frontend));
      }
    }
  }
  // Equal content keeps its pointer, so that deltas and memory stay small.
  if (!before || *before != *settled) place->second = std::move(settled);
}

// `wanted` without the frontends that belong to others.
ServicePlanPtr Compiler::settle(const PlanKey& key, const ServicePlanPtr& wanted, Pass& pass) {
  const std::set<Place> waited_for = claims_.stop_waiting(key);
  std::vector<Frontend> kept;
  for (const Frontend& frontend : wanted->frontends) {
    if (claims_.bid(key, frontend)) {
      kept.push_back(frontend);
    } else if (const Place place = place_of(key, frontend); !waited_for.contains(place)) {
      pass.update.conflicts.push_back(
          {.loser = key, .winner = claims_.owner(place), .frontend = frontend});
    }
  }
  if (kept.size() == wanted->frontends.size()) return wanted;
  ServicePlan reduced = *wanted;
  reduced.frontends = std::move(kept);
  return std::make_shared<const ServicePlan>(std::move(reduced));
}

void Compiler::retract(const PlanKey& key, Pass& pass) {
  const auto place = plan_.services.find(key);
  pass.originals.try_emplace(key, place->second);
  claims_.stop_waiting(key);
  for (const Frontend& frontend : place->second->frontends) {
    claims_.release(place->first, place_of(key, frontend));
  }
  plan_.services.erase(place);
}

void Compiler::review_flows(const kube::NamespacedName& name, std::map<PlanKey, ServingSet> serving,
                            Pass& pass) {
  const auto frontends_of = [](const ServicePlanPtr& plan) {
    return plan ? plan->frontends : std::vector<Frontend>{};
  };
  // What it had before this pass, though it may be compiled twice in it.
  const auto former = [&](const PlanKey& key, const std::vector<Frontend>& now) {
    return beyond(frontends_of(pass.originals.at(key)), now);
  };
  for (const PlanKey& key : keys_of(udp_, name)) {
    if (serving.contains(key)) continue;
    udp_.erase(key);
    pass.reviews.insert_or_assign(key, FlowReview{.key = key, .former = former(key, {})});
  }
  for (auto& [key, now] : serving) {
    const auto before = udp_.find(key);
    const std::vector<Frontend>& frontends = plan_.services.at(key)->frontends;
    std::vector<Frontend> lost = former(key, frontends);
    const bool gained = !beyond(frontends, frontends_of(pass.originals.at(key))).empty();
    if (before == udp_.end() || gained || !lost.empty() || flows_need_review(before->second, now) ||
        pass.reviews.contains(key)) {
      pass.reviews.insert_or_assign(
          key, FlowReview{
                   .key = key, .frontends = frontends, .former = std::move(lost), .serving = now});
    }
    udp_.insert_or_assign(key, std::move(now));
  }
}

PlanDelta Compiler::take_delta(const Pass& pass) {
  PlanDelta out;
  for (const auto& [key, before] : pass.originals) {
    const auto found = plan_.services.find(key);
    ServicePlanPtr after = found == plan_.services.end() ? nullptr : found->second;
    if (before == after) continue;
    // A plan may have changed and changed back within the pass.
    if (before && after && *before == *after) {
      found->second = before;
      continue;
    }
    out.services.push_back({.before = before, .after = std::move(after)});
  }
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    const auto now = node_.families.find(family);
    const auto old = plan_.nodes.find(family);
    const bool has = now != node_.families.end();
    const bool had = old != plan_.nodes.end();
    if (has != had || (has && now->second != old->second)) out.nodes_changed.push_back(family);
  }
  plan_.nodes = node_.families;
  return out;
}

Plan compile(const model::Model& model, const NodeContext& node) {
  Plan out{.nodes = node.families};
  model.for_each([&](const kube::NamespacedName& name, const model::ServiceRecord& record) {
    for (ServicePlanPtr& plan : compile_service(name, &record, model, node).plans) {
      out.services.emplace(plan->key, std::move(plan));
    }
  });
  return without_conflicts(std::move(out));
}

}  // namespace fairlead::plan
