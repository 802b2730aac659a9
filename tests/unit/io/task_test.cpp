#include "io/task.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/loop.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using Log = std::vector<std::string>;

Task<void> sleep_long(Log* log, std::string name) {
  const bool whole = co_await sleep_for(1h);
  log->push_back(name + (whole ? " slept" : " was cancelled"));
}

Task<void> loop_until_cancelled(Log* log) {
  int rounds = 0;
  while (!co_await cancelled()) {
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    ++rounds;
  }
  log->push_back(rounds > 0 ? "busy loop left" : "busy loop never ran");
}

// After cancellation more awaits must work, without an exception.
Task<void> tidy_up_after_cancellation(Log* log) {
  co_await sleep_for(1h);
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  log->push_back("tidied up");
}

TEST(TaskGroup, CloseCancelsSleepersAndWaitsForThem) {
  test::Loop loop;
  TaskGroup group(loop.executor(), "test");
  Log log;
  EXPECT_TRUE(group.spawn(sleep_long(&log, "a")));
  EXPECT_TRUE(group.spawn(sleep_long(&log, "b")));
  EXPECT_EQ(group.running(), 2U);
  loop.run(group.close());
  EXPECT_EQ(log, (Log{"a was cancelled", "b was cancelled"}));
  EXPECT_EQ(group.running(), 0U);
}

TEST(TaskGroup, CloseEndsATaskThatIsNeverIdle) {
  test::Loop loop;
  TaskGroup group(loop.executor(), "test");
  Log log;
  group.spawn(loop_until_cancelled(&log));
  loop.run(group.close());
  EXPECT_EQ(log, (Log{"busy loop left"}));
}

TEST(TaskGroup, ATaskMayAwaitAfterItWasCancelled) {
  test::Loop loop;
  TaskGroup group(loop.executor(), "test");
  Log log;
  group.spawn(tidy_up_after_cancellation(&log));
  loop.run(group.close());
  EXPECT_EQ(log, (Log{"tidied up"}));
}

TEST(TaskGroup, RefusesTasksAfterClose) {
  test::Loop loop;
  TaskGroup group(loop.executor(), "test");
  Log log;
  loop.run(group.close());
  EXPECT_FALSE(group.spawn(sleep_long(&log, "late")));
  EXPECT_EQ(log, Log{});
}

Task<void> close_twice(TaskGroup* group, Log* log) {
  co_await group->close();
  log->push_back("closed");
  co_await group->close();
  log->push_back("closed again");
}

TEST(TaskGroup, MayBeClosedTwice) {
  test::Loop loop;
  TaskGroup group(loop.executor(), "test");
  Log log;
  group.spawn(sleep_long(&log, "a"));
  loop.run(close_twice(&group, &log));
  EXPECT_EQ(log, (Log{"a was cancelled", "closed", "closed again"}));
}

TEST(TaskGroupDeathTest, DestroyedWithRunningTasksAborts) {
  EXPECT_DEATH(
      {
        test::Loop loop;
        Log log;
        TaskGroup group(loop.executor(), "forgotten");
        group.spawn(sleep_long(&log, "a"));
      },
      "task group forgotten is destroyed with 1 tasks");
}

Task<void> count_wakeups(Event* event, int* wakeups) {
  while (co_await event->wait()) ++*wakeups;
}

Task<void> notify_in_bursts(Event* event, TaskGroup* group) {
  event->notify();
  event->notify();
  event->notify();
  // Lets the waiter run before the next burst.
  for (int i = 0; i < 10; ++i)
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  event->notify();
  event->notify();
  for (int i = 0; i < 10; ++i)
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  co_await group->close();
}

TEST(Event, ManyNotificationsMakeOneWakeUp) {
  test::Loop loop;
  Event event(loop.executor());
  TaskGroup group(loop.executor(), "test");
  int wakeups = 0;
  group.spawn(count_wakeups(&event, &wakeups));
  loop.run(notify_in_bursts(&event, &group));
  EXPECT_EQ(wakeups, 2);
}

TEST(Event, NotificationBeforeTheWaitIsKept) {
  test::Loop loop;
  Event event(loop.executor());
  event.notify();
  EXPECT_EQ(loop.run(event.wait()), true);
}

TEST(Event, WaitUntilAPastTimeReportsNoNotification) {
  test::Loop loop;
  Event event(loop.executor());
  EXPECT_EQ(loop.run(event.wait_until(std::chrono::steady_clock::now() - 1s)), false);
  event.notify();
  EXPECT_EQ(loop.run(event.wait_until(std::chrono::steady_clock::now() - 1s)), true);
}

}  // namespace
}  // namespace fairlead::io
