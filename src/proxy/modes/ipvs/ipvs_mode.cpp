#include "proxy/modes/ipvs/ipvs_mode.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "proxy/modes/ipvs/scheduler.hpp"

namespace fairlead::ipvs {
namespace {

using namespace std::chrono_literals;
using plan::ApplyStats;

constexpr std::array kFamilies = {IpFamily::V4, IpFamily::V6};
// How often connections of leaving endpoints are counted.
constexpr auto kLeavingPeriod = 10s;

// Connections of the others cannot end: there is nothing to wait for.
bool leaves_slowly(const ServerKey& server) { return server.protocol == Protocol::Tcp; }

bool contains(const std::vector<IpAddress>& sorted, const IpAddress& address) {
  return std::ranges::binary_search(sorted, address);
}

// A mark's second server stands for the same service port with the bit of masquerading.
bool is_our_mark(std::uint32_t mark, std::uint32_t masquerade_mark) {
  return ((mark & ~masquerade_mark) & ~kMarkNumbers) == kMarkPrefix;
}

void merge(State& into, State&& from) {
  into.servers.merge(from.servers);
  into.entries.merge(from.entries);
  into.addresses.merge(from.addresses);
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(Config config) {
  FAIRLEAD_TRY(scheduling, parse_scheduler(config.scheduler));
  config.kernel.scheduler = scheduling.name;
  FAIRLEAD_TRY(kernel, config.read_only ? NetlinkKernel::open_to_read(scheduling.name)
                                        : NetlinkKernel::create(config.kernel));
  return std::unique_ptr<plan::Mode>(std::make_unique<IpvsMode>(
      std::move(kernel), IpvsMode::Options{.scheduling = std::move(scheduling),
                                           .exclude_cidrs = std::move(config.exclude_cidrs)}));
}

Result<bool> remove_leftovers(bool in_use) {
  if (::access("/proc/thread-self/net/ip_vs", F_OK) != 0) return false;
  bool was_there = false;
  if (!in_use) {
    FAIRLEAD_TRY(kernel, NetlinkKernel::open());
    FAIRLEAD_TRY(device, kernel->has_device());
    FAIRLEAD_CHECK(IpvsMode(std::move(kernel), {}).cleanup());
    was_there = device;
  }
  // Last: they say which servers are kube-proxy's.
  FAIRLEAD_TRY(kernel, NetlinkKernel::open());
  for (const IpFamily family : kFamilies) {
    FAIRLEAD_TRY(removed, kernel->remove_sets_of_kube_proxy(family));
    was_there = was_there || removed;
  }
  return was_there;
}

// ---- from the plan to what the kernel should have -----------------------------------------------

// Everything but the services themselves.
Result<void> IpvsMode::look_around(const plan::Plan& plan) {
  FAIRLEAD_TRY(addresses, kernel_->interface_addresses());
  surroundings_ = {.interface_addresses = std::move(addresses),
                   .scheduling = options_.scheduling,
                   .schedulers = kernel_->schedulers()};
  families_.clear();
  for (const auto& [family, node] : plan.nodes) {
    families_.emplace(
        family,
        FamilyState{.node = node, .node_ports = node_port_addresses(node, family, surroundings_)});
  }
  for (auto& [family, state] : families_)
    state.claimed = claimed_servers(plan, family, state.node_ports);
  return {};
}

// Such a service takes node ports from others, or gives them back.
bool IpvsMode::is_claim(const plan::ServiceChange& change) const {
  const auto claims = [&](const plan::ServicePlanPtr& service) {
    if (service == nullptr) return false;
    const auto family = families_.find(service->key.family);
    return family != families_.end() &&
           std::ranges::any_of(service->frontends, [&](const plan::Frontend& frontend) {
             return contains(family->second.node_ports, frontend.address);
           });
  };
  return claims(change.before) || claims(change.after);
}

Rendered IpvsMode::render_service(const plan::ServicePlan& service) {
  const FamilyState& family = families_.at(service.key.family);
  return render(service,
                {.node = family.node,
                 .surroundings = surroundings_,
                 .node_ports = family.node_ports,
                 .claimed = family.claimed,
                 .mark = [&] { return marks_.of(service.key, family.node.masquerade_mark); }});
}

State IpvsMode::render_all(const plan::Plan& plan, IpFamily family) {
  State out;
  auto& shared = families_.at(family).shared;
  shared.clear();
  for (const auto& [key, service] : plan.services) {
    if (key.family != family) continue;
    Rendered rendered = render_service(*service);
    for (const auto& [server, unused] : rendered.own.servers) counters_.set_owner(server, key);
    merge(out, std::move(rendered.own));
    for (const SetEntry& entry : rendered.shared) ++shared[entry];
  }
  add_orphans(family, out);
  for (const auto& [entry, unused] : shared) add_shared(entry, out);
  return out;
}

bool IpvsMode::holds_address(const ServerKey& key) const {
  return key.mark == 0 && !surroundings_.interface_addresses.contains(key.address);
}

void IpvsMode::add_orphans(IpFamily family, State& to) {
  for (const auto& [key, server] : orphans_) {
    if (key.family != family) continue;
    to.servers.emplace(key, server);
    if (key.mark == 0) to.entries.insert(record_of(key));
    if (holds_address(key)) ++families_.at(family).shared[bound(key.address)];
  }
}

// ---- what of the kernel's is ours ---------------------------------------------------------------

State IpvsMode::ours(const Reading& reading, const State& wanted) const {
  const auto is_spared = [&](const IpAddress& address) {
    return std::ranges::any_of(options_.exclude_cidrs,
                               [&](const IpPrefix& cidr) { return cidr.contains(address); });
  };
  State out{.entries = reading.state.entries};
  for (const IpAddress& address : reading.state.addresses) {
    if (!is_spared(address) || wanted.addresses.contains(address)) out.addresses.insert(address);
  }
  const auto is_ours = [&](const ServerKey& key) {
    if (key.mark != 0) {
      const auto family = families_.find(key.family);
      const plan::NodePlan fallback;
      const auto& node = family == families_.end() ? fallback : family->second.node;
      return is_our_mark(key.mark, node.masquerade_mark);
    }
    if (is_spared(key.address)) return wanted.servers.contains(key);
    return out.entries.contains(record_of(key)) || out.addresses.contains(key.address) ||
           reading.of_kube_proxy.contains(key);
  };
  for (const auto& [key, server] : reading.state.servers) {
    if (is_ours(key)) out.servers.emplace(key, server);
  }
  return out;
}

// ---- all at once --------------------------------------------------------------------------------

Result<ApplyStats> IpvsMode::commit(const Operations& operations) {
  for (const Operation& operation : operations) {
    if (const auto* put = std::get_if<PutDestination>(&operation)) counters_.changed(put->server);
    if (const auto* gone = std::get_if<DeleteDestination>(&operation))
      counters_.changed(gone->server);
  }
  return kernel_->commit(operations);
}

Result<ApplyStats> IpvsMode::apply_rules(IpFamily family) {
  FAIRLEAD_TRY(saved, kernel_->saved_rules(family));
  const Ruleset wanted = rules_for(families_.at(family).node, family);
  const std::string text = restore_text(ours_in(saved, wanted), wanted);
  if (text.empty()) return ApplyStats{};
  return kernel_->restore_rules(family, text);
}

Result<ApplyStats> IpvsMode::apply_family(const plan::Plan& plan, IpFamily family) {
  FAIRLEAD_TRY(stats, kernel_->make_scaffold(family));
  FAIRLEAD_TRY(rules, apply_rules(family));
  stats += rules;
  FAIRLEAD_TRY(reading, kernel_->read(family));
  State wanted = render_all(plan, family);
  State there = ours(reading, wanted);
  for (const auto& [key, server] : there.servers) {
    if (!wanted.servers.contains(key)) adopt_orphan(key, server, reading.destinations.at(key));
  }
  if (!orphans_.empty()) wanted = render_all(plan, family);
  // One that is wanted is ours from now on, whoever made it.
  std::set<ServerKey> with_leaving;
  for (auto& [key, server] : wanted.servers) {
    const auto found = reading.state.servers.find(key);
    if (found == reading.state.servers.end()) continue;
    there.servers.insert_or_assign(key, found->second);
    if (!leaves_slowly(key)) continue;
    for (const auto& [destination, weight] : found->second.destinations) {
      const bool departs = server.destinations.emplace(destination, 0).second;
      if (!departs && !orphans_.contains(key)) continue;
      with_leaving.insert(key);
      leaving_[key].insert(destination);
    }
  }
  FAIRLEAD_TRY(done, commit(difference(there, wanted)));
  stats += done;
  FAIRLEAD_TRY(gone, let_go(with_leaving));
  return stats += gone;
}

Result<ApplyStats> IpvsMode::apply_full(const plan::Plan& plan) {
  in_step_ = false;
  leaving_.clear();
  orphans_.clear();
  counters_.clear();
  FAIRLEAD_CHECK(look_around(plan));
  ApplyStats stats;
  for (const IpFamily family : kFamilies) {
    if (plan.nodes.contains(family)) {
      FAIRLEAD_TRY(done, apply_family(plan, family));
      stats += done;
    } else {
      FAIRLEAD_CHECK(remove_family(family));
    }
  }
  in_step_ = true;
  return stats;
}

// ---- one change ---------------------------------------------------------------------------------

// A server that would go although it has connections stays for these. Only for established ones:
// what is left of closed ones, minutes of TIME_WAIT, is not worth an address that nobody has.
void IpvsMode::adopt_orphan(const ServerKey& key, const Server& server,
                            const DestinationList& destinations) {
  if (!leaves_slowly(key)) return;
  Server kept{.scheduling = server.scheduling, .persistence = server.persistence};
  for (const auto& [destination, connections] : destinations) {
    if (connections.active != 0) kept.destinations.emplace(destination, 0);
  }
  if (!kept.destinations.empty()) orphans_.emplace(key, std::move(kept));
}

// Servers of `before` that `after` lacks become orphans if they have connections; those of `after`
// that are orphans are none any more.
Result<void> IpvsMode::keep_departing(Step& step, SharedChange& shared) {
  for (const auto& [key, server] : step.after.servers) {
    const auto orphan = orphans_.find(key);
    if (orphan == orphans_.end()) continue;
    if (key.mark == 0) step.before.entries.insert(record_of(key));
    if (holds_address(key)) --shared[bound(key.address)];
    step.before.servers.insert_or_assign(key, std::move(orphan->second));
    orphans_.erase(orphan);
  }
  for (const auto& [key, server] : step.before.servers) {
    if (step.after.servers.contains(key) || !leaves_slowly(key)) continue;
    FAIRLEAD_TRY(destinations, kernel_->destinations(key));
    adopt_orphan(key, server, destinations);
    const auto orphan = orphans_.find(key);
    if (orphan == orphans_.end()) continue;
    step.after.servers.emplace(key, orphan->second);
    if (key.mark == 0) step.after.entries.insert(record_of(key));
    if (holds_address(key)) ++shared[bound(key.address)];
  }
  return {};
}

// A destination of `before` that `after` lacks stays with weight 0; one that is leaving already and
// comes back is edited, not added.
void IpvsMode::keep_leaving(Step& step) const {
  for (auto& [key, after] : step.after.servers) {
    const auto before = step.before.servers.find(key);
    if (before == step.before.servers.end() || !leaves_slowly(key)) continue;
    if (const auto leaving = leaving_.find(key); leaving != leaving_.end()) {
      for (const Destination& destination : leaving->second)
        before->second.destinations.emplace(destination, 0);
    }
    if (orphans_.contains(key)) continue;  // what has no connections may go at once
    for (const auto& [destination, weight] : before->second.destinations)
      after.destinations.emplace(destination, 0);
  }
}

void IpvsMode::count(const SharedChange& shared, Step& step) {
  for (const auto& [entry, change] : shared) {
    auto& counts = families_.at(entry.address.family()).shared;
    const std::int64_t before = counts.contains(entry) ? counts.at(entry) : 0;
    const std::int64_t after = before + change;
    check(after >= 0, "what services share is counted");
    if (before > 0 && after == 0) add_shared(entry, step.before);
    if (before == 0 && after > 0) add_shared(entry, step.after);
    if (after == 0) {
      counts.erase(entry);
    } else {
      counts[entry] = static_cast<std::uint32_t>(after);
    }
  }
}

Result<ApplyStats> IpvsMode::apply(const plan::Plan& plan, const plan::PlanDelta& delta) {
  if (!in_step_ || !delta.nodes_changed.empty() ||
      std::ranges::any_of(delta.services, [&](const auto& change) { return is_claim(change); }))
    return apply_full(plan);
  in_step_ = false;
  Step step;
  SharedChange shared;
  for (const plan::ServiceChange& change : delta.services) {
    const plan::PlanKey& key = (change.after != nullptr ? change.after : change.before)->key;
    if (!families_.contains(key.family)) continue;
    const auto take = [&](const plan::ServicePlanPtr& service, State& into, std::int64_t count) {
      if (service == nullptr) return;
      Rendered rendered = render_service(*service);
      for (const auto& [server, unused] : rendered.own.servers) {
        count > 0 ? counters_.set_owner(server, key) : counters_.unset_owner(server, key);
      }
      merge(into, std::move(rendered.own));
      for (const SetEntry& entry : rendered.shared) shared[entry] += count;
    };
    take(change.before, step.before, -1);
    take(change.after, step.after, 1);
    if (change.after == nullptr || !needs_mark(*change.after)) marks_.release(key);
  }
  FAIRLEAD_CHECK(keep_departing(step, shared));
  count(shared, step);
  keep_leaving(step);
  FAIRLEAD_TRY(stats, commit(difference(step.before, step.after)));
  std::set<ServerKey> with_leaving;
  for (const auto& [key, server] : step.before.servers) {
    const auto after = step.after.servers.find(key);
    leaving_.erase(key);
    if (after == step.after.servers.end()) continue;
    for (const auto& [destination, weight] : after->second.destinations) {
      if (weight != 0) continue;
      leaving_[key].insert(destination);
      with_leaving.insert(key);
    }
  }
  FAIRLEAD_TRY(gone, let_go(with_leaving));
  in_step_ = true;
  return stats += gone;
}

// Deletes those of leaving_ at `servers` whose connections have ended, with them the orphans that
// have none left, and looks again later for the others.
Result<ApplyStats> IpvsMode::let_go(const std::set<ServerKey>& servers) {
  ApplyStats stats;
  Operations operations;
  Step step;
  SharedChange shared;
  for (const ServerKey& key : servers) {
    const auto leaving = leaving_.find(key);
    if (leaving == leaving_.end()) continue;
    FAIRLEAD_TRY(connections, kernel_->destinations(key));
    stats += {.transactions = 1, .messages = 1};
    std::erase_if(leaving->second, [&](const Destination& destination) {
      const auto found = connections.find(destination);
      const bool orphan = orphans_.contains(key);
      const bool over = found == connections.end() || found->second.none() ||
                        (orphan && found->second.active == 0);
      if (!over) return false;
      operations.emplace_back(DeleteDestination{.server = key, .destination = destination});
      return true;
    });
    if (!leaving->second.empty()) continue;
    leaving_.erase(leaving);
    if (orphans_.erase(key) == 0) continue;
    step.before.servers.emplace(key, Server{});
    if (key.mark == 0) step.before.entries.insert(record_of(key));
    if (holds_address(key)) --shared[bound(key.address)];
  }
  count(shared, step);
  std::ranges::move(difference(step.before, step.after), std::back_inserter(operations));
  FAIRLEAD_TRY(done, commit(operations));
  if (!leaving_.empty()) FAIRLEAD_CHECK(kernel_->set_timer(kLeavingPeriod));
  return stats += done;
}

// ---- looking after it ---------------------------------------------------------------------------

Result<std::vector<std::string>> IpvsMode::verify(const plan::Plan& plan, std::size_t limit) {
  if (!in_step_) {
    leaving_.clear();
    orphans_.clear();
    FAIRLEAD_CHECK(look_around(plan));
  }
  std::vector<std::string> out;
  for (const auto& [family, unused] : families_) {
    State wanted = render_all(plan, family);
    for (const auto& [key, destinations] : leaving_) {
      const auto server = wanted.servers.find(key);
      if (server == wanted.servers.end()) continue;
      for (const Destination& destination : destinations)
        server->second.destinations.emplace(destination, 0);
    }
    FAIRLEAD_TRY(reading, kernel_->read(family));
    for (const Operation& operation : difference(ours(reading, wanted), wanted)) {
      if (out.size() >= limit) return out;
      out.push_back("to mend it: " + to_string(operation));
    }
    FAIRLEAD_TRY(saved, kernel_->saved_rules(family));
    const Ruleset rules = rules_for(families_.at(family).node, family);
    if (out.size() < limit && ours_in(saved, rules) != rules)
      out.push_back(fmt::format("the iptables rules of {} are not as we left them", family));
  }
  return out;
}

Result<bool> IpvsMode::tampered() {
  FAIRLEAD_TRY(wake, kernel_->woken());
  if (wake.timer) {
    std::set<ServerKey> servers;
    for (const auto& [key, unused] : leaving_) servers.insert(key);
    FAIRLEAD_CHECK(let_go(servers));
  }
  if (wake.missed) return true;
  bool ours = false;
  for (const AddressEvent& event : wake.events) {
    const auto family = families_.find(event.address.family());
    if (family == families_.end()) continue;
    if (event.on_device) {
      const bool wanted = family->second.shared.contains(bound(event.address));
      ours = ours || (wanted != event.added && !event.address.is_link_local());
    } else if (surroundings_.interface_addresses.contains(event.address) != event.added) {
      ours = true;  // node ports answer on it, or a service's address is the node's own now
      in_step_ = false;
    }
  }
  return ours;
}

Result<std::vector<plan::Traffic>> IpvsMode::traffic(const plan::Plan&) {
  if (!in_step_) return make_error(ErrorCode::Unavailable, "the kernel does not hold the plan yet");
  return counters_.read(*kernel_, options_.clock->mono());
}

Result<void> IpvsMode::remove_family(IpFamily family) {
  FAIRLEAD_TRY(reading, kernel_->read(family));
  FAIRLEAD_CHECK(commit(difference(ours(reading, {}), {})));
  // Which settings the rules came from does not matter: the names are the same.
  auto saved = kernel_->saved_rules(family);
  // Without tools for a family there are no rules of it.
  if (!saved) return kernel_->remove_sets(family);
  const Ruleset all = rules_for({}, family);
  const std::string text = restore_text(ours_in(*saved, all), {});
  if (!text.empty()) FAIRLEAD_CHECK(kernel_->restore_rules(family, text));
  return kernel_->remove_sets(family);
}

Result<void> IpvsMode::cleanup() {
  in_step_ = false;
  families_.clear();
  leaving_.clear();
  orphans_.clear();
  for (const IpFamily family : kFamilies) FAIRLEAD_CHECK(remove_family(family));
  return kernel_->remove_device();
}

}  // namespace fairlead::ipvs
