#include "controllers/node_health.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const WallTime kWall{1'700'000'000s};

// Nodes whose Leases are renewed every ten seconds, until they are not.
class Heartbeats {
 public:
  explicit Heartbeats(std::set<std::string> nodes) : beating_(std::move(nodes)) { beat(); }
  void stop(const std::string& node) { beating_.erase(node); }
  void start(const std::string& node) { beating_.insert(node); }
  // What look() said last, in that time, every second.
  std::vector<std::string> pass(std::chrono::seconds time) {
    std::vector<std::string> silent;
    for (auto i = 0s; i < time; i += 1s) {
      now_ += 1s;
      if ((now_ - kStart) % 10s == 0s) beat();
      silent = health_.look(now_);
    }
    return silent;
  }
  NodeHealth& health() { return health_; }
  MonoTime now() const { return now_; }

 private:
  void beat() {
    for (const std::string& node : beating_) {
      kube::Lease lease;
      lease.metadata.name = node;
      lease.renew_time = WallTime{} + (now_ - kStart);  // of a clock that is far off
      health_.heard(lease, now_);
    }
  }
  static constexpr MonoTime kStart{1000s};
  std::set<std::string> beating_;
  MonoTime now_ = kStart;
  NodeHealth health_{50s};
};

TEST(NodeHealth, ANodeIsSilentAfterItsGracePeriod) {
  Heartbeats nodes({"a", "b", "c"});
  EXPECT_THAT(nodes.pass(300s), IsEmpty());
  nodes.stop("b");
  EXPECT_THAT(nodes.pass(49s), IsEmpty());
  EXPECT_THAT(nodes.pass(1s), ElementsAre("b"));
  EXPECT_TRUE(nodes.health().is_silent("b", nodes.now()));
  EXPECT_FALSE(nodes.health().is_silent("a", nodes.now()));
  nodes.start("b");
  EXPECT_THAT(nodes.pass(10s), IsEmpty());
}

TEST(NodeHealth, ANodeThatNeverBeatIsNoneOfOurs) {
  Heartbeats nodes({"a"});
  kube::Lease never_renewed;
  never_renewed.metadata.name = "by-hand";
  EXPECT_FALSE(nodes.health().heard(never_renewed, nodes.now()));
  EXPECT_THAT(nodes.pass(300s), IsEmpty());
  EXPECT_FALSE(nodes.health().is_silent("by-hand", nodes.now()));
  EXPECT_FALSE(nodes.health().is_silent("without-a-lease", nodes.now()));
}

TEST(NodeHealth, ALeaseThatIsChangedButNotRenewedIsNoSignOfLife) {
  NodeHealth health(50s);
  kube::Lease lease;
  lease.metadata.name = "a";
  lease.renew_time = kWall;
  EXPECT_TRUE(health.heard(lease, MonoTime{1s}));
  lease.metadata.labels["x"] = "y";
  lease.metadata.resource_version = "2";
  EXPECT_FALSE(health.heard(lease, MonoTime{2s}));
  lease.renew_time = kWall - 1h;  // a clock that was set back
  EXPECT_TRUE(health.heard(lease, MonoTime{3s}));
}

TEST(NodeHealth, WhenAllFallSilentNobodyIs) {
  Heartbeats nodes({"a", "b", "c"});
  nodes.stop("a");  // one after the other, within one period of heartbeats
  nodes.pass(10s);
  nodes.stop("b");
  nodes.stop("c");
  for (int second = 0; second < 600; ++second)
    ASSERT_THAT(nodes.pass(1s), IsEmpty()) << second << " s";
  EXPECT_TRUE(nodes.health().nobody_is_heard());

  // The first that is back does not make the others silent: their time begins anew.
  nodes.start("a");
  EXPECT_THAT(nodes.pass(10s), IsEmpty());
  EXPECT_FALSE(nodes.health().nobody_is_heard());
  nodes.start("b");
  EXPECT_THAT(nodes.pass(40s), IsEmpty());
  EXPECT_THAT(nodes.pass(20s), ElementsAre("c"));
}

TEST(NodeHealth, TheOnlyNodeIsNeverSilent) {
  Heartbeats nodes({"a"});
  nodes.stop("a");
  EXPECT_THAT(nodes.pass(600s), IsEmpty());
}

TEST(NodeHealth, WithoutAnyLeaseThereIsNothingToHear) {
  NodeHealth health(50s);
  EXPECT_THAT(health.look(MonoTime{1s}), IsEmpty());
  EXPECT_FALSE(health.nobody_is_heard());
}

TEST(NodeHealth, ANodeThatIsGoneIsForgotten) {
  Heartbeats nodes({"a", "b"});
  nodes.stop("b");
  nodes.pass(30s);
  nodes.health().forget("b");
  EXPECT_THAT(nodes.pass(60s), IsEmpty());
}

TEST(UnknownPatch, SaysOnlyWhatIsNew) {
  kube::Node node;
  node.metadata.resource_version = "7";
  node.conditions = {{.type = "Ready", .status = "True"},
                     {.type = "MemoryPressure", .status = "Unknown"},
                     {.type = "DiskPressure", .status = "False"},
                     {.type = "PIDPressure", .status = "Unknown"},
                     {.type = "Mine", .status = "True"}};
  const auto patch = unknown_patch(node, kWall);
  EXPECT_EQ(patch.value_or(""),
            R"({"metadata":{"resourceVersion":"7"},"status":{"conditions":[)"
            R"({"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown",)"
            R"("message":"The node's heartbeat has stopped.",)"
            R"("lastTransitionTime":"2023-11-14T22:13:20Z"},)"
            R"({"type":"DiskPressure","status":"Unknown","reason":"NodeStatusUnknown",)"
            R"("message":"The node's heartbeat has stopped.",)"
            R"("lastTransitionTime":"2023-11-14T22:13:20Z"}]}})");
  for (kube::Condition& condition : node.conditions) condition.status = "Unknown";
  EXPECT_EQ(unknown_patch(node, kWall), std::nullopt);
  node.conditions.erase(node.conditions.begin());
  EXPECT_THAT(unknown_patch(node, kWall).value_or(""),
              testing::HasSubstr(R"("type":"Ready","status":"Unknown",)"
                                 R"("reason":"NodeStatusNeverUpdated")"));
}

TEST(NotReadyPatch, HoldsForThisPodOnly) {
  kube::Pod pod;
  pod.metadata.uid = "u";
  EXPECT_EQ(not_ready_patch(pod, kWall),
            R"({"metadata":{"uid":"u"},"status":{"conditions":[)"
            R"({"type":"Ready","status":"False","reason":"NodeNotReady",)"
            R"("message":"The heartbeat of its node has stopped.",)"
            R"("lastTransitionTime":"2023-11-14T22:13:20Z"}]}})");
}

}  // namespace
}  // namespace fairlead::controllers
