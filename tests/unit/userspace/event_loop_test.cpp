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
  void ready() override { ++calls_; }
  int socket() const { return socket_.get(); }
  void close() { socket_.reset(); }

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

TEST(EventLoop, TellsOfWhatIsWatched) {
  auto made = EventLoop::create();
  ASSERT_TRUE(made);
  auto ends = connected();
  int calls = 0;
  Counter counter(calls, std::move(ends[0]));
  run_until_done(**made, [&] {
    ASSERT_TRUE((*made)->watch(counter.socket(), counter));
    ASSERT_EQ(::write(ends[1].get(), "x", 1), 1);
  });
  EXPECT_GE(calls, 1);
}

}  // namespace
}  // namespace fairlead::userspace
