#include "lab/scheduler.hpp"

#include <gtest/gtest.h>

namespace fairlead::lab {
namespace {

using Pods = std::map<kube::NamespacedName, kube::Pod>;

kube::Node node(std::string name, const std::string& ready = "True") {
  kube::Node out;
  out.metadata.name = std::move(name);
  out.conditions = {{.type = "Ready", .status = ready, .last_transition_time = {}}};
  return out;
}

void add(Pods& pods, const std::string& name, const std::string& node_name = "",
         kube::PodPhase phase = kube::PodPhase::Pending) {
  kube::Pod pod;
  pod.metadata.name = name;
  pod.metadata.namespace_ = "default";
  pod.metadata.uid = "uid-" + name;
  pod.node_name = node_name;
  pod.phase = phase;
  pods[{.namespace_ = "default", .name = name}] = pod;
}

Assignment to(const std::string& name, const std::string& node_name) {
  return {.pod = {.namespace_ = "default", .name = name}, .uid = "uid-" + name, .node = node_name};
}

TEST(Scheduler, EqualNodesTakeTurns) {
  Pods pods;
  for (const char* name : {"a", "b", "c"}) add(pods, name);
  EXPECT_EQ(assign_pods(pods, {node("node1"), node("node2")}),
            (std::vector{to("a", "node1"), to("b", "node2"), to("c", "node1")}));
}

TEST(Scheduler, TheNodeWithTheFewestPodsComesFirst) {
  Pods pods;
  add(pods, "a", "node1");
  add(pods, "b", "node1");
  add(pods, "c");
  add(pods, "d");
  add(pods, "e");
  EXPECT_EQ(assign_pods(pods, {node("node1"), node("node2")}),
            (std::vector{to("c", "node2"), to("d", "node2"), to("e", "node1")}));
}

TEST(Scheduler, PodsThatAreOverDoNotCount) {
  Pods pods;
  add(pods, "a", "node1", kube::PodPhase::Succeeded);
  add(pods, "b", "node1", kube::PodPhase::Failed);
  add(pods, "c", "node2", kube::PodPhase::Running);
  add(pods, "d");
  EXPECT_EQ(assign_pods(pods, {node("node1"), node("node2")}), (std::vector{to("d", "node1")}));
}

TEST(Scheduler, NodesThatAreNotReadyOrCordonedGetNone) {
  Pods pods;
  add(pods, "a");
  kube::Node cordoned = node("node1");
  cordoned.unschedulable = true;
  EXPECT_EQ(assign_pods(pods, {cordoned, node("node2", "False"), node("node3")}),
            (std::vector{to("a", "node3")}));
  EXPECT_EQ(assign_pods(pods, {cordoned, node("node2", "Unknown")}), std::vector<Assignment>{});
}

TEST(Scheduler, APodThatIsBeingDeletedGetsNoNode) {
  Pods pods;
  add(pods, "a");
  pods.begin()->second.metadata.deletion_timestamp = WallTime{};
  EXPECT_EQ(assign_pods(pods, {node("node1")}), std::vector<Assignment>{});
}

}  // namespace
}  // namespace fairlead::lab
