// What becomes of pods in a lab, as kubectl shows it.
#include <signal.h>

#include <algorithm>
#include <chrono>

#include "lab/lab_fixture.hpp"

namespace fairlead::lab_test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class LabPods : public LabTest {
 protected:
  void SetUp() override {
    LabTest::SetUp();
    if (!IsSkipped()) lab_.emplace(Words{"--nodes=1"});
  }
  const RunningLab& lab() const { return *lab_; }
  void add(const std::string& name, const std::string& container, const std::string& spec = "") {
    lab_->apply(
        fmt::format("{{apiVersion: v1, kind: Pod, metadata: {{name: {}}}, spec: {{{} "
                    "containers: [{{name: main, image: none, {}}}]}}}}",
                    name, spec, container));
  }
  std::string main(const std::string& pod, const std::string& field) const {
    return lab_->get("pod/" + pod, ".status.containerStatuses[0]." + field);
  }

 private:
  std::optional<RunningLab> lab_;
};

TEST_F(LabPods, AreReadyByEachKindOfProbeAndNamedPorts) {
  add("tcp",
      "command: [fairlead, echo, --tcp, '8080'], ports: [{name: web, containerPort: 8080}], "
      "readinessProbe: {tcpSocket: {port: web}}");
  add("http",
      "command: [fairlead, echo, --tcp, '8080'], ports: [{name: web, containerPort: 8080}], "
      "readinessProbe: {httpGet: {path: /healthz, port: web}}");
  add("exec",
      "command: [fairlead, echo, --tcp, '8080'], readinessProbe: {exec: {command: [fairlead, "
      "probe, '127.0.0.1:8080']}}");
  add("never", "command: [sleep, '1000'], readinessProbe: {tcpSocket: {port: 8080}}");
  for (const char* pod : {"tcp", "http", "exec"}) lab().wait_until_ready(pod);
  lab().wait_for("pod/never", "jsonpath={.status.phase}=Running");
  EXPECT_EQ(main("never", "ready"), "false");
}

TEST_F(LabPods, SeeTheirOwnAddressNameAndVariables) {
  add("web",
      "command: [sh, -c], args: ['echo \"$(GREETING) $HOSTNAME\"; hostname; exec sleep 1000'], "
      "env: [{name: WHOM, value: world}, {name: GREETING, value: hello $(WHOM)}]");
  lab().wait_until_ready("web");
  const std::string ip = lab().get("pod/web", ".status.podIP");
  EXPECT_THAT(lab().exec("web", {"ip", "-o", "address", "show", "eth0"}), HasSubstr(ip));
  EXPECT_EQ(lab().exec("web", {"hostname"}), "web\n");
  EXPECT_TRUE(eventually([&] { return lab().lab({"logs", "web"}) == "hello world web\nweb\n"; }))
      << lab().lab({"logs", "web"});
}

TEST_F(LabPods, ThatAreNotRestartedSucceedOrFail) {
  add("good", "command: ['true']", "restartPolicy: Never,");
  add("bad", "command: [sh, -c, exit 3]", "restartPolicy: Never,");
  lab().wait_for("pod/good", "jsonpath={.status.phase}=Succeeded");
  lab().wait_for("pod/bad", "jsonpath={.status.phase}=Failed");
  EXPECT_EQ(main("bad", "state.terminated.exitCode"), "3");
}

TEST_F(LabPods, ThatCrashAreRestartedAndCounted) {
  add("crash", "command: [sh, -c, exit 3]");
  lab().wait_for("pod/crash", "jsonpath={.status.containerStatuses[0].restartCount}=2");
  EXPECT_EQ(main("crash", "lastState.terminated.exitCode"), "3");
  EXPECT_EQ(main("crash", "state.waiting.reason"), "CrashLoopBackOff");
  EXPECT_THAT(lab().kubectl({"get", "pod", "crash", "--no-headers"}),
              HasSubstr("CrashLoopBackOff"));
}

TEST_F(LabPods, ThatCannotStartSayWhy) {
  add("no-command", "args: [x]");
  add("no-program", "command: [/no/such/program]");
  for (const char* pod : {"no-command", "no-program"})
    lab().wait_for(fmt::format("pod/{}", pod), "jsonpath={.status.containerStatuses[0].name}=main");
  EXPECT_TRUE(eventually([&] { return !main("no-command", "state.waiting.message").empty(); }));
  EXPECT_TRUE(eventually([&] { return !main("no-program", "state.waiting.message").empty(); }));
  for (const std::string& kubectl : {kubectl_program(), old_kubectl_program()}) {
    EXPECT_THAT(must({kubectl, "describe", "pod", "no-command"}, lab().env()),
                HasSubstr("CommandRequired"));
    EXPECT_THAT(must({kubectl, "describe", "pod", "no-program"}, lab().env()),
                HasSubstr("StartError"));
  }
  // What kubectl describe leaves out of a waiting container.
  EXPECT_THAT(main("no-command", "state.waiting.message"), HasSubstr("images are not run here"));
  EXPECT_THAT(main("no-program", "state.waiting.message"), HasSubstr("/no/such/program"));
}

TEST_F(LabPods, EndGracefullyOrAreKilledWhenTheGraceIsOver) {
  add("polite", "command: [sleep, '1000']");
  add("stubborn", "command: [sh, -c, 'trap \"\" TERM; while :; do sleep 0.1; done']",
      "terminationGracePeriodSeconds: 1,");
  for (const char* pod : {"polite", "stubborn"}) lab().wait_until_ready(pod);
  const auto took = [this](const char* pod) {
    const auto begin = std::chrono::steady_clock::now();
    lab().kubectl({"delete", "pod", pod, "--timeout=20s"});
    return std::chrono::steady_clock::now() - begin;
  };
  EXPECT_LT(took("polite"), 15s) << "its grace is 30 s";
  EXPECT_GE(took("stubborn"), 1s);
}

TEST_F(LabPods, DeletedByForceEndAtOnce) {
  add("stubborn", "command: [sh, -c, 'trap \"\" TERM; while :; do sleep 0.1; done']");
  const std::vector<pid_t> before = processes_beside(lab().supervisor());
  lab().wait_until_ready("stubborn");
  std::vector<pid_t> its = processes_beside(lab().supervisor());
  std::erase_if(its,
                [&before](pid_t pid) { return std::ranges::find(before, pid) != before.end(); });
  EXPECT_TRUE(all_end(its, [this] {
    lab().kubectl({"delete", "pod", "stubborn", "--force", "--grace-period=0"});
  }));
  EXPECT_EQ(lab().kubectl({"get", "pods", "-o", "name"}), "");
}

}  // namespace
}  // namespace fairlead::lab_test
