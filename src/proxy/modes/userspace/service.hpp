// Service: one service port of one family as the data path sees it: which endpoint a new
// connection goes to, who stuck to which, and what is counted. Shared by all loops.
//
// Thread rule: every member may be called from any thread. The plan is an immutable value that is
// swapped; counters are atomic; affinity has a mutex, taken only by services that want affinity.
// Not here: sockets.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "proxy/plan/plan.hpp"

namespace fairlead::userspace {

enum class Choice : std::uint8_t {
  RoundRobin,        // in the plan's order
  LeastConnections,  // the endpoint with the fewest of ours open; a tie by turn
  RandomOfTwo,       // the less busy of two picked at random
};

// Which of a plan's pools.
enum class PoolKind : std::uint8_t { Cluster, Local };

// Written by the loops, read by whoever shows metrics.
struct ServiceCounters {
  std::atomic<std::uint64_t> opened = 0;  // connections and UDP flows taken
  std::atomic<std::uint64_t> closed = 0;
  std::atomic<std::uint64_t> refused = 0;  // no endpoint could be reached, or over the limit
  std::atomic<std::uint64_t> retries = 0;  // an endpoint did not answer and another was tried
  std::atomic<std::uint64_t> bytes_in = 0, bytes_out = 0;  // from and to clients
  // Upper bounds in milliseconds: 1, 2, 4, ... 1024, and above.
  static constexpr std::size_t kConnectBuckets = 12;
  std::array<std::atomic<std::uint64_t>, kConnectBuckets> connect_ms{};
  std::atomic<std::uint64_t> connect_ns = 0;  // altogether
  void connected_after(std::chrono::nanoseconds took);
};

// Of one endpoint.
struct EndpointCount {
  std::uint64_t open = 0, total = 0;
};

class Service {
 public:
  using Clock = std::chrono::steady_clock;
  Service(plan::ServicePlanPtr plan, Choice choice);

  // Clients of endpoints that are in no pool any more are forgotten.
  void set_plan(plan::ServicePlanPtr plan);
  plan::ServicePlanPtr plan() const { return plan_.load(); }

  // An endpoint for a new connection of `client`; not one of `avoid` unless there are no others.
  // nullopt: the pool is empty. Each call moves the turn on.
  std::optional<plan::Backend> choose(PoolKind pool, const IpAddress& client,
                                      const std::vector<plan::Backend>& avoid,
                                      Clock::time_point now);
  // The connection came about: `client` sticks to it from now on, where the service has affinity.
  void chosen(const IpAddress& client, const plan::Backend& backend, Clock::time_point now);

  void opened(const plan::Backend& backend);
  void closed(const plan::Backend& backend);
  // Of all endpoints that are in a pool or have open connections.
  std::map<plan::Backend, EndpointCount> endpoint_counts() const;

  ServiceCounters counters;

 private:
  struct Stuck {
    plan::Backend backend;
    Clock::time_point last;
  };
  std::optional<plan::Backend> stuck_to(const plan::Pool& pool, const IpAddress& client,
                                        std::chrono::seconds timeout, Clock::time_point now);
  const plan::Backend& pick(const plan::Pool& candidates);
  std::uint64_t load_of(const plan::Backend& backend) const;  // under busy_mutex_
  void forget_departed(const plan::ServicePlan& plan);
  void forget_expired(std::chrono::seconds timeout, Clock::time_point now);

  std::atomic<plan::ServicePlanPtr> plan_;
  Choice choice_;
  std::atomic<std::uint64_t> turn_ = 0;

  mutable std::mutex affinity_mutex_;
  std::map<IpAddress, Stuck> affinity_;  // guarded by affinity_mutex_
  Clock::time_point last_sweep_{};       // guarded by affinity_mutex_

  mutable std::mutex busy_mutex_;
  std::map<plan::Backend, EndpointCount> busy_;      // guarded by busy_mutex_
  std::minstd_rand random_{std::random_device{}()};  // guarded by busy_mutex_
};

}  // namespace fairlead::userspace
