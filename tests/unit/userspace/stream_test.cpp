#include "proxy/modes/userspace/stream.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>

namespace fairlead::userspace {
namespace {

using Progress = Stream::Progress;

// writer -> from, the stream, to -> reader.
class StreamTest : public testing::TestWithParam<std::size_t> {
 protected:
  StreamTest() {
    std::signal(SIGPIPE, SIG_IGN);
    make(writer_, from_);
    make(to_, reader_);
  }
  static void make(io::UniqueFd& one, io::UniqueFd& other) {
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    one = io::UniqueFd(ends[0]);
    other = io::UniqueFd(ends[1]);
  }
  Progress move(bool ended = false) {
    return stream_.move({.from = from_.get(), .to = to_.get(), .ended = ended},
                        {.pipes = pipes_, .buffer = buffer_}, moved_);
  }
  // All that fits.
  std::size_t fill(char byte) {
    const std::string block(8192, byte);
    std::size_t out = 0;
    ssize_t put = 0;
    while ((put = write(writer_.get(), block.data(), block.size())) > 0) {
      out += static_cast<std::size_t>(put);
    }
    return out;
  }
  std::string read_some() {
    std::string out(1 << 20, 0);
    const ssize_t got = read(reader_.get(), out.data(), out.size());
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }
  std::string read_all() {
    std::string out;
    for (std::string some = read_some(); !some.empty(); some = read_some()) out += some;
    return out;
  }

  io::UniqueFd writer_, from_, to_, reader_;
  PipePool pipes_{GetParam()};
  std::vector<char> buffer_ = std::vector<char>(kCopiedAtOnce);
  std::atomic<std::uint64_t> moved_ = 0;
  Stream stream_;
};

// With pipes, and when there are none.
INSTANTIATE_TEST_SUITE_P(Pipes, StreamTest, testing::Values(4, 0));

TEST_P(StreamTest, MovesWhatThereIsAndWaits) {
  ASSERT_EQ(write(writer_.get(), "hello", 5), 5);
  EXPECT_EQ(move(), Progress::Blocked);
  EXPECT_EQ(read_some(), "hello");
  EXPECT_FALSE(stream_.holds());
  EXPECT_EQ(moved_, 5U);
}

TEST_P(StreamTest, LosesNothingWhenTheReaderStalls) {
  std::string sent, got;
  for (char byte = 'a'; byte <= 'h'; ++byte) {
    sent += std::string(fill(byte), byte);
    while (move() == Progress::MoreToDo) {
    }
  }
  EXPECT_TRUE(stream_.holds());
  EXPECT_FALSE(stream_.done());
  ASSERT_EQ(shutdown(writer_.get(), SHUT_WR), 0);
  for (int turns = 0; !stream_.done() && turns < 10'000; ++turns) {
    got += read_all();
    move(true);
  }
  got += read_all();
  EXPECT_TRUE(stream_.done());
  EXPECT_TRUE(got == sent);
  EXPECT_EQ(moved_, sent.size());
}

TEST_P(StreamTest, PassesTheEndOnAfterTheLastByte) {
  ASSERT_EQ(write(writer_.get(), "bye", 3), 3);
  ASSERT_EQ(shutdown(writer_.get(), SHUT_WR), 0);
  EXPECT_EQ(move(true), Progress::Blocked);
  EXPECT_TRUE(stream_.done());
  EXPECT_EQ(read_some(), "bye");
  char byte = 0;
  EXPECT_EQ(read(reader_.get(), &byte, 1), 0) << "the end";
}

TEST_P(StreamTest, SaysThatNobodyTakesTheBytes) {
  reader_.reset();
  fill('x');
  EXPECT_EQ(move(), Progress::SinkLost);
  stream_.give_back(pipes_);
}

TEST(PipePool, LendsNoMoreThanItMayAndTakesBackWhatEndsEmptyOrNot) {
  PipePool pool(1);
  auto pipe = pool.take();
  ASSERT_TRUE(pipe);
  EXPECT_GE(pipe->capacity, 4096U);
  EXPECT_FALSE(pool.take());
  pool.give_back(*std::move(pipe));
  pipe = pool.take();
  ASSERT_TRUE(pipe);
  pipe.reset();
  pool.lose();
  EXPECT_TRUE(pool.take());
}

}  // namespace
}  // namespace fairlead::userspace
