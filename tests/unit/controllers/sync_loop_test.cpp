#include "controllers/sync_loop.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <map>
#include <vector>

#include "support/loop.hpp"

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

// A loop with two workers, each of which works until the test lets it end.
class SyncLoopTest : public testing::Test {
 protected:
  SyncLoopTest()
      : sync_loop_(loop_.executor(), {.clock = &clock_,
                                      .failure = "not done",
                                      .key_name = "key",
                                      .workers = 2,
                                      .ready = [this] { return ready_; },
                                      .sync =
                                          [this](std::string key) {
                                            begun_.push_back(key);
                                            return work(this, std::move(key));
                                          }}),
        tasks_(loop_.executor(), "test") {
    tasks_.spawn(sync_loop_.run());
  }
  ~SyncLoopTest() override { loop_.run(tasks_.close()); }

  static io::Task<Result<void>> work(SyncLoopTest* self, std::string key) {
    co_await self->gate(key).wait();
    if (self->fails_) co_return make_error(ErrorCode::Unavailable, "no");
    co_return Result<void>{};
  }
  io::Event& gate(const std::string& key) {
    return gates_.try_emplace(key, loop_.executor()).first->second;
  }
  // Everything that can happen now has happened.
  void settle() {
    for (int i = 0; i < 20; ++i) loop_.run(turn());
  }
  static io::Task<void> turn() {
    co_await io::asio::post(co_await io::asio::this_coro::executor, io::asio::use_awaitable);
  }

  test::Loop loop_;
  FakeClock clock_;
  bool ready_ = true, fails_ = false;
  std::vector<std::string> begun_;
  std::map<std::string, io::Event> gates_;
  SyncLoop sync_loop_;
  io::TaskGroup tasks_;
};

TEST_F(SyncLoopTest, WorksOnSeveralKeysButOnNoneTwiceAtATime) {
  for (const char* key : {"a", "b", "c", "a"}) sync_loop_.mark(key);
  settle();
  EXPECT_THAT(begun_, ElementsAre("a", "b"));
  sync_loop_.mark("a");  // while it is worked on
  gate("b").notify();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a", "b", "c"));
  gate("a").notify();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a", "b", "c", "a"));
}

TEST_F(SyncLoopTest, WaitsUntilItIsReady) {
  ready_ = false;
  sync_loop_.mark("a");
  settle();
  EXPECT_THAT(begun_, ElementsAre());
  ready_ = true;
  sync_loop_.wake();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a"));
}

TEST_F(SyncLoopTest, TriesAgainWhatFailed) {
  fails_ = true;
  sync_loop_.mark("a");
  settle();
  gate("a").notify();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a"));
  clock_.advance(999ms);
  sync_loop_.wake();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a"));
  clock_.advance(1ms);
  sync_loop_.wake();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a", "a"));
}

TEST_F(SyncLoopTest, ADelayedKeyWaitsForCompany) {
  sync_loop_.mark("a", 500ms);
  clock_.advance(200ms);
  sync_loop_.mark("a", 500ms);  // does not put it off
  sync_loop_.wake();
  settle();
  EXPECT_THAT(begun_, ElementsAre());
  clock_.advance(300ms);
  sync_loop_.wake();
  settle();
  EXPECT_THAT(begun_, ElementsAre("a"));
}

}  // namespace
}  // namespace fairlead::controllers
