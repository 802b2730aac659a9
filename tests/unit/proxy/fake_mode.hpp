// A kernel made of maps, for tests of the sync. It enforces what a real mode may assume: a delta's
// `before` is what was applied last, both sides of a change name the same service port, and after a
// failed write only apply_full() changes anything. Each call can be made to fail; a failing write
// leaves half of its work behind, as an unlucky kernel would.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/plan/mode.hpp"

namespace fairlead::proxy {

// Outlives the mode, so that tests can look at it and "restart" the proxy over it.
struct FakeKernel {
  std::map<plan::PlanKey, plan::ServicePlanPtr> services;
  std::map<IpFamily, plan::NodePlan> nodes;
  std::vector<std::string> calls;  // "full", "delta", "verify", "tampered", "cleanup"
  std::map<plan::PlanKey, std::vector<Port>> udp_ports;  // as the mode says
  std::optional<std::size_t> fail_at;                    // index into calls
  std::optional<std::size_t> fail_from;                  // it and all later ones
  ErrorCode fail_with = ErrorCode::Exhausted;
  bool broken = false;   // a failure left it half programmed
  bool foreign = false;  // somebody else touched our objects
  std::size_t changes_applied = 0;
};

class FakeMode final : public plan::Mode {
 public:
  explicit FakeMode(std::shared_ptr<FakeKernel> kernel) : kernel_(std::move(kernel)) {}

  std::string_view name() const override { return "fake"; }

  Result<plan::ApplyStats> apply_full(const plan::Plan& plan) override {
    if (fails("full")) return half_done();
    kernel_->services = plan.services;
    kernel_->nodes = plan.nodes;
    kernel_->broken = false;
    return plan::ApplyStats{.transactions = 1, .messages = plan.services.size()};
  }

  Result<plan::ApplyStats> apply(const plan::Plan& plan, const plan::PlanDelta& delta) override {
    EXPECT_FALSE(kernel_->broken) << "after a failure everything must be programmed anew";
    const bool failing = fails("delta");
    std::size_t done = 0;
    for (const plan::ServiceChange& change : delta.services) {
      if (failing && done++ * 2 >= delta.services.size()) break;
      apply(change, plan);
    }
    if (failing) return half_done();
    kernel_->nodes = plan.nodes;
    return plan::ApplyStats{.transactions = 1, .messages = delta.services.size()};
  }

  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override {
    if (fails("verify")) return failure();
    std::vector<std::string> out;
    for (const plan::ServiceChange& change :
         plan::diff({.nodes = kernel_->nodes, .services = kernel_->services}, plan).services) {
      if (out.size() == limit) break;
      const auto& key = change.after ? change.after->key : change.before->key;
      out.push_back(fmt::format("{} differs", key.service_port.to_string()));
    }
    return out;
  }

  std::vector<Port> udp_ports(const plan::PlanKey& key) const override {
    const auto found = kernel_->udp_ports.find(key);
    return found == kernel_->udp_ports.end() ? std::vector<Port>() : found->second;
  }
  int tamper_fd() const override { return -1; }
  Result<bool> tampered() override {
    if (fails("tampered")) return failure();
    return std::exchange(kernel_->foreign, false);
  }
  Result<void> cleanup() override {
    if (fails("cleanup")) return failure();
    kernel_->services.clear();
    return {};
  }

 private:
  bool fails(std::string call) {
    kernel_->calls.push_back(std::move(call));
    const std::size_t index = kernel_->calls.size() - 1;
    return kernel_->fail_at == index || (kernel_->fail_from && index >= *kernel_->fail_from);
  }
  Error failure() const { return make_error(kernel_->fail_with, "the fake kernel refuses"); }
  Error half_done() {
    kernel_->broken = true;
    return failure();
  }
  void apply(const plan::ServiceChange& change, const plan::Plan& plan) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    const auto found = kernel_->services.find(key);
    EXPECT_EQ(found == kernel_->services.end() ? nullptr : found->second, change.before)
        << "a delta starts from what was applied last";
    ++kernel_->changes_applied;
    if (!change.after) {
      kernel_->services.erase(key);
      return;
    }
    EXPECT_EQ(plan.services.at(key), change.after);
    if (change.before) {
      EXPECT_EQ(change.before->key, key);
    }
    kernel_->services.insert_or_assign(key, change.after);
  }

  std::shared_ptr<FakeKernel> kernel_;
};

}  // namespace fairlead::proxy
