// What the mode does when the tools fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/modes/iptables/iptables_mode.hpp"
#include "unit/iptables/plans.hpp"

namespace fairlead::iptables {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using ::testing::Not;

struct ToolsLog {
  std::string refused = "nothing";  // texts that hold this fail
  std::vector<std::string> written;
};

// Empty tables, whatever was written.
class FakeTools final : public Tools {
 public:
  explicit FakeTools(ToolsLog* log) : log_(log) {}
  Variant variant() const override { return Variant::Nft; }
  Result<std::string> save(IpFamily) override { return std::string(); }
  Result<void> restore(IpFamily, const std::string& text) override {
    if (text.find(log_->refused) != std::string::npos) {
      return make_error(ErrorCode::Unavailable, "exit code 4");
    }
    log_->written.push_back(text);
    return {};
  }
  Result<bool> has_canary(IpFamily) override { return true; }

 private:
  ToolsLog* log_;
};

IptablesMode mode_over(ToolsLog& log) {
  return {std::make_unique<FakeTools>(&log), nullptr, {.large_cluster_above = 0}};
}

TEST(IptablesMode, AKernelThatComparesNoAddressesGetsAChainForEachEndpoint) {
  ToolsLog log{.refused = "-m bpf"};
  IptablesMode mode = mode_over(log);
  const Plan plan = many_services(2, 2);
  const auto done = mode.apply_full(plan);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_THAT(log.written.back(), HasSubstr("KUBE-SEP-"));
  const Plan after = without_one_backend(plan);
  ASSERT_TRUE(mode.apply(after, plan::diff(plan, after)));
  EXPECT_THAT(log.written.back(), HasSubstr("-j KUBE-SEP-"));
}

TEST(IptablesMode, AHeldLockChangesNothingButTheResult) {
  ToolsLog log{.refused = ""};
  IptablesMode mode = mode_over(log);
  const Plan plan = many_services(2, 2);
  const auto failed = mode.apply_full(plan);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::Unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("program IPv4"));
  log.refused = "nothing";
  ASSERT_TRUE(mode.apply_full(plan));
  EXPECT_THAT(log.written.back(), HasSubstr("-m bpf"));
  EXPECT_THAT(log.written.back(), Not(HasSubstr("KUBE-SEP-")));
}

TEST(IptablesMode, AfterAFailedChangeAllIsReadAgain) {
  ToolsLog log;
  IptablesMode mode = mode_over(log);
  const Plan plan = many_services(2, 2);
  const Plan after = without_one_backend(plan);
  ASSERT_TRUE(mode.apply_full(plan));
  log.refused = "";
  ASSERT_FALSE(mode.apply(after, plan::diff(plan, after)));
  log.refused = "nothing";
  ASSERT_TRUE(mode.apply(after, plan::diff(plan, after)));
  EXPECT_THAT(log.written.back(), HasSubstr("KUBE-POSTROUTING"));  // everything
}

}  // namespace
}  // namespace fairlead::iptables
