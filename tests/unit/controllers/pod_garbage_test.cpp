#include "controllers/pod_garbage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Why = DoomedPod::Why;

const MonoTime kStart{1000s};
const WallTime kWall{1'700'000'000s};

kube::Pod pod_named(const std::string& name) {
  kube::Pod pod;
  pod.metadata = {.name = name, .namespace_ = "ns", .uid = name + "-uid"};
  pod.node_name = "here";
  pod.phase = kube::PodPhase::Running;
  return pod;
}
kube::Pod ended(const std::string& name, std::chrono::seconds age,
                kube::PodPhase phase = kube::PodPhase::Succeeded) {
  kube::Pod pod = pod_named(name);
  pod.phase = phase;
  pod.metadata.creation_timestamp = kWall - age;
  return pod;
}
kube::Pod deleted(kube::Pod pod, std::int64_t grace = 30) {
  pod.metadata.deletion_timestamp = kWall;
  pod.metadata.deletion_grace_period_seconds = grace;
  return pod;
}
PodMap pods_of(const std::vector<kube::Pod>& pods) {
  PodMap out;
  for (const kube::Pod& pod : pods) out[{"ns", pod.metadata.name}] = pod;
  return out;
}
NodeMap nodes_of(const std::vector<kube::Node>& nodes) {
  NodeMap out;
  for (const kube::Node& node : nodes) out[{"", node.metadata.name}] = node;
  return out;
}
kube::Node node_named(const std::string& name, bool ready = true) {
  kube::Node node;
  node.metadata.name = name;
  node.conditions = {{.type = "Ready", .status = ready ? "True" : "Unknown"}};
  return node;
}
std::vector<std::string> names(const std::vector<DoomedPod>& pods) {
  std::vector<std::string> out;
  for (const DoomedPod& pod : pods) out.push_back(pod.pod.name);
  return out;
}

TEST(DoomedPods, OfTheEndedTheOldestGoEvictedOnesFirst) {
  kube::Pod evicted = ended("evicted", 1s, kube::PodPhase::Failed);
  evicted.status_reason = "Evicted";
  const PodMap pods = pods_of({ended("old", 30s), ended("older", 40s, kube::PodPhase::Failed),
                               ended("new", 10s), evicted, pod_named("runs")});
  const NodeMap nodes = nodes_of({node_named("here")});
  const auto above = [&](std::size_t threshold) {
    return names(doomed_pods(pods, nodes, {.terminated_threshold = threshold}));
  };
  EXPECT_THAT(above(4), IsEmpty());
  EXPECT_THAT(above(3), ElementsAre("evicted"));
  EXPECT_THAT(above(1), ElementsAre("evicted", "older", "old"));
  EXPECT_THAT(above(0), IsEmpty()) << "0 keeps them all";
}

TEST(DoomedPods, DeletedOnesThatNoNodeWillEnd) {
  kube::Pod unscheduled = pod_named("unscheduled");
  unscheduled.node_name.clear();
  unscheduled.phase = kube::PodPhase::Pending;
  kube::Pod waiting = deleted(unscheduled, 0);
  waiting.metadata.name = "waits-for-its-finalizer";
  waiting.phase = kube::PodPhase::Failed;
  kube::Pod lost = deleted(pod_named("lost"));
  lost.node_name = "broken";
  kube::Pod alive = pod_named("alive");
  alive.node_name = "broken";
  kube::Pod elsewhere = deleted(pod_named("elsewhere"));
  elsewhere.node_name = "away";
  kube::Node broken = node_named("broken", false);
  broken.taints = {{.key = "node.kubernetes.io/out-of-service", .effect = "NoExecute"}};
  kube::Node tainted = node_named("here");
  tainted.taints = broken.taints;  // but it is ready
  const auto doomed = doomed_pods(
      pods_of({deleted(unscheduled), waiting, lost, alive, deleted(pod_named("ends")), elsewhere}),
      nodes_of({broken, tainted, node_named("away", false)}), {});
  EXPECT_THAT(
      doomed,
      ElementsAre(
          DoomedPod{.pod = {"ns", "lost"}, .uid = "lost-uid", .why = Why::OutOfService},
          DoomedPod{
              .pod = {"ns", "unscheduled"}, .uid = "unscheduled-uid", .why = Why::NeverScheduled}));
}

TEST(MissingNodes, AreMissingSinceTheyWereFirstMissed) {
  kube::Pod orphan = pod_named("orphan");
  orphan.node_name = "gone";
  const PodMap pods = pods_of({orphan, pod_named("fine")});
  const NodeMap nodes = nodes_of({node_named("here")});
  MissingNodes missing;
  EXPECT_EQ(missing.first_missed(), std::nullopt);
  missing.look(pods, nodes, kStart);
  missing.look(pods, nodes, kStart + 20s);
  EXPECT_EQ(missing.first_missed(), kStart);
  EXPECT_THAT(missing.missing_for(40s, kStart + 39s), IsEmpty());
  EXPECT_THAT(missing.missing_for(40s, kStart + 40s), ElementsAre("gone"));

  missing.found("gone", kStart + 40s);
  EXPECT_THAT(missing.missing_for(40s, kStart + 79s), IsEmpty());
  EXPECT_THAT(missing.missing_for(40s, kStart + 80s), ElementsAre("gone"));

  missing.look(pods, nodes_of({node_named("here"), node_named("gone")}), kStart + 81s);
  EXPECT_EQ(missing.first_missed(), std::nullopt) << "it has come";
  missing.look(pods, nodes, kStart + 90s);
  EXPECT_EQ(missing.first_missed(), kStart + 90s);
  missing.look({}, nodes, kStart + 91s);
  EXPECT_EQ(missing.first_missed(), std::nullopt) << "nobody names it any more";
}

TEST(PodsOfGoneNode, AreAllButThoseThatWaitForTheirFinalizers) {
  kube::Pod waiting = deleted(ended("waiting", 1s), 0);
  EXPECT_THAT(
      pods_of_gone_node(pods_of({pod_named("a"), ended("b", 1s), deleted(pod_named("c")), waiting}),
                        "here"),
      ElementsAre(
          DoomedPod{.pod = {"ns", "a"}, .uid = "a-uid", .ended = false, .why = Why::NodeGone},
          DoomedPod{.pod = {"ns", "b"}, .uid = "b-uid", .ended = true, .why = Why::NodeGone},
          DoomedPod{.pod = {"ns", "c"}, .uid = "c-uid", .ended = false, .why = Why::NodeGone}));
  EXPECT_THAT(pods_of_gone_node(pods_of({pod_named("a")}), "elsewhere"), IsEmpty());
}

TEST(DoomedPods, AreToldAndDeletedByTheirUid) {
  DoomedPod pod{.pod = {"ns", "a"}, .uid = "u", .why = Why::NeverScheduled};
  EXPECT_EQ(failed_patch(pod, kWall), R"({"metadata":{"uid":"u"},"status":{"phase":"Failed"}})");
  pod.why = Why::NodeGone;
  EXPECT_EQ(failed_patch(pod, kWall),
            R"({"metadata":{"uid":"u"},"status":{"phase":"Failed","conditions":[)"
            R"({"type":"DisruptionTarget","status":"True","reason":"DeletionByPodGC",)"
            R"("message":"its node is gone","lastTransitionTime":"2023-11-14T22:13:20Z"}]}})");
  EXPECT_EQ(forced_delete(pod),
            R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,)"
            R"("preconditions":{"uid":"u"}})");
}

}  // namespace
}  // namespace fairlead::controllers
