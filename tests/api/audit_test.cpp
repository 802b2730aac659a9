// The audit log of the real program, as kubectl's requests are written to it.
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <sstream>

#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::HasSubstr;
using testing::Not;

class AuditTest : public KubectlTest {
 protected:
  void restart(std::vector<std::string> flags) {
    server_->stop(SIGTERM);
    const std::vector<std::string> store = store_->flags();
    flags.insert(flags.end(), store.begin(), store.end());
    server_.emplace(folder_, std::move(flags));
  }
  // "alice as bob: create configmaps x 201 allow", of every line.
  std::vector<std::string> told() {
    std::vector<std::string> out;
    std::istringstream lines(folder_.read("audit.log"));
    for (std::string line; std::getline(lines, line);) {
      boost::system::error_code failed;
      const auto event = boost::json::parse(line, failed);
      EXPECT_FALSE(failed) << line;
      const auto text = [&event](std::string_view pointer) {
        boost::system::error_code missing;
        const auto* found = event.find_pointer({pointer.data(), pointer.size()}, missing);
        if (found == nullptr) return std::string("-");
        return found->is_string() ? std::string(found->get_string())
                                  : std::to_string(found->get_int64());
      };
      EXPECT_EQ(text("/stage"), "ResponseComplete") << line;
      out.push_back(fmt::format(
          "{} as {}: {} {} {} {} {}", text("/user/username"), text("/impersonatedUser/username"),
          text("/verb"), text("/objectRef/resource"), text("/objectRef/name"),
          text("/responseStatus/code"), text("/annotations/authorization.k8s.io~1decision")));
    }
    return out;
  }
};
// The current kubectl on each store.
INSTANTIATE_TEST_SUITE_P(Kubectl, AuditTest,
                         testing::Values(kubectls_under_test()[0], kubectls_under_test()[2]),
                         [](const auto& param) { return param.param.name; });

TEST_P(AuditTest, SaysWhatKubectlDidAndKeepsSecretsOut) {
  const std::string policy = folder_.write("policy.yaml",
                                           "apiVersion: audit.k8s.io/v1\n"
                                           "kind: Policy\n"
                                           "omitStages: [RequestReceived, ResponseStarted]\n"
                                           "rules:\n"
                                           "- {level: None, nonResourceURLs: ['*']}\n"
                                           "- {level: Request}\n");
  restart({"--audit-log-path", folder_.path() + "/audit.log", "--audit-policy-file", policy});
  ok({"create", "configmap", "made", "--from-literal=password=hunter2"});
  EXPECT_THAT(folder_.read("audit.log"), HasSubstr(R"("data":{"password":"hunter2"})"))
      << "the policy asks for it";
  refused({"create", "configmap", "more", "--as", "bob"});
  const std::string token = ok({"create", "token", "default"});
  ASSERT_GT(token.size(), 100U);
  EXPECT_EQ(told(), (std::vector<std::string>{
                        "fairlead-admin as -: create configmaps made 201 allow",
                        "fairlead-admin as bob: create configmaps - 403 forbid",
                        "fairlead-admin as -: create serviceaccounts default 201 allow"}));
  const std::string whole = folder_.read("audit.log");
  EXPECT_THAT(whole, Not(HasSubstr(token.substr(0, 30))));
}

TEST_P(AuditTest, AFullDiskIsToldAndStopsNothing) {
  restart({"--audit-log-path", "/dev/full"});
  ok({"create", "configmap", "made"});
  EXPECT_THAT(ok({"get", "configmap", "made", "-o", "name"}), HasSubstr("configmap/made"));
  EXPECT_THAT(server_->log(), HasSubstr("No space left on device"));
}

TEST_P(AuditTest, WrongFilesAreNamed) {
  const auto said = [this](std::vector<std::string> flags) {
    io::Command command;
    command.argv = {server_program(), "--data-dir", folder_.path() + "/unused", "--secure-port",
                    "0"};
    command.argv.insert(command.argv.end(), flags.begin(), flags.end());
    const auto output = io::run_blocking(command, {}, std::chrono::seconds(10));
    EXPECT_TRUE(output && !output->status.ok());
    return output ? output->err : "";
  };
  const std::string policy = folder_.write("policy.yaml", "kind: Pod\napiVersion: v1\n");
  const std::string log = folder_.path() + "/log";
  EXPECT_THAT(said({"--audit-log-path", log, "--audit-policy-file", policy}),
              HasSubstr("--audit-policy-file: " + policy));
  EXPECT_THAT(said({"--audit-log-path", "/nowhere/log"}),
              HasSubstr("--audit-log-path: open /nowhere/log: No such file"));
  EXPECT_THAT(said({"--audit-policy-file", policy}), HasSubstr("requires --audit-log-path"));
}

}  // namespace
}  // namespace fairlead::api_test
