// The nftables mode: the Plan as elements of a fixed set of maps in two tables of our own, `ip
// fairlead` and `ip6 fairlead`. Foreign tables are never touched. A change is one transaction of a
// few elements, sent without reading anything back. A table that is there already, from an earlier
// run or damaged by somebody, is read once and given what it lacks.
//
// Rendering is pure (render.hpp, shapes.hpp); the kernel is behind kernel.hpp. What a service's
// clients were learnt to stick to lives in the kernel's `affinity` sets and survives reloads and
// restarts. Owner: the proxy. Thread rule: as plan::Mode: one caller at a time, any thread; but
// create() must be called in the network namespace that is to be programmed, where the sockets
// stay.
#pragma once

#include <map>
#include <memory>

#include "proxy/modes/nftables/kernel.hpp"
#include "proxy/modes/nftables/render.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::nftables {

struct Config {};

// Fails with Forbidden (capability missing) or Unsupported (kernel feature missing), in words.
Result<std::unique_ptr<plan::Mode>> create(const Config& config);

class NftablesMode final : public plan::Mode {
 public:
  explicit NftablesMode(std::unique_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}

  std::string_view name() const override { return "nftables"; }
  Result<plan::ApplyStats> apply_full(const plan::Plan& plan) override;
  Result<plan::ApplyStats> apply(const plan::Plan& plan, const plan::PlanDelta& delta) override;
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override;
  int tamper_fd() const override { return kernel_->tamper_fd(); }
  Result<bool> tampered() override { return kernel_->tampered(); }
  Result<void> cleanup() override;

 private:
  CommitResult program(IpFamily family, const plan::Plan& plan);
  CommitResult adopt(IpFamily family, const plan::Plan& plan, const TableListing& listing);
  CommitResult replace(IpFamily family, const plan::Plan& plan, bool exists);
  CommitResult commit_steps(std::vector<std::vector<Operation>> steps);
  void restore_rules();
  Result<void> remove_table(IpFamily family);
  Result<plan::ApplyStats> forget_departed(const plan::PlanDelta& delta);
  Result<plan::ApplyStats> forget_unknown(const plan::Plan& plan);

  std::unique_ptr<Kernel> kernel_;
  std::map<IpFamily, Renderer> renderers_;
  bool in_step_ = false;  // the renderers describe what the kernel has
};

}  // namespace fairlead::nftables
