#include "io/probe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <optional>

#include "support/loop.hpp"
#include "support/result.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using testing::HasSubstr;

// A listener that accepts one connection, reads a request and says `answer` if there is one.
class Probed : public testing::Test {
 protected:
  Probed() : acceptor_(loop_.context(), {asio::ip::address_v4::loopback(), 0}) {}

  SocketAddress address() const {
    return {.address = IpAddress::loopback(IpFamily::V4),
            .port = Port{acceptor_.local_endpoint().port()}};
  }
  Task<void> serve(std::optional<std::string> answer) {
    auto [ec, socket] = co_await acceptor_.async_accept(kNoThrow);
    if (ec) co_return;
    co_await asio::async_read_until(socket, asio::dynamic_buffer(request_), "\r\n\r\n", kNoThrow);
    if (answer) co_await asio::async_write(socket, asio::buffer(*answer), kNoThrow);
    if (!answer) co_await sleep_for(1h);
  }
  Task<Result<void>> ask(HttpProbe probe, std::optional<std::string> answer,
                         std::chrono::nanoseconds timeout) {
    TaskGroup tasks(loop_.executor(), "server");
    tasks.spawn(serve(std::move(answer)));
    auto outcome = co_await probe_http(nullptr, std::move(probe), timeout);
    co_await tasks.close();
    co_return outcome;
  }
  Result<void> http(std::optional<std::string> answer, std::chrono::nanoseconds timeout = 10s) {
    const auto outcome =
        loop_.run(ask({.to = address(), .path = "/healthz", .headers = {{"X-Of", "us"}}},
                      std::move(answer), timeout));
    return outcome.value_or(Result<void>(make_error(ErrorCode::Internal, "the test hangs")));
  }
  template <class T>
  Result<void> outcome_of(T task) {
    return loop_.run(std::move(task))
        .value_or(Result<void>(make_error(ErrorCode::Internal, "the test hangs")));
  }

  test::Loop loop_;
  tcp::acceptor acceptor_;
  std::string request_;
};

TEST_F(Probed, TcpSucceedsWhenSomebodyListens) {
  EXPECT_TRUE(outcome_of(probe_tcp(nullptr, address(), 10s)));
}

TEST_F(Probed, TcpSaysThatNobodyDoes) {
  const SocketAddress nobody = address();
  acceptor_.close();
  EXPECT_THAT(
      outcome_of(probe_tcp(nullptr, nobody, 10s)),
      FailsWith(ErrorCode::Unavailable, fmt::format("connect to {}: Connection refused", nobody)));
}

struct StatusRow {
  const char* name;
  const char* answer;
  const char* error;  // empty = well
};
class ProbedHttp : public Probed, public testing::WithParamInterface<StatusRow> {};

TEST_P(ProbedHttp, SucceedsOnStatus200To399) {
  const auto outcome = http(GetParam().answer);
  EXPECT_EQ(outcome ? "" : outcome.error().message, GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ProbedHttp,
    testing::Values(StatusRow{"ok", "HTTP/1.1 200 OK\r\n\r\n", ""},
                    StatusRow{"old_version", "HTTP/1.0 204 No Content\r\n\r\n", ""},
                    StatusRow{"redirect", "HTTP/1.1 399 Odd\r\n\r\n", ""},
                    StatusRow{"too_low", "HTTP/1.1 199 Odd\r\n\r\n", "HTTP status 199"},
                    StatusRow{"client_error", "HTTP/1.1 400 Bad\r\n\r\n", "HTTP status 400"},
                    StatusRow{"server_error", "HTTP/1.1 503 Gone\r\n\r\n", "HTTP status 503"},
                    StatusRow{"not_http", "SSH-2.0-OpenSSH_9\r\n", "the answer is not HTTP/1"},
                    StatusRow{"too_short", "HTTP/1.1", "read the answer: End of file"}),
    [](const auto& row) { return row.param.name; });

TEST_F(Probed, HttpSendsPathHostAndHeaders) {
  EXPECT_TRUE(http("HTTP/1.1 200 OK\r\n\r\n"));
  EXPECT_EQ(request_, fmt::format("GET /healthz HTTP/1.1\r\nX-Of: us\r\nHost: {}\r\n"
                                  "User-Agent: fairlead-probe\r\nConnection: close\r\n\r\n",
                                  address()));
}

TEST_F(Probed, HttpGivesUpOnAServerThatSaysNothing) {
  EXPECT_THAT(http(std::nullopt, 20ms),
              FailsWith(ErrorCode::Timeout, "read the answer: no answer in time"));
}

TEST_F(Probed, ACommandSucceedsWithZero) {
  EXPECT_TRUE(outcome_of(probe_command({.argv = {"true"}}, 10s)));
  EXPECT_THAT(outcome_of(probe_command({.argv = {"sh", "-c", "exit 4"}}, 10s)),
              FailsWith(ErrorCode::Unavailable, "exit code 4"));
  EXPECT_THAT(outcome_of(probe_command({.argv = {"sleep", "1000"}}, 20ms)),
              FailsWith(ErrorCode::Timeout, "the command did not end in time"));
  const auto missing = outcome_of(probe_command({.argv = {"/no/such/program"}}, 10s));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("/no/such/program"));
}

Task<std::string> wait(Child* child, std::chrono::milliseconds patience) {
  const auto status = co_await child->wait_until(std::chrono::steady_clock::now() + patience);
  if (!status) co_return status.error().message;
  co_return *status ? (*status)->to_string() : "still running";
}

TEST_F(Probed, WaitUntilTellsALivingChildFromOneThatEnded) {
  auto child = Child::spawn({.argv = {"sleep", "1000"}});
  ASSERT_TRUE(child);
  EXPECT_EQ(loop_.run(wait(&*child, 20ms)), "still running");
  ASSERT_TRUE(child->signal(9));
  EXPECT_EQ(loop_.run(wait(&*child, 10s)), "signal 9");
}

}  // namespace
}  // namespace fairlead::io
