#include "lab/pod_machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr io::ExitStatus kSuccess{.code = 0, .signal = {}};
constexpr io::ExitStatus kFailure{.code = 3, .signal = {}};
constexpr PodAction start(ContainerIndex container) {
  return StartContainer{.container = container};
}
constexpr PodAction signal_to(ContainerIndex container, int number) {
  return SignalContainer{.container = container, .signal = number};
}
constexpr PodAction probe(ContainerIndex container, int run = 0) {
  return RunProbe{.container = container, .run = run};
}

kube::Pod pod_of(std::vector<std::string> containers, std::vector<std::string> init = {}) {
  kube::Pod out;
  out.metadata.name = "pod";
  for (std::string& name : containers)
    out.containers.push_back({.name = std::move(name), .command = {"serve"}});
  for (std::string& name : init)
    out.init_containers.push_back({.name = std::move(name), .command = {"prepare"}});
  return out;
}

kube::Pod with_policy(kube::Pod pod, std::string policy) {
  pod.restart_policy = std::move(policy);
  return pod;
}

// A machine and the time it lives in.
class Life {
 public:
  explicit Life(kube::Pod pod)
      : machine_({.pod = std::move(pod), .pauses = {}, .now = Instant::of(clock_)}) {}

  PodMachine& operator*() { return machine_; }
  PodMachine* operator->() { return &machine_; }
  Instant now() const { return Instant::of(clock_); }
  void pass(std::chrono::nanoseconds time) { clock_.advance(time); }
  std::vector<PodAction> advance() { return machine_.advance(now()); }
  std::vector<PodAction> advance_after(std::chrono::nanoseconds time) {
    pass(time);
    return advance();
  }
  // Carries out the starts that are due.
  void start_due() {
    for (const PodAction& action : advance()) {
      if (const auto* due = std::get_if<StartContainer>(&action))
        machine_.started(due->container, now());
    }
  }
  void end(ContainerIndex container, io::ExitStatus status) {
    machine_.ended(container, status, now());
  }
  void answer(ContainerIndex container, bool success, int run = 0) {
    machine_.probed({.container = container, .run = run}, success, now());
  }
  std::optional<std::chrono::nanoseconds> due_in() const {
    const auto due = machine_.next_due();
    return due ? std::optional<std::chrono::nanoseconds>(*due - clock_.mono()) : std::nullopt;
  }
  const ContainerState& state(ContainerIndex container) const {
    return machine_.report().containers.at(container);
  }
  kube::PodPhase phase() const { return machine_.report().phase; }

 private:
  FakeClock clock_;
  PodMachine machine_;
};

TEST(PodMachine, AllContainersStartAtOnceAndOnlyOnce) {
  Life pod(pod_of({"a", "b"}));
  EXPECT_EQ(pod.phase(), kube::PodPhase::Pending);
  EXPECT_EQ(pod.due_in(), 0s);
  EXPECT_THAT(pod.advance(), ElementsAre(start(0), start(1)));
  EXPECT_THAT(pod.advance(), IsEmpty());
  EXPECT_EQ(pod.due_in(), std::nullopt);
}

TEST(PodMachine, ReportsTheWholeStateOfARunningPod) {
  Life pod(pod_of({"a"}));
  const WallTime taken = pod.now().wall;
  pod.pass(3s);
  pod.start_due();
  const WallTime began = pod.now().wall;
  const PodReport expected{.phase = kube::PodPhase::Running,
                           .containers = {{.now = ContainerState::Running{.since = began},
                                           .before = {},
                                           .restarts = 0,
                                           .ready = true,
                                           .started = true}},
                           .scheduled = {.holds = true, .since = taken},
                           .initialized = {.holds = true, .since = taken},
                           .ready = {.holds = true, .since = began}};
  EXPECT_EQ(pod->report(), expected);
}

TEST(PodMachine, InitContainersRunOneAfterAnotherBeforeTheOthers) {
  Life pod(pod_of({"main"}, {"first", "second"}));
  EXPECT_THAT(pod.advance(), ElementsAre(start(0)));
  pod->started(0, pod.now());
  EXPECT_THAT(pod.advance(), IsEmpty());
  EXPECT_FALSE(pod->report().initialized.holds);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Pending);
  pod.end(0, kSuccess);
  EXPECT_THAT(pod.advance(), ElementsAre(start(1)));
  pod->started(1, pod.now());
  pod.end(1, kSuccess);
  EXPECT_TRUE(pod->report().initialized.holds);
  EXPECT_THAT(pod.advance(), ElementsAre(start(2)));
  pod->started(2, pod.now());
  EXPECT_EQ(pod.phase(), kube::PodPhase::Running);
  EXPECT_TRUE(pod->report().ready.holds);
}

TEST(PodMachine, AFailedInitContainerIsRepeatedAndHoldsTheOthersBack) {
  Life pod(pod_of({"main"}, {"first"}));
  pod.start_due();
  pod.end(0, kFailure);
  EXPECT_THAT(pod.advance(), ElementsAre(start(0)));
  EXPECT_EQ(pod.state(0).restarts, 1);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Pending);
}

TEST(PodMachine, AFailedInitContainerThatIsNotRepeatedFailsThePod) {
  Life pod(with_policy(pod_of({"main"}, {"first", "second"}), "Never"));
  pod.start_due();
  pod.end(0, kFailure);
  EXPECT_THAT(pod.advance(), IsEmpty());
  EXPECT_EQ(pod.phase(), kube::PodPhase::Failed);
  EXPECT_EQ(pod.due_in(), std::nullopt);
}

struct PolicyRow {
  const char* name;
  const char* policy;
  io::ExitStatus end;
  bool again;
  kube::PodPhase phase;
};
class RestartPolicy : public testing::TestWithParam<PolicyRow> {};

TEST_P(RestartPolicy, DecidesWhetherAnEndedContainerStartsAgain) {
  const PolicyRow& row = GetParam();
  Life pod(with_policy(pod_of({"main"}), row.policy));
  pod.start_due();
  pod.pass(1s);
  pod.end(0, row.end);
  EXPECT_EQ(pod.advance(), row.again ? std::vector{start(0)} : std::vector<PodAction>{});
  EXPECT_EQ(pod.phase(), row.phase);
  EXPECT_EQ(pod.state(0).restarts, row.again ? 1 : 0);
  EXPECT_FALSE(pod->report().ready.holds);
}

INSTANTIATE_TEST_SUITE_P(
    Table, RestartPolicy,
    testing::Values(
        PolicyRow{"always_success", "Always", kSuccess, true, kube::PodPhase::Running},
        PolicyRow{"always_failure", "Always", kFailure, true, kube::PodPhase::Running},
        PolicyRow{"on_failure_success", "OnFailure", kSuccess, false, kube::PodPhase::Succeeded},
        PolicyRow{"on_failure_failure", "OnFailure", kFailure, true, kube::PodPhase::Running},
        PolicyRow{"never_success", "Never", kSuccess, false, kube::PodPhase::Succeeded},
        PolicyRow{"never_failure", "Never", kFailure, false, kube::PodPhase::Failed}),
    [](const auto& row) { return row.param.name; });

TEST(PodMachine, APodIsOverWhenItsLastContainerIs) {
  Life pod(with_policy(pod_of({"a", "b"}), "Never"));
  pod.start_due();
  pod.end(0, kFailure);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Running);
  pod.end(1, kSuccess);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Failed);
}

TEST(PodMachine, TheFirstRestartIsImmediateThenThePauseDoublesUpToItsLimit) {
  Life pod(pod_of({"main"}));
  pod.start_due();
  std::vector<std::chrono::nanoseconds> pauses;
  for (int i = 0; i < 9; ++i) {
    pod.end(0, kFailure);
    pauses.push_back(pod.due_in().value_or(-1s));
    pod.pass(pauses.back());
    pod.start_due();
  }
  EXPECT_THAT(pauses, ElementsAre(0s, 1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s));
  EXPECT_EQ(pod.state(0).restarts, 9);
}

TEST(PodMachine, NothingStartsBeforeItsPauseIsOver) {
  Life pod(pod_of({"main"}));
  pod.start_due();
  pod.end(0, kFailure);
  pod.start_due();
  pod.end(0, kFailure);
  EXPECT_THAT(pod.advance_after(999ms), IsEmpty());
  EXPECT_THAT(pod.advance_after(1ms), ElementsAre(start(0)));
}

TEST(PodMachine, AQuietMinuteForgetsThePauses) {
  Life pod(pod_of({"main"}));
  pod.start_due();
  for (int i = 0; i < 3; ++i) {
    pod.end(0, kFailure);
    pod.pass(pod.due_in().value_or(-1s));
    pod.start_due();
  }
  pod.pass(60s);
  pod.end(0, kFailure);
  EXPECT_EQ(pod.due_in(), 0s);
  pod.start_due();
  pod.pass(59s);
  pod.end(0, kFailure);
  EXPECT_EQ(pod.due_in(), 1s);
}

TEST(PodMachine, ACrashingContainerSaysHowItEnded) {
  Life pod(pod_of({"main"}));
  pod.start_due();
  const WallTime began = pod.now().wall;
  pod.pass(5s);
  pod.end(0, kFailure);
  const WallTime ended = pod.now().wall;
  const ContainerState expected{
      .now = ContainerState::Waiting{.reason = "CrashLoopBackOff",
                                     .message = "it ended with exit code 3; next start in 0s"},
      .before = ContainerState::Ended{.status = kFailure, .started = began, .finished = ended},
      .restarts = 1,
      .ready = false,
      .started = false};
  EXPECT_EQ(pod.state(0), expected);
}

TEST(PodMachine, AContainerThatCannotStartIsTriedAgainAndSaysWhy) {
  Life pod(pod_of({"main"}));
  const ContainerState::Waiting why{.reason = "StartError", .message = "no such program"};
  ASSERT_THAT(pod.advance(), ElementsAre(start(0)));
  pod->not_started(0, why, pod.now());
  EXPECT_EQ(std::get<ContainerState::Waiting>(pod.state(0).now), why);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Pending);
  EXPECT_EQ(pod.due_in(), 1s) << "not at once: the file system is unlikely to have changed";
  EXPECT_THAT(pod.advance_after(1s), ElementsAre(start(0)));
}

TEST(PodMachine, AContainerThatCannotStartFailsThePodThatIsNotRestarted) {
  Life pod(with_policy(pod_of({"main"}), "Never"));
  pod.advance();
  pod->not_started(0, {.reason = "StartError", .message = "no such program"}, pod.now());
  const ContainerState::Ended expected{.status = {.code = 128, .signal = {}},
                                       .started = pod.now().wall,
                                       .finished = pod.now().wall,
                                       .reason = "StartError",
                                       .message = "no such program"};
  EXPECT_EQ(std::get<ContainerState::Ended>(pod.state(0).now), expected);
  EXPECT_EQ(pod.phase(), kube::PodPhase::Failed);
}

// ---- readiness

kube::Pod probed_pod(kube::Probe probe) {
  kube::Pod out = pod_of({"main"});
  probe.action = kube::Probe::TcpSocket{.port = 80};
  out.containers.front().readiness_probe = probe;
  return out;
}

TEST(PodReadiness, BeginsAfterTheInitialDelay) {
  Life pod(probed_pod({.action = {}, .initial_delay = 5s}));
  pod.start_due();
  EXPECT_FALSE(pod.state(0).ready);
  EXPECT_THAT(pod.advance(), IsEmpty());
  EXPECT_EQ(pod.due_in(), 5s);
  EXPECT_THAT(pod.advance_after(5s), ElementsAre(probe(0)));
  EXPECT_THAT(pod.advance_after(1h), IsEmpty()) << "one probe at a time";
  pod.answer(0, true);
  EXPECT_TRUE(pod->report().ready.holds);
}

TEST(PodReadiness, AsksQuicklyUntilTheFirstSuccessThenEveryPeriod) {
  Life pod(probed_pod({.action = {}, .period = 7s}));
  pod.start_due();
  EXPECT_THAT(pod.advance(), ElementsAre(probe(0)));
  pod.answer(0, false);
  EXPECT_EQ(pod.due_in(), 100ms);
  EXPECT_THAT(pod.advance_after(100ms), ElementsAre(probe(0)));
  pod.answer(0, true);
  EXPECT_EQ(pod.due_in(), 7s);
  EXPECT_THAT(pod.advance_after(7s), ElementsAre(probe(0)));
  pod.answer(0, false);
  EXPECT_EQ(pod.due_in(), 7s);
}

TEST(PodReadiness, NeedsSuccessThresholdSuccessesInARow) {
  Life pod(probed_pod({.action = {}, .success_threshold = 2}));
  pod.start_due();
  std::vector<bool> ready;
  for (const bool success : {true, false, true, true}) {
    pod.answer(0, success);
    ready.push_back(pod.state(0).ready);
  }
  EXPECT_THAT(ready, ElementsAre(false, false, false, true));
}

TEST(PodReadiness, EndsAfterFailureThresholdFailuresInARow) {
  Life pod(probed_pod({.action = {}, .failure_threshold = 2}));
  pod.start_due();
  std::vector<bool> ready;
  for (const bool success : {true, false, true, false, false, true}) {
    pod.answer(0, success);
    ready.push_back(pod.state(0).ready);
  }
  EXPECT_THAT(ready, ElementsAre(true, true, true, true, false, true));
}

TEST(PodReadiness, AnAnswerAboutAnEarlierRunIsForgotten) {
  Life pod(probed_pod({}));
  pod.start_due();
  pod.advance();
  pod.end(0, kFailure);
  pod.answer(0, true, 0);
  EXPECT_FALSE(pod.state(0).ready);
  pod.start_due();
  pod.answer(0, true, 0);
  EXPECT_FALSE(pod.state(0).ready);
  EXPECT_THAT(pod.advance(), ElementsAre(probe(0, 1)));
  pod.answer(0, true, 1);
  EXPECT_TRUE(pod.state(0).ready);
}

TEST(PodReadiness, OneContainerThatIsNotReadyKeepsThePodFromIt) {
  kube::Pod two = pod_of({"a", "b"});
  two.containers[1].readiness_probe = kube::Probe{.action = kube::Probe::TcpSocket{.port = 80}};
  Life pod(two);
  pod.start_due();
  EXPECT_FALSE(pod->report().ready.holds);
  pod.pass(2s);
  pod.answer(1, true);
  EXPECT_EQ(pod->report().ready, (Flag{.holds = true, .since = pod.now().wall}));
}

// ---- termination

TEST(PodTermination, AsksThenKillsWhenTheGraceIsOver) {
  Life pod(pod_of({"a", "b"}));
  pod.start_due();
  pod->terminate(10s, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(signal_to(0, SIGTERM), signal_to(1, SIGTERM)));
  pod.end(0, kSuccess);
  EXPECT_EQ(pod.due_in(), 10s);
  EXPECT_THAT(pod.advance_after(9s), IsEmpty());
  EXPECT_THAT(pod.advance_after(1s), ElementsAre(signal_to(1, SIGKILL)));
  EXPECT_THAT(pod.advance_after(1h), IsEmpty());
  pod.end(1, {.code = {}, .signal = SIGKILL});
  EXPECT_THAT(pod.advance(), ElementsAre(PodAction(RemovePod{})));
  EXPECT_THAT(pod.advance(), IsEmpty());
}

TEST(PodTermination, TheGraceOnlyShrinks) {
  Life pod(pod_of({"a"}));
  pod.start_due();
  pod->terminate(10s, pod.now());
  pod.advance();
  pod->terminate(30s, pod.now());
  EXPECT_EQ(pod.due_in(), 10s);
  pod->terminate(2s, pod.now());
  EXPECT_EQ(pod.due_in(), 2s);
  pod->terminate(0s, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(signal_to(0, SIGKILL)));
}

TEST(PodTermination, NothingStartsAnyMore) {
  Life pod(pod_of({"main"}, {"first"}));
  pod.start_due();
  pod->terminate(10s, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(signal_to(0, SIGTERM)));
  pod.end(0, kSuccess);
  EXPECT_THAT(pod.advance(), ElementsAre(PodAction(RemovePod{})));
}

TEST(PodTermination, AContainerInItsPauseIsNotStartedAgain) {
  Life pod(pod_of({"main"}));
  pod.start_due();
  pod.end(0, kFailure);
  pod->terminate(10s, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(PodAction(RemovePod{})));
}

TEST(PodTermination, AContainerThatIsStartingIsEndedOnceItRuns) {
  Life pod(pod_of({"main"}));
  ASSERT_THAT(pod.advance(), ElementsAre(start(0)));
  pod->terminate(10s, pod.now());
  EXPECT_THAT(pod.advance(), IsEmpty());
  pod->started(0, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(signal_to(0, SIGTERM)));
}

TEST(PodTermination, ProbesGoOnSoThatServingCanBeTold) {
  Life pod(probed_pod({}));
  pod.start_due();
  pod.answer(0, true);
  pod->terminate(30s, pod.now());
  EXPECT_THAT(pod.advance(), ElementsAre(signal_to(0, SIGTERM)));
  EXPECT_TRUE(pod->report().ready.holds);
  EXPECT_THAT(pod.advance_after(10s), ElementsAre(probe(0)));
}

}  // namespace
}  // namespace fairlead::lab
