#include "proxy/modes/userspace/service.hpp"

#include <algorithm>
#include <bit>

namespace fairlead::userspace {
namespace {

constexpr auto kSweepEvery = std::chrono::seconds(60);

bool holds(const plan::Pool& pool, const plan::Backend& backend) {
  return std::ranges::find(pool, backend) != pool.end();
}

bool is_endpoint(const plan::ServicePlan& plan, const plan::Backend& backend) {
  return holds(plan.cluster_pool, backend) || holds(plan.local_pool, backend);
}

}  // namespace

void ServiceCounters::connected_after(std::chrono::nanoseconds took) {
  const auto ms =
      static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(took).count());
  const auto bucket = ms <= 1 ? 0 : std::bit_width(ms - 1);
  connect_ns.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
  connect_ms[std::min<std::size_t>(static_cast<std::size_t>(bucket), connect_ms.size() - 1)]++;
}

Service::Service(plan::ServicePlanPtr plan, Choice choice)
    : plan_(std::move(plan)), choice_(choice) {}

void Service::set_plan(plan::ServicePlanPtr plan) {
  const plan::ServicePlanPtr now = plan;
  plan_.store(std::move(plan));
  forget_departed(*now);
  const std::scoped_lock lock(affinity_mutex_);
  std::erase_if(affinity_, [&now](const auto& entry) {
    return !now->affinity || !is_endpoint(*now, entry.second.backend);
  });
}

std::optional<plan::Backend> Service::choose(PoolKind kind, const IpAddress& client,
                                             const std::vector<plan::Backend>& avoid,
                                             Clock::time_point now) {
  const plan::ServicePlanPtr plan = plan_.load();
  const plan::Pool& pool = kind == PoolKind::Cluster ? plan->cluster_pool : plan->local_pool;
  if (pool.empty()) return std::nullopt;
  if (plan->affinity && avoid.empty()) {
    if (auto backend = stuck_to(pool, client, *plan->affinity, now)) return backend;
  }
  if (avoid.empty()) return pick(pool);
  plan::Pool left;
  std::ranges::copy_if(pool, std::back_inserter(left), [&avoid](const plan::Backend& backend) {
    return std::ranges::find(avoid, backend) == avoid.end();
  });
  return pick(left.empty() ? pool : left);
}

std::optional<plan::Backend> Service::stuck_to(const plan::Pool& pool, const IpAddress& client,
                                               std::chrono::seconds timeout,
                                               Clock::time_point now) {
  const std::scoped_lock lock(affinity_mutex_);
  const auto found = affinity_.find(client);
  if (found == affinity_.end() || found->second.last + timeout <= now ||
      !holds(pool, found->second.backend)) {
    return std::nullopt;
  }
  return found->second.backend;
}

void Service::chosen(const IpAddress& client, const plan::Backend& backend, Clock::time_point now) {
  const auto affinity = plan_.load()->affinity;
  if (!affinity) return;
  const std::scoped_lock lock(affinity_mutex_);
  affinity_.insert_or_assign(client, Stuck{.backend = backend, .last = now});
  if (last_sweep_ + kSweepEvery <= now) forget_expired(*affinity, now);
}

void Service::forget_expired(std::chrono::seconds timeout, Clock::time_point now) {
  last_sweep_ = now;
  std::erase_if(affinity_, [&](const auto& entry) { return entry.second.last + timeout <= now; });
}

const plan::Backend& Service::pick(const plan::Pool& candidates) {
  const std::uint64_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
  const std::size_t size = candidates.size();
  if (choice_ == Choice::RoundRobin || size == 1) return candidates[turn % size];
  const std::scoped_lock lock(busy_mutex_);
  if (choice_ == Choice::RandomOfTwo) {
    std::uniform_int_distribution<std::size_t> any(0, size - 1);
    const plan::Backend& one = candidates[any(random_)];
    const plan::Backend& other = candidates[any(random_)];
    return load_of(other) < load_of(one) ? other : one;
  }
  const plan::Backend* best = &candidates[turn % size];
  for (std::size_t i = 1; i < size; ++i) {
    const plan::Backend& other = candidates[(turn + i) % size];
    if (load_of(other) < load_of(*best)) best = &other;
  }
  return *best;
}

std::uint64_t Service::load_of(const plan::Backend& backend) const {
  const auto found = busy_.find(backend);
  return found == busy_.end() ? 0 : found->second.open;
}

void Service::opened(const plan::Backend& backend) {
  // Under the lock: who has seen the service's count finds the endpoint's as well.
  const std::scoped_lock lock(busy_mutex_);
  counters.opened.fetch_add(1, std::memory_order_relaxed);
  EndpointCount& count = busy_[backend];
  ++count.open;
  ++count.total;
}

void Service::closed(const plan::Backend& backend) {
  const plan::ServicePlanPtr plan = plan_.load();
  const std::scoped_lock lock(busy_mutex_);
  counters.closed.fetch_add(1, std::memory_order_relaxed);
  const auto found = busy_.find(backend);
  if (found == busy_.end()) return;
  if (--found->second.open == 0 && !is_endpoint(*plan, backend)) busy_.erase(found);
}

void Service::forget_departed(const plan::ServicePlan& plan) {
  const std::scoped_lock lock(busy_mutex_);
  std::erase_if(busy_, [&plan](const auto& entry) {
    return entry.second.open == 0 && !is_endpoint(plan, entry.first);
  });
}

std::map<plan::Backend, EndpointCount> Service::endpoint_counts() const {
  const std::scoped_lock lock(busy_mutex_);
  return busy_;
}

}  // namespace fairlead::userspace
