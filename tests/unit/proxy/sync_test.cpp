#include <gmock/gmock.h>

#include "unit/proxy/sync_rig.hpp"

namespace fairlead::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(Sync, NothingIsProgrammedBeforeBothListsArrived) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.syncer.services_synced();
  EXPECT_EQ(rig.run(), 0);
  EXPECT_EQ(rig.syncer.wake_at(), std::nullopt);
  rig.put_endpoints("web", {"10.0.0.1"});
  rig.syncer.slices_synced();
  EXPECT_EQ(rig.run(), 1);
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full"));
  EXPECT_THAT(rig.kernel->services, SizeIs(1));
}

TEST(Sync, EmptyClusterIsProgrammedToo) {
  Rig rig;
  rig.open();
  EXPECT_EQ(rig.run(), 1);
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full"));
  EXPECT_THAT(rig.kernel->nodes, SizeIs(2));
}

TEST(Sync, ChangeIsOneDeltaOfOneService) {
  Rig rig;
  for (int i = 0; i < 50; ++i) {
    rig.put_service(fmt::format("s{}", i), fmt::format("10.96.0.{}", i));
  }
  rig.open();
  rig.run();
  rig.put_endpoints("s7", {"10.0.0.1"});
  EXPECT_EQ(rig.run(), 1);
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full", "delta"));
  EXPECT_EQ(rig.kernel->changes_applied, 1U);
  EXPECT_EQ(rig.syncer.last_update().recompiled, 1U);
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, ChangeThatRevertsBeforeItsTurnTouchesNothing) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.put_endpoints("web", {"10.0.0.1"});
  rig.open();
  rig.run();
  rig.put_endpoints("web", {});
  rig.put_endpoints("web", {"10.0.0.1"});
  EXPECT_EQ(rig.run(), 0);
  EXPECT_EQ(rig.syncer.health().pending_since, std::nullopt);
}

TEST(Sync, StormIsCommittedInFewSteps) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  int commits = 0;
  for (int i = 1; i <= 30; ++i) {  // 30 changes within a second
    rig.clock.advance(33ms);
    rig.put_endpoints("web", {fmt::format("10.0.0.{}", i)});
    commits += rig.run();
  }
  EXPECT_LE(commits, 3);
  rig.clock.advance(1s);
  rig.run();
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, FailedCommitIsRepeatedInFull) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  rig.kernel->fail_at = 1;
  rig.put_endpoints("web", {"10.0.0.1"});
  EXPECT_EQ(rig.run(), 1);
  EXPECT_TRUE(rig.last.error.has_value());
  EXPECT_EQ(rig.until_wake(), 1s);
  EXPECT_TRUE(rig.syncer.health().pending_since.has_value());
  rig.clock.advance(1s);
  EXPECT_EQ(rig.run(), 1);
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full", "delta", "full"));
  EXPECT_TRUE(rig.in_step());
  EXPECT_EQ(rig.syncer.health().pending_since, std::nullopt);
  EXPECT_EQ(rig.syncer.health().last_error, "");
}

TEST(Sync, ChangeBringsTheRetryForward) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  rig.kernel->fail_at = 1;
  rig.put_endpoints("web", {"10.0.0.1"});
  rig.run();
  rig.clock.advance(2s);
  rig.put_endpoints("web", {"10.0.0.2"});
  EXPECT_EQ(rig.run(), 1);
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, FailedFirstCommitIsRepeatedAndHealthKnows) {
  Rig rig;
  rig.kernel->fail_at = 0;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  const MonoTime start = rig.clock.mono();
  rig.run();
  EXPECT_EQ(rig.syncer.health().pending_since, start);
  EXPECT_NE(rig.syncer.health().last_error, "");
  EXPECT_EQ(rig.until_wake(), 1s);
  rig.clock.advance(1s);
  rig.run();
  EXPECT_TRUE(rig.in_step());
  EXPECT_EQ(rig.syncer.health().pending_since, std::nullopt);
}

// The k-th call to the kernel fails, for every k; afterwards everything comes right by itself.
TEST(Sync, ConvergesWhicheverCallFails) {
  for (std::size_t k = 0; k < 12; ++k) {
    SCOPED_TRACE(k);
    Rig rig(0s);
    rig.kernel->fail_at = k;
    rig.put_service("a", "10.96.0.1");
    rig.put_service("b", "10.96.0.2");
    rig.open();
    rig.run();
    for (int i = 0; i < 4; ++i) {
      rig.put_endpoints("a", {fmt::format("10.0.0.{}", i)});
      rig.put_endpoints("b", {fmt::format("10.0.1.{}", i)});
      rig.run();
      rig.kernel->foreign = true;
      rig.syncer.tampered();
      rig.run();
    }
    rig.clock.advance(30s);
    rig.run();
    rig.clock.advance(30s);
    rig.run();
    EXPECT_TRUE(rig.in_step());
    EXPECT_FALSE(rig.kernel->broken);
    EXPECT_EQ(rig.syncer.health().pending_since, std::nullopt);
    EXPECT_EQ(rig.syncer.health().last_error, "");
  }
}

TEST(Sync, AuditFindsAndMendsWhatSomebodyChanged) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  EXPECT_EQ(rig.until_wake(), 30s);
  rig.clock.advance(30s);
  rig.run();
  EXPECT_THAT(rig.last.findings, IsEmpty());
  rig.kernel->services.clear();  // nft flush
  rig.clock.advance(30s);
  rig.run();
  EXPECT_THAT(rig.last.findings, ElementsAre("ns/web:p differs"));
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full", "verify", "verify", "full"));
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, AuditComesAlthoughChangesNeverStop) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  for (int i = 1; i <= 31; ++i) {
    rig.clock.advance(1s);
    rig.put_endpoints("web", {fmt::format("10.0.0.{}", i)});
    rig.syncer.tampered();  // and somebody else keeps changing tables of their own
    rig.run();
  }
  EXPECT_EQ(std::ranges::count(rig.kernel->calls, "verify"), 1);
}

TEST(Sync, LatencyIsCountedFromTheChangeThoughTheFirstTryFailed) {
  Rig rig;
  rig.open();
  rig.run();
  rig.kernel->fail_at = 1;
  const WallTime when = rig.clock.wall();
  rig.syncer.triggered(when);
  rig.put_service("web", "10.96.0.10");
  rig.run();
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.last.error, std::nullopt);
  EXPECT_THAT(rig.last.triggers, ElementsAre(when));
}

TEST(Sync, ForeignChangeIsMendedAtOnceAndOurOwnIsNot) {
  Rig rig;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  rig.syncer.tampered();  // the echo of our own commit
  rig.run();
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full", "tampered"));
  rig.kernel->services.clear();
  rig.kernel->foreign = true;
  rig.syncer.tampered();
  rig.run();
  EXPECT_THAT(rig.kernel->calls, ElementsAre("full", "tampered", "tampered", "verify", "full"));
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, ChangesDuringACommitGoOutTogetherWithTheNext) {
  Rig rig(0s);
  rig.put_service("a", "10.96.0.1");
  rig.open();
  auto first = rig.syncer.next_job();
  ASSERT_TRUE(first);
  rig.put_endpoints("a", {"10.0.0.1"});
  rig.put_service("b", "10.96.0.2");
  EXPECT_EQ(rig.syncer.next_job(), std::nullopt) << "one at a time";
  rig.syncer.finish(rig.side.run(*std::move(first)));
  EXPECT_EQ(rig.run(), 1);
  EXPECT_TRUE(rig.in_step());
}

TEST(Sync, NodeChangeReachesTheKernel) {
  Rig rig;
  rig.open();
  rig.run();
  plan::NodeContext node = plan::make_node();
  node.families[IpFamily::V4].masquerade_all = true;
  rig.syncer.set_node(node, {});
  EXPECT_EQ(rig.run(), 1);
  EXPECT_TRUE(rig.kernel->nodes.at(IpFamily::V4).masquerade_all);
  rig.syncer.set_node(node, {});
  EXPECT_EQ(rig.run(), 0);
}

TEST(Sync, WhatOtherModesLeftGoesAfterTheFirstSuccessAndIsTriedAgain) {
  Rig rig;
  rig.kernel->fail_at = 0;
  rig.sweep_fails = true;
  rig.put_service("web", "10.96.0.10");
  rig.open();
  rig.run();
  EXPECT_EQ(rig.sweeps, 0) << "nothing of ours is there yet";
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.sweeps, 1);
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.sweeps, 2);
  ASSERT_TRUE(rig.last.leftovers);
  EXPECT_THAT(rig.last.leftovers->removed, ElementsAre("iptables-legacy IPv4"));
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.sweeps, 2) << "once is enough";
}

TEST(Sync, RetriesComeLessAndLessOften) {
  Rig rig;
  rig.kernel->fail_from = 0;
  rig.open();
  std::vector<Duration> pauses;
  for (int i = 0; i < 7; ++i) {
    rig.run();
    pauses.push_back(rig.until_wake());
    rig.clock.advance(pauses.back());
  }
  EXPECT_THAT(pauses, ElementsAre(1s, 2s, 4s, 8s, 16s, 30s, 30s));
  rig.kernel->fail_from.reset();
  rig.run();
  rig.kernel->fail_from = rig.kernel->calls.size();
  rig.put_service("web", "10.96.0.10");
  rig.clock.advance(1s);
  rig.run();
  EXPECT_EQ(rig.until_wake(), 1s) << "a success forgets earlier failures";
}

TEST(Sync, ChangesWithoutEndNeitherHastenNorStarveRetries) {
  Rig rig(10ms);
  rig.kernel->fail_from = 0;
  rig.open();
  for (int i = 0; i < 100; ++i) {  // ten seconds
    rig.put_service("web", fmt::format("10.96.0.{}", i));
    rig.run();
    rig.clock.advance(100ms);
  }
  EXPECT_EQ(rig.kernel->calls.size(), 10U);
}

TEST(Sync, AuditComesAlthoughACommitIsAlwaysDue) {
  Rig rig(0s);
  rig.open();
  rig.run();
  for (int i = 0; i < 130; ++i) {
    rig.put_service("web", fmt::format("10.96.0.{}", i));
    rig.syncer.tampered();
    auto job = rig.syncer.next_job();  // there will be the next change before the one after that
    ASSERT_TRUE(job);
    rig.syncer.finish(rig.side.run(*std::move(job)));
    rig.clock.advance(1s);
  }
  EXPECT_EQ(std::ranges::count(rig.kernel->calls, "verify"), 2);
}

TEST(Sync, TellsHowManyChangesAreNotInTheKernel) {
  const auto pending = [](const Rig& rig) {
    const model::Counts counts = rig.syncer.pending_changes();
    return std::pair(counts.service_changes, counts.slice_changes);
  };
  Rig rig;
  rig.put_service("a", "10.96.0.1");
  rig.put_service("b", "10.96.0.2");
  rig.put_endpoints("a", {"10.0.0.1"});
  EXPECT_THAT(pending(rig), testing::Pair(2U, 1U));
  EXPECT_EQ(rig.syncer.health().last_queued, std::nullopt) << "nothing is queued before the lists";
  rig.open();
  EXPECT_EQ(rig.syncer.health().last_queued, rig.clock.wall());
  rig.kernel->fail_at = 0;
  rig.run();
  EXPECT_THAT(pending(rig), testing::Pair(2U, 1U)) << "the commit failed";
  auto retry = (rig.clock.advance(1s), rig.syncer.next_job());
  ASSERT_TRUE(retry);
  rig.put_endpoints("b", {"10.0.0.2"});
  rig.syncer.finish(rig.side.run(*std::move(retry)));
  EXPECT_THAT(pending(rig), testing::Pair(0U, 1U)) << "came in meanwhile";
  rig.clock.advance(1s);
  rig.run();
  EXPECT_THAT(pending(rig), testing::Pair(0U, 0U));
  rig.put_endpoints("b", {});
  rig.put_endpoints("b", {"10.0.0.2"});
  rig.run();
  EXPECT_THAT(pending(rig), testing::Pair(0U, 0U)) << "took each other back";
}

TEST(Sync, CountsPoliciesWithoutALocalEndpoint) {
  Rig rig;
  kube::Service service = plan::make_service("web", "10.96.0.10");
  service.internal_traffic_policy = kube::TrafficPolicy::Local;
  rig.model.put(service);
  rig.model.put(plan::make_slice("s", "web", {plan::make_endpoint("10.0.0.1", "elsewhere")}));
  rig.open();
  rig.run();
  EXPECT_EQ(rig.syncer.no_local_endpoints(IpFamily::V4), (NoLocalEndpoints{.internal = 1}));
  rig.put_endpoints("web", {"10.0.0.2"});
  rig.run();
  EXPECT_EQ(rig.syncer.no_local_endpoints(IpFamily::V4), NoLocalEndpoints{});
}

struct ScheduleStep {
  Duration at;
  std::string event;  // "request", "run", "fail", "end"
  std::optional<Duration> due;
};

TEST(SyncSchedule, FollowsTheTokenBucket) {
  const std::vector<ScheduleStep> steps = {
      {0s, "request", 0s},
      {0s, "run", std::nullopt},
      {10ms, "end", std::nullopt},
      {20ms, "request", 20ms},
      {20ms, "run", std::nullopt},
      {30ms, "end", std::nullopt},
      {40ms, "request", 1030ms},  // burst spent: a period after the end of the last
      {50ms, "request", 1030ms},
      {1030ms, "run", std::nullopt},
      {1040ms, "request", std::nullopt},
      {1500ms, "end", 2500ms},  // after the end of the one it came in during
      {2500ms, "run", std::nullopt},
      {2500ms, "end", std::nullopt},
      {9s, "request", 9s},
      {9s, "run", std::nullopt},
      {9s, "fail", 10s},
      {9100ms, "request", 10s},
      {10s, "run", std::nullopt},
      {10s, "fail", 12s},
      {10100ms, "request", 11s},  // a change does not wait for the retry
      {10200ms, "request", 11s},
      {11s, "run", std::nullopt},
      {11s, "request", std::nullopt},
      {11s, "fail", 12s},
      {12s, "run", std::nullopt},
      {12s, "end", std::nullopt},
  };
  SyncSchedule schedule({.min_period = 1s, .sync_period = 30s});
  const MonoTime start{100s};
  for (const ScheduleStep& step : steps) {
    SCOPED_TRACE(fmt::format("{} at {} ms", step.event, step.at / 1ms));
    const MonoTime now = start + step.at;
    if (step.event == "request") schedule.request(now);
    if (step.event == "run") schedule.started(now);
    if (step.event == "end") schedule.finished(now, true);
    if (step.event == "fail") schedule.finished(now, false);
    const auto due = schedule.due();
    EXPECT_EQ(due ? std::optional(*due - start) : std::nullopt, step.due);
  }
}

}  // namespace
}  // namespace fairlead::proxy