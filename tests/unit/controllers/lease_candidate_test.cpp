#include "controllers/lease_candidate.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kWall{1'700'000'000s};
constexpr MonoTime kStart{1000s};

LeaseTerms terms(const std::string& identity) {
  return {.lease = {.namespace_ = "kube-system", .name = "lease"}, .identity = identity};
}

kube::Lease held_by(const std::string& holder) {
  kube::Lease out;
  out.metadata.namespace_ = "kube-system";
  out.metadata.name = "lease";
  out.metadata.resource_version = "7";
  out.holder_identity = holder;
  out.duration = 15s;
  out.acquire_time = out.renew_time = kWall;
  out.transitions = 3;
  return out;
}

TEST(LeaseCandidate, TakesALeaseThatDoesNotExist) {
  LeaseCandidate me(terms("me"));
  const auto wanted = me.attempt(std::nullopt, kStart, kWall);
  kube::Lease mine = held_by("me");
  mine.metadata.resource_version.clear();
  mine.transitions = 0;
  EXPECT_EQ(wanted, mine);
  EXPECT_EQ(me.leads_until(), std::nullopt) << "nothing has been written yet";
  me.written(mine, kStart);
  EXPECT_EQ(me.leads_until(), kStart + 10s);
}

TEST(LeaseCandidate, WaitsUntilAnothersLeaseHasNotChangedForItsDuration) {
  LeaseCandidate me(terms("me"));
  kube::Lease other = held_by("other");
  EXPECT_EQ(me.attempt(other, kStart, kWall), std::nullopt);
  EXPECT_EQ(me.attempt(other, kStart + 14s, kWall), std::nullopt);
  other.renew_time = kWall + 14s;
  EXPECT_EQ(me.attempt(other, kStart + 15s, kWall), std::nullopt) << "it was renewed";
  EXPECT_EQ(me.attempt(other, kStart + 29s, kWall), std::nullopt);
  const auto wanted = me.attempt(other, kStart + 30s, kWall + 30s);
  kube::Lease mine = held_by("me");
  mine.transitions = 4;
  mine.acquire_time = mine.renew_time = kWall + 30s;
  EXPECT_EQ(wanted, mine);
}

TEST(LeaseCandidate, AnOldRenewTimeOfAnotherClockIsNoReasonToTakeIt) {
  LeaseCandidate me(terms("me"));
  kube::Lease other = held_by("other");
  other.renew_time = kWall - 24h;
  EXPECT_EQ(me.attempt(other, kStart, kWall), std::nullopt);
}

TEST(LeaseCandidate, RenewsWithoutAnotherTransition) {
  LeaseCandidate me(terms("me"));
  const auto wanted = me.attempt(held_by("me"), kStart, kWall + 5s);
  kube::Lease mine = held_by("me");
  mine.renew_time = kWall + 5s;
  EXPECT_EQ(wanted, mine);
}

TEST(LeaseCandidate, LeadsNoLongerOnceAnotherHoldsTheLease) {
  LeaseCandidate me(terms("me"));
  me.written(held_by("me"), kStart);
  EXPECT_EQ(me.attempt(held_by("other"), kStart + 2s, kWall), std::nullopt);
  EXPECT_EQ(me.leads_until(), std::nullopt);
  EXPECT_EQ(me.release(kWall), std::nullopt);
}

TEST(LeaseCandidate, WhatIsGivenUpIsTakenAtOnce) {
  LeaseCandidate me(terms("me")), other(terms("other"));
  me.written(held_by("me"), kStart);
  EXPECT_EQ(other.attempt(held_by("me"), kStart, kWall), std::nullopt);
  const auto free = me.release(kWall);
  ASSERT_TRUE(free);
  EXPECT_EQ(free->holder_identity, "");
  EXPECT_EQ(me.leads_until(), std::nullopt);
  const auto taken = other.attempt(free, kStart, kWall);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->holder_identity, "other");
}

TEST(LeaseTerms, SayWhichFlagIsWrong) {
  LeaseTerms terms;
  EXPECT_TRUE(validate(terms));
  terms.renew_deadline = 15s;
  EXPECT_THAT(validate(terms), FailsWith(ErrorCode::Invalid,
                                         "--leader-elect-renew-deadline=15s: must be shorter than "
                                         "the lease duration"));
  terms = {.lease_duration = 15'500ms};
  EXPECT_FALSE(validate(terms));
  terms = {.retry_period = 8500ms};
  EXPECT_FALSE(validate(terms));
}

}  // namespace
}  // namespace fairlead::controllers
