#include "controllers/work_queue.hpp"

#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const MonoTime kStart{seconds{1000}};

TEST(WorkQueue, HandsOutAKeyOnceAndInTheOrderItFellDue) {
  WorkQueue queue;
  queue.add("late", kStart + seconds{2});
  queue.add("early", kStart + seconds{1});
  queue.add("early", kStart + seconds{5});
  EXPECT_EQ(queue.take(kStart), std::nullopt);
  EXPECT_EQ(queue.next_due(), kStart + seconds{1});
  EXPECT_EQ(queue.take(kStart + seconds{9}), "early");
  EXPECT_EQ(queue.take(kStart + seconds{9}), "late");
  EXPECT_EQ(queue.take(kStart + seconds{9}), std::nullopt);
}

TEST(WorkQueue, AnEarlierWishWins) {
  WorkQueue queue;
  queue.add("key", kStart + seconds{60});
  queue.add("key", kStart);
  EXPECT_EQ(queue.waiting(), 1U);
  EXPECT_EQ(queue.take(kStart), "key");
}

TEST(WorkQueue, AKeyBeingWorkedOnComesBackOnlyAfterwards) {
  WorkQueue queue;
  queue.add("key", kStart);
  ASSERT_EQ(queue.take(kStart), "key");
  queue.add("key", kStart);
  EXPECT_EQ(queue.take(kStart), std::nullopt);
  EXPECT_EQ(queue.next_due(), std::nullopt);
  queue.succeeded("key");
  EXPECT_EQ(queue.take(kStart), "key");
}

TEST(WorkQueue, FailuresBackOffUntilASuccess) {
  WorkQueue queue({.first_retry = milliseconds{1000}, .last_retry = milliseconds{5000}});
  MonoTime now = kStart;
  queue.add("key", now);
  for (const milliseconds expected : {milliseconds{1000}, milliseconds{2000}, milliseconds{4000},
                                      milliseconds{5000}, milliseconds{5000}}) {
    ASSERT_EQ(queue.take(now), "key");
    EXPECT_EQ(queue.failed("key", now), expected);
    EXPECT_EQ(queue.take(now), std::nullopt);
    now += expected;
  }
  ASSERT_EQ(queue.take(now), "key");
  queue.succeeded("key");
  queue.add("key", now);
  ASSERT_EQ(queue.take(now), "key");
  EXPECT_EQ(queue.failed("key", now), milliseconds{1000});
}

TEST(WorkQueue, AFailedKeyThatIsDirtyAgainDoesNotWaitForItsBackOff) {
  WorkQueue queue;
  queue.add("key", kStart);
  ASSERT_EQ(queue.take(kStart), "key");
  queue.add("key", kStart);
  queue.failed("key", kStart);
  EXPECT_EQ(queue.take(kStart), "key");
}

}  // namespace
}  // namespace fairlead::controllers
