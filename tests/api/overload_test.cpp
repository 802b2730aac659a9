// An overloaded server, as kubectl meets it: the second half of check W15 of
// docs/apiserver-checks.md.
#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::HasSubstr;

class OverloadTest : public KubectlTest {
 protected:
  // Of everybody who is no administrator, one request a second, and two at once.
  void start_overloaded() {
    server_->stop(SIGTERM);
    std::vector<std::string> flags = store_->flags();
    const std::string tokens = folder_.write("tokens", "busy-token,busy,1\n");
    flags.insert(flags.end(), {"--token-auth-file", tokens, "--authorization-mode=AlwaysAllow",
                               "--max-requests-per-user=1"});
    server_.emplace(folder_, std::move(flags));
    config_ = busy_config();
  }
  // As the user who is limited.
  std::vector<std::string> as_busy(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--token", "busy-token", "--kubeconfig", config_});
    return arguments;
  }
  std::string busy(std::vector<std::string> arguments) { return ok(as_busy(std::move(arguments))); }
  double refused() {
    const std::string line =
        "\napiserver_flowcontrol_rejected_requests_total{reason=\"user-rate\"} ";
    const std::string all = ok({"get", "--raw", "/metrics"});
    const std::size_t found = all.find(line);
    return found == std::string::npos ? -1 : std::stod(all.substr(found + line.size()));
  }

 private:
  // Without the administrator's certificate, which would count more than the token.
  std::string busy_config() {
    const std::string url =
        ok({"config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}"});
    return folder_.write(
        "busy.kubeconfig",
        fmt::format("apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: {}, "
                    "insecure-skip-tls-verify: true}}\ncontexts:\n- name: c\n  context: {{cluster: "
                    "c}}\ncurrent-context: c\n",
                    url));
  }

  std::string config_;
};
INSTANTIATE_TEST_SUITE_P(Kubectl, OverloadTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

TEST_P(OverloadTest, KubectlComesAgainUntilItIsServed) {
  start_overloaded();
  ASSERT_EQ(refused(), 0);
  busy({"get", "configmaps"});  // from now on discovery is known
  constexpr int kAtOnce = 5;
  // Each is several requests: of validation, and its own.
  std::vector<io::Child> running;
  for (int i = 0; i < kAtOnce; ++i) {
    running.push_back(start_kubectl(as_busy({"create", "configmap", fmt::format("made-{}", i)}),
                                    fmt::format("made-{}.out", i)));
  }
  for (int i = 0; i < kAtOnce; ++i) {
    const auto ended = running[static_cast<std::size_t>(i)].wait_blocking();
    EXPECT_TRUE(ended && ended->ok()) << folder_.read(fmt::format("made-{}.out", i));
  }
  const std::string all = busy({"get", "configmaps", "-o", "name"});
  for (int i = 0; i < kAtOnce; ++i)
    EXPECT_THAT(all, HasSubstr(fmt::format("configmap/made-{}\n", i)));
  EXPECT_GT(refused(), 0) << "or nothing has been proven";
}

}  // namespace
}  // namespace fairlead::api_test
