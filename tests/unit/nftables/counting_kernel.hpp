// A kernel that encodes every transaction as the real one does, and counts: what was sent, and how
// often anything was listed back. It remembers no state, so listings are empty.
#pragma once

#include "proxy/modes/nftables/encode.hpp"
#include "proxy/modes/nftables/kernel.hpp"

namespace fairlead::nftables::testing {

struct KernelWork {
  plan::ApplyStats sent;
  int listings = 0;
  bool operator==(const KernelWork&) const = default;
};

class CountingKernel final : public Kernel {
 public:
  explicit CountingKernel(KernelWork* work) : work_(work) {}

  std::unique_ptr<Transaction> begin() override { return std::make_unique<Batch>(1); }
  CommitResult commit(std::unique_ptr<Transaction> transaction) override {
    auto& batch = static_cast<Batch&>(*transaction);
    batch.finish();
    work_->sent += batch.stats();
    return batch.stats();
  }
  Result<std::optional<TableListing>> list(IpFamily) override {
    ++work_->listings;
    return std::optional<TableListing>{};
  }
  Result<void> list_elements(IpFamily, SetId, const std::function<void(Element)>&) override {
    ++work_->listings;
    return {};
  }
  Result<std::map<std::string, std::vector<std::string>>> list_rules(IpFamily) override {
    ++work_->listings;
    return std::map<std::string, std::vector<std::string>>{};
  }
  std::string describe(const Rule& rule, IpFamily family) const override {
    return rule_text(rule, family);
  }
  int tamper_fd() const override { return -1; }
  Result<bool> tampered() override { return false; }

 private:
  KernelWork* work_;
};

}  // namespace fairlead::nftables::testing
