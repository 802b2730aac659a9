// Model, syncer and kernel side on one clock, without threads, over a kernel made of maps.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/sync.hpp"
#include "unit/plan/model_builder.hpp"
#include "unit/proxy/fake_mode.hpp"

namespace fairlead::proxy {

using namespace std::chrono_literals;

class Rig {
 public:
  explicit Rig(Duration min_sync_period = 1s)
      : syncer({.model = &model,
                .node = plan::make_node(),
                .sync_period = 30s,
                .min_sync_period = min_sync_period,
                .clock = &clock}),
        side({.mode = std::make_unique<FakeMode>(kernel),
              .clean_flows = [this](const StaleFlows& wanted,
                                    IpFamily family) { return walk(wanted, family); },
              .remove_leftovers = [this](std::string_view mode,
                                         std::string_view) { return sweep(mode); },
              .clock = &clock}) {}

  // Everything that is due now; returns how many jobs ran.
  int run() {
    int jobs = 0;
    while (auto job = syncer.next_job()) {
      last = side.run(*std::move(job));
      syncer.finish(last);
      ++jobs;
    }
    return jobs;
  }
  void put_service(const std::string& name, const std::string& address) {
    model.put(plan::make_service(name, address));
    syncer.changed();
  }
  void put_endpoints(const std::string& service, std::vector<std::string> addresses) {
    std::vector<kube::Endpoint> endpoints;
    for (std::string& address : addresses) endpoints.push_back(plan::make_endpoint(address));
    model.put(plan::make_slice(service + "-x", service, std::move(endpoints)));
    syncer.changed();
  }
  void open() {
    syncer.services_synced();
    syncer.slices_synced();
  }
  bool in_step() const { return kernel->services == syncer.compiler().plan().services; }
  Duration until_wake() const { return *syncer.wake_at() - clock.mono(); }

  Result<FlowStats> walk(const StaleFlows& wanted, IpFamily family) {
    ++flow_walks;
    EXPECT_FALSE(kernel->broken) << "old flows are looked over under the new rules only";
    if (std::exchange(flows_fail, false)) return make_error(ErrorCode::Exhausted, "no memory");
    filters.push_back(wanted.filter(family));
    stale = wanted;
    return FlowStats{};
  }

  Leftovers sweep(std::string_view mode) {
    ++sweeps;
    EXPECT_EQ(mode, "fake");
    EXPECT_EQ(kernel->calls.front(), "full") << "the old rules stay until the new ones are there";
    if (std::exchange(sweep_fails, false)) {
      return {.removed = {}, .failures = {Error{.message = "the lock is held"}}};
    }
    return {.removed = {"iptables-legacy IPv4"}, .failures = {}};
  }

  FakeClock clock;
  model::Model model;
  std::shared_ptr<FakeKernel> kernel = std::make_shared<FakeKernel>();
  Syncer syncer;
  KernelSide side;
  Outcome last;
  int sweeps = 0;
  bool sweep_fails = false;  // the next one
  int flow_walks = 0;
  bool flows_fail = false;          // the next walk
  std::vector<FlowFilter> filters;  // of those that succeeded
  std::optional<StaleFlows> stale;  // what the last one looked for
};

}  // namespace fairlead::proxy
