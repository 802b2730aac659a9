#include "lab/pod_status.hpp"

#include <gtest/gtest.h>

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNoon{std::chrono::seconds{1'700'000'000}};  // 2023-11-14T22:13:20Z

PodPlace place() {
  const auto layout = lay_out(1);
  check(layout.has_value(), "one node can be laid out");
  const NodeLayout& node = layout->nodes.front();
  return {.pod = {.v4 = node.pods.v4.address().plus(2), .v6 = node.pods.v6.address().plus(2)},
          .host = node.address,
          .since = kNoon};
}

constexpr char kAddresses[] =
    R"("startTime":"2023-11-14T22:13:20Z","hostIP":"192.168.50.11",)"
    R"("hostIPs":[{"ip":"192.168.50.11"},{"ip":"fd00:50::11"}],"podIP":"10.244.1.2",)"
    R"("podIPs":[{"ip":"10.244.1.2"},{"ip":"fd00:10:244:1::2"}],"qosClass":"BestEffort",)";

kube::Pod pod_of(std::vector<kube::Container> containers, std::vector<kube::Container> init = {}) {
  kube::Pod out;
  out.metadata.uid = "u1";
  out.containers = std::move(containers);
  out.init_containers = std::move(init);
  return out;
}

TEST(PodStatus, OfARunningPod) {
  const PodReport report{.phase = kube::PodPhase::Running,
                         .containers = {{.now = ContainerState::Running{.since = kNoon + 1s},
                                         .before = {},
                                         .ready = true,
                                         .started = true}},
                         .scheduled = {.holds = true, .since = kNoon},
                         .initialized = {.holds = true, .since = kNoon},
                         .ready = {.holds = true, .since = kNoon + 1s}};
  EXPECT_EQ(
      pod_status_patch(pod_of({{.name = "web", .image = "none"}}), report, place()),
      std::string(
          R"({"metadata":{"uid":"u1"},"status":{"phase":"Running","conditions":[)"
          R"({"type":"PodScheduled","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"},)"
          R"({"type":"Initialized","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"},)"
          R"({"type":"ContainersReady","status":"True","lastTransitionTime":"2023-11-14T22:13:21Z"},)"
          R"({"type":"Ready","status":"True","lastTransitionTime":"2023-11-14T22:13:21Z"}],)") +
          kAddresses +
          R"("containerStatuses":[{"name":"web","image":"none","imageID":"","restartCount":0,)"
          R"("ready":true,"started":true,"state":{"running":{"startedAt":"2023-11-14T22:13:21Z"}},)"
          R"("lastState":{}}]}})");
}

TEST(PodStatus, SaysWhatHappenedToEveryContainer) {
  const ContainerState::Ended killed{
      .status = {.code = {}, .signal = 9}, .started = kNoon, .finished = kNoon + 2s};
  const ContainerState::Ended done{
      .status = {.code = 0, .signal = {}}, .started = kNoon, .finished = kNoon + 1s};
  const PodReport report{
      .phase = kube::PodPhase::Running,
      .containers = {{.now = done, .before = {}, .ready = true},
                     {.now = ContainerState::Waiting{.reason = "CrashLoopBackOff",
                                                     .message = "it ended"},
                      .before = killed,
                      .restarts = 4}},
      .scheduled = {.holds = true, .since = kNoon},
      .initialized = {.holds = true, .since = kNoon},
      .ready = {.holds = false, .since = kNoon}};
  EXPECT_EQ(
      pod_status_patch(pod_of({{.name = "web", .image = "none"}}, {{.name = "prepare"}}), report,
                       place()),
      std::string(
          R"({"metadata":{"uid":"u1"},"status":{"phase":"Running","conditions":[)"
          R"({"type":"PodScheduled","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"},)"
          R"({"type":"Initialized","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"},)"
          R"({"type":"ContainersReady","status":"False","lastTransitionTime":)"
          R"("2023-11-14T22:13:20Z","reason":"ContainersNotReady"},)"
          R"({"type":"Ready","status":"False","lastTransitionTime":"2023-11-14T22:13:20Z",)"
          R"("reason":"ContainersNotReady"}],)") +
          kAddresses +
          R"("initContainerStatuses":[{"name":"prepare","image":"","imageID":"","restartCount":0,)"
          R"("ready":true,"started":false,"state":{"terminated":{"exitCode":0,"reason":"Completed",)"
          R"("startedAt":"2023-11-14T22:13:20Z","finishedAt":"2023-11-14T22:13:21Z"}},)"
          R"("lastState":{}}],)"
          R"("containerStatuses":[{"name":"web","image":"none","imageID":"","restartCount":4,)"
          R"("ready":false,"started":false,"state":{"waiting":{"reason":"CrashLoopBackOff",)"
          R"("message":"it ended"}},"lastState":{"terminated":{"exitCode":137,"signal":9,)"
          R"("reason":"Error","startedAt":"2023-11-14T22:13:20Z",)"
          R"("finishedAt":"2023-11-14T22:13:22Z"}}}]}})");
}

}  // namespace
}  // namespace fairlead::lab
