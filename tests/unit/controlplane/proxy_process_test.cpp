#include "controlplane/proxy_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <fstream>

#include "support/folder.hpp"
#include "support/loop.hpp"

namespace fairlead::controlplane {
namespace {

using namespace std::chrono_literals;

class Proxy : public testing::Test {
 protected:
  // A shell script in place of the proxy; what it says goes to the log.
  ProxyProcess::Config script(const std::string& text) const {
    return {.node = "node1", .argv = {"sh", "-c", text}, .log = log(), .health = nowhere()};
  }
  std::string log() const { return folder_.path() + "/proxy.log"; }
  std::string logged() const {
    std::ifstream file(log());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static SocketAddress nowhere() {
    return {.address = IpAddress::loopback(IpFamily::V4), .port = Port{1}};
  }
  // Runs the proxy until its log has `lines` lines.
  io::Task<void> run_until_logged(ProxyProcess* proxy, std::ptrdiff_t lines) {
    const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    check(::inotify_add_watch(watch, folder_.path().c_str(), IN_MODIFY) >= 0, "inotify works");
    io::asio::posix::stream_descriptor changes(loop_.executor(), watch);
    io::TaskGroup tasks(loop_.executor(), "proxy");
    tasks.spawn(proxy->run());
    std::array<char, 4096> events{};
    while (std::ranges::count(logged(), '\n') < lines)
      co_await changes.async_read_some(io::asio::buffer(events), io::kNoThrow);
    co_await tasks.close();
  }
  io::Task<Result<void>> wait_healthy(ProxyProcess* proxy, std::chrono::nanoseconds patience) {
    io::TaskGroup tasks(loop_.executor(), "proxy");
    tasks.spawn(proxy->run());
    auto outcome = co_await proxy->wait_until_healthy(patience);
    co_await tasks.close();
    co_return outcome;
  }

  test::TemporaryFolder folder_;
  test::Loop loop_;
};

TEST_F(Proxy, IsStartedAgainWithPausesThatGrow) {
  ProxyProcess proxy(script("echo start; exit 3"));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(loop_.run(run_until_logged(&proxy, 4)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms + 400ms + 800ms);
  EXPECT_EQ(logged(), "start\nstart\nstart\nstart\n");
}

TEST_F(Proxy, MayEndByItselfWithinItsGrace) {
  auto config = script("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done");
  config.grace = 10s;
  ProxyProcess proxy(std::move(config));
  EXPECT_TRUE(loop_.run(run_until_logged(&proxy, 1)));
  EXPECT_EQ(logged(), "up\nbye\n");
}

TEST_F(Proxy, IsKilledWithoutGrace) {
  ProxyProcess proxy(script("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done"));
  EXPECT_TRUE(loop_.run(run_until_logged(&proxy, 1)));
  EXPECT_EQ(logged(), "up\n");
}

TEST_F(Proxy, ThatEndsBeforeItIsHealthySaysHowAndWhereItsLogIs) {
  ProxyProcess proxy(script("exit 3"));
  const auto outcome = loop_.run(wait_healthy(&proxy, 10s));
  ASSERT_TRUE(outcome && !*outcome);
  EXPECT_EQ(outcome->error(),
            (Error{.code = ErrorCode::Unavailable,
                   .message = fmt::format(
                       "the proxy of node1 does not start: exit code 3; its log is {}", log())}));
  EXPECT_EQ(proxy.state(), "restarting after exit code 3");
}

TEST_F(Proxy, ThatDoesNotGetHealthyIsATimeout) {
  ProxyProcess proxy(script("while :; do :; done"));
  const auto outcome = loop_.run(wait_healthy(&proxy, 50ms));
  ASSERT_TRUE(outcome && !*outcome);
  EXPECT_EQ(outcome->error().code, ErrorCode::Timeout);
  EXPECT_THAT(outcome->error().message, testing::HasSubstr("does not get ready: connect to "));
}

TEST_F(Proxy, ThatIsMissingIsNamed) {
  ProxyProcess proxy({.node = "node1", .argv = {"/no/such/proxy"}, .log = "", .health = nowhere()});
  const auto outcome = loop_.run(wait_healthy(&proxy, 10s));
  ASSERT_TRUE(outcome && !*outcome);
  EXPECT_THAT(outcome->error().message, testing::HasSubstr("/no/such/proxy"));
}

}  // namespace
}  // namespace fairlead::controlplane
