// Check E14 of docs/apiserver-checks.md: two processes and one Lease, on each store.
#include <csignal>

#include "api/http_fixture.hpp"
#include "support/process.hpp"

namespace fairlead::api_test {
namespace {

constexpr std::string_view kLeases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

class ElectionChecks : public HttpTest {
 protected:
  io::Child candidate(std::string_view name) {
    io::Command command;
    command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-controller",
                    "--kubeconfig",
                    server_->kubeconfig(),
                    "--leader-elect-lease-duration=3s",
                    "--leader-elect-renew-deadline=2s",
                    "--leader-elect-retry-period=500ms"};
    auto child =
        test::spawn_logging(std::move(command), fmt::format("{}/{}.log", folder_.path(), name));
    check(child.has_value(), "the program starts");
    return *std::move(child);
  }
  // Who holds the Lease at its next change, and after how many transitions.
  std::pair<std::string, std::string> holder(WatchStream& lease) {
    const auto event = next_event(lease);
    const auto at = [&event](std::string_view pointer) -> std::string {
      boost::system::error_code missing;
      const auto* found = event.find_pointer({pointer.data(), pointer.size()}, missing);
      if (found == nullptr) return "";
      return found->is_string() ? std::string(found->get_string())
                                : std::to_string(found->get_int64());
    };
    return {at("/object/spec/holderIdentity"), at("/object/spec/leaseTransitions")};
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, ElectionChecks, both_stores(), name_of);

TEST_P(ElectionChecks, AKilledHolderIsFollowedByTheOtherAndThereAreNeverTwo) {
  start();
  WatchStream lease = watch(
      fmt::format("{}?watch=true&fieldSelector=metadata.name%3Dfairlead-controller", kLeases));
  io::Child first = candidate("first");
  const auto [one, never] = holder(lease);
  ASSERT_FALSE(one.empty());
  io::Child second = candidate("second");
  for (int renewal = 0; renewal < 4; ++renewal) EXPECT_EQ(holder(lease).first, one);
  ASSERT_TRUE(first.signal(SIGKILL));
  ASSERT_TRUE(first.wait_blocking());
  auto now = holder(lease);
  while (now.first == one) now = holder(lease);  // renewed before the signal came
  EXPECT_NE(now.first, "");
  EXPECT_EQ(std::stoi(now.second), (never.empty() ? 0 : std::stoi(never)) + 1);
  for (int renewal = 0; renewal < 4; ++renewal) EXPECT_EQ(holder(lease), now);
  ASSERT_TRUE(second.signal(SIGTERM));
  EXPECT_TRUE(second.wait_blocking());
}

}  // namespace
}  // namespace fairlead::api_test
