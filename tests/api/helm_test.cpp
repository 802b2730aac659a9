// helm, a program of client-go: its --wait and its hooks are informers of that library. What they
// asked the server is read from the audit log.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "api/http_fixture.hpp"
#include "support/process.hpp"

namespace fairlead::api_test {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kPods = "/api/v1/namespaces/default/pods";

// Where ./dev setup has put it: FAIRLEAD_HELM, else .cache/tools of the source tree.
std::string helm_program() {
  const char* given = std::getenv("FAIRLEAD_HELM");
  return given != nullptr && *given != '\0'
             ? given
             : std::string(FAIRLEAD_SOURCE_DIR) + "/.cache/tools/helm";
}

constexpr std::string_view kObjects = R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-settings"}
data: {note: "{{ .Values.note }}"}
---
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: "{{ .Release.Name }}-web", labels: {app: shop}}
spec: {containers: [{name: web, image: "example/web:1"}]}
)";
constexpr std::string_view kHooks = R"(
apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Release.Name }}-before"
  annotations: {"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation"}
spec: {restartPolicy: Never, containers: [{name: before, image: "example/before:1"}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: "{{ .Release.Name }}-test"
  annotations: {"helm.sh/hook": test}
spec: {restartPolicy: Never, containers: [{name: test, image: "example/test:1"}]}
)";

class HelmTest : public HttpTest {
 protected:
  void SetUp() override {
    if (access(helm_program().c_str(), X_OK) != 0) {
      GTEST_SKIP() << "SKIPPED: no helm at " << helm_program()
                   << "; run ./dev setup, or set FAIRLEAD_HELM";
    }
    HttpTest::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directories(folder_.path() + "/chart/templates");
    folder_.write("chart/Chart.yaml", "{apiVersion: v2, name: shop, version: 0.1.0}\n");
    folder_.write("chart/values.yaml", "note: first\n");
    folder_.write("chart/templates/objects.yaml", kObjects);
    folder_.write("chart/templates/hooks.yaml", kHooks);
    serve();
  }
  void serve() {
    pods_ = {};
    start({"--audit-log-path", folder_.path() + "/audit.log"});
    pods_ = watch(fmt::format("{}?watch=true", kPods));
  }

  // Started; says what it does in helm.out.
  io::Child helm(std::vector<std::string> arguments) {
    io::Command command;
    command.argv = {helm_program()};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.env = {{"HOME", folder_.path()},
                   {"KUBECONFIG", server_->kubeconfig()},
                   {"HELM_DRIVER", "configmap"},  // we have no Secrets
                   {"KUBE_FEATURE_WatchListClient", streams_lists_ ? "true" : "false"}};
    auto child = test::spawn_logging(std::move(command), folder_.path() + "/helm.out");
    check(child.has_value(), "helm starts");
    return *std::move(child);
  }
  void ends_well(io::Child& running) {
    const auto status = running.wait_blocking();
    ASSERT_TRUE(status);
    EXPECT_TRUE(status->ok()) << status->to_string() << "\n" << folder_.read("helm.out");
  }
  std::string output_of(std::vector<std::string> arguments) {
    std::filesystem::remove(folder_.path() + "/helm.out");
    io::Child child = helm(std::move(arguments));
    ends_well(child);
    return folder_.read("helm.out");
  }

  // What a node would do, when the Pod has been made.
  void wait_for(std::string_view event) {
    while (true) {
      const std::string got = next(pods_);
      if (got.starts_with(event)) return;
      ASSERT_FALSE(got.empty() || got == "end") << "no \"" << event << "\"\n"
                                                << folder_.read("helm.out");
    }
  }
  void set_status(std::string_view pod, std::string_view status) {
    const std::string path = fmt::format("{}/{}/status", kPods, pod);
    EXPECT_EQ(patch(path, fmt::format(R"({{"status":{}}})", status)).status, 200U);
  }
  void ready(std::string_view pod) {
    set_status(pod, R"({"phase":"Running","conditions":[{"type":"Ready","status":"True"}]})");
  }
  void succeeds(std::string_view pod) { set_status(pod, R"({"phase":"Succeeded"})"); }

  // Reads of Pods, Services and ConfigMaps by helm's informers: "watch pods", "list services".
  // Releases are ConfigMaps, too, which helm lists by their labels.
  std::vector<std::string> informers_asked(std::string_view with) const {
    std::vector<std::string> out;
    std::istringstream lines(folder_.read("audit.log"));
    // The last line may still be being written.
    for (std::string line; std::getline(lines, line) && !lines.eof();) {
      const auto event = boost::json::parse(line);
      const std::string uri(event.at("requestURI").as_string());
      const std::string verb(event.at("verb").as_string());
      const auto says = [&uri](std::string_view text) { return uri.find(text) != uri.npos; };
      if (!event.at("userAgent").as_string().starts_with("Helm/") || says("labelSelector"))
        continue;
      if ((verb != "list" && verb != "watch") || !says(with)) continue;
      out.push_back(fmt::format(
          "{} {}", verb, std::string_view(event.at_pointer("/objectRef/resource").as_string())));
    }
    return out;
  }
  // A Pod that is ready before would end the wait while its informers still list.
  void watches_what_it_waits_for() const {
    const auto watches = [this](const char* resource) {
      return std::ranges::count(informers_asked("watch=true"), fmt::format("watch {}", resource)) >
             0;
    };
    EXPECT_TRUE(eventually(folder_, [&watches] {
      return watches("pods") && watches("services") && watches("configmaps");
    }));
  }
  std::string note() {
    return get("/api/v1/namespaces/default/configmaps/shop-settings").at("/data/note");
  }

  void install() {
    io::Child installing = helm({"install", "shop", folder_.path() + "/chart", "--wait"});
    wait_for("ADDED shop-before");
    succeeds("shop-before");
    wait_for("ADDED shop-web");
    watches_what_it_waits_for();
    EXPECT_TRUE(installing.running()) << "it waits for the Pod";
    ready("shop-web");
    ends_well(installing);
  }

  bool streams_lists_ = true;
  WatchStream pods_;
};
INSTANTIATE_TEST_SUITE_P(Stores, HelmTest, both_stores(), name_of);

TEST_P(HelmTest, AReleaseIsInstalledUpgradedRolledBackTestedAndRemoved) {
  install();
  EXPECT_EQ(note(), "first");
  EXPECT_EQ(get(service_path("shop")).at("/metadata/managedFields/0/manager"), "helm");

  io::Child upgrading =
      helm({"upgrade", "shop", folder_.path() + "/chart", "--wait", "--set", "note=second"});
  // The hook of before is in the way; its deletion is waited for.
  wait_for("DELETED shop-before");
  wait_for("ADDED shop-before");
  succeeds("shop-before");
  ends_well(upgrading);
  EXPECT_EQ(note(), "second");

  EXPECT_THAT(output_of({"rollback", "shop", "1", "--wait"}), HasSubstr("Rollback was a success"));
  EXPECT_EQ(note(), "first");

  io::Child testing = helm({"test", "shop"});
  wait_for("ADDED shop-test");
  succeeds("shop-test");
  ends_well(testing);
  EXPECT_THAT(output_of({"history", "shop"}), HasSubstr("Rollback to 1"));

  EXPECT_THAT(output_of({"uninstall", "shop", "--wait"}), HasSubstr("uninstalled"));
  EXPECT_EQ(get(service_path("shop")).status, 404U);
  EXPECT_EQ(get(fmt::format("{}/shop-web", kPods)).status, 404U);

  const auto asked = informers_asked("");
  for (const char* resource : {"watch pods", "watch services", "watch configmaps"})
    EXPECT_THAT(asked, Contains(resource));
  EXPECT_EQ(asked, informers_asked("sendInitialEvents=true")) << "nothing is listed but by a watch";
}

TEST_P(HelmTest, WithoutStreamedListsInformersListAndThenWatch) {
  streams_lists_ = false;
  install();
  EXPECT_THAT(informers_asked("sendInitialEvents"), IsEmpty());
  EXPECT_THAT(informers_asked("limit=500&resourceVersion=0"), Contains("list services"));
  EXPECT_THAT(informers_asked("watch=true"), Contains("watch services"));
}

TEST_P(HelmTest, AWaitGoesOnWhereTheServerWasKilled) {
  io::Child installing =
      helm({"install", "shop", folder_.path() + "/chart", "--wait", "--no-hooks"});
  wait_for("ADDED shop-web");
  watches_what_it_waits_for();
  server_->stop(SIGKILL);
  serve();
  EXPECT_TRUE(installing.running());
  ready("shop-web");
  ends_well(installing);
  EXPECT_EQ(informers_asked(""), informers_asked("watch=true")) << "nothing is listed anew";
}

}  // namespace
}  // namespace fairlead::api_test
