#include "proxy/modes/userspace/event_loop.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace fairlead::userspace {
namespace {

class Counter final : public Watched {
 public:
  Counter(int& calls, io::UniqueFd socket) : calls_(calls), socket_(std::move(socket)) {}
  void ready(Event event) override {
    ++calls_;
    last = event;
  }
  void resume() override { ++resumed; }
  int socket() const { return socket_.get(); }
  void close() { socket_.reset(); }
  Event last;
  int resumed = 0;

 private:
  int& calls_;
  io::UniqueFd socket_;
};

std::array<io::UniqueFd, 2> connected() {
  std::array<int, 2> ends{};
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0,
        "a pair of sockets can be made");
  return {io::UniqueFd(ends[0]), io::UniqueFd(ends[1])};
}

// Runs turns until `work`, posted now, has been done.
void run_until_done(EventLoop& loop, const std::function<void()>& work) {
  loop.post([&] {
    work();
    loop.post([&] { loop.stop(); });
  });
  loop.run();
}

// Between fork() and exec() a child has all descriptors of its parent. What is closed meanwhile
// stays in epoll, and whoever watched it is gone.
TEST(EventLoop, EventsOfADescriptorThatAChildStillHasReachNobody) {
  auto made = EventLoop::create();
  ASSERT_TRUE(made);
  EventLoop& loop = **made;
  auto ends = connected();
  int calls = 0;
  auto counter = std::make_unique<Counter>(calls, std::move(ends[0]));
  const io::UniqueFd childs(::dup(counter->socket()));
  int calls_while_there = 0;
  run_until_done(loop, [&] {
    ASSERT_TRUE(loop.watch(counter->socket(), *counter));
    counter->close();
    loop.let_go(std::move(counter));
    calls_while_there = calls;
    ASSERT_EQ(::write(ends[1].get(), "x", 1), 1);
  });
  EXPECT_EQ(calls, calls_while_there);
}

// One end of a connection is watched, the other one is the test's.
class WatchedEnd : public testing::Test {
 protected:
  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  std::array<io::UniqueFd, 2> ends_ = connected();
  int calls_ = 0;
  Counter counter_{calls_, std::move(ends_[0])};
};

TEST_F(WatchedEnd, IsToldOfWithWhichItIsAndWhatHappened) {
  run_until_done(*loop_, [this] {
    ASSERT_TRUE(loop_->watch(counter_.socket(), counter_, 1));
    ASSERT_EQ(::write(ends_[1].get(), "x", 1), 1);
    ASSERT_EQ(::shutdown(ends_[1].get(), SHUT_WR), 0);
  });
  EXPECT_GE(calls_, 1);
  EXPECT_EQ(counter_.last.which, 1U);
  EXPECT_TRUE(counter_.last.readable && counter_.last.writable && counter_.last.ended);
  EXPECT_FALSE(counter_.last.failed);
}

TEST_F(WatchedEnd, IsNotToldOfWhenItIsNotWatchedAnyMore) {
  run_until_done(*loop_, [this] {
    ASSERT_TRUE(loop_->watch(counter_.socket(), counter_));
    loop_->unwatch(counter_.socket());
    ASSERT_EQ(::write(ends_[1].get(), "x", 1), 1);
  });
  EXPECT_EQ(calls_, 0);
}

TEST(EventLoop, ResumesOnceWhoAskedForItUnlessItWasLetGo) {
  auto made = EventLoop::create();
  ASSERT_TRUE(made);
  int calls = 0;
  Counter stays(calls, {});
  auto goes = std::make_unique<Counter>(calls, io::UniqueFd());
  const Counter* gone = goes.get();
  run_until_done(**made, [&] {
    (*made)->again(stays);
    (*made)->again(*goes);
    (*made)->let_go(std::move(goes));
    EXPECT_EQ(gone->resumed, 0);
  });
  EXPECT_EQ(stays.resumed, 1);
}

}  // namespace
}  // namespace fairlead::userspace
