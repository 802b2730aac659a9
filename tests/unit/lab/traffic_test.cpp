// `fairlead echo` and `fairlead probe` against each other over loopback, and the probe's reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>

#include "io/probe.hpp"
#include "io/process.hpp"
#include "io/sockaddr.hpp"
#include "io/socket.hpp"
#include "lab/echo.hpp"
#include "lab/probe_client.hpp"
#include "support/loop.hpp"
#include "support/result.hpp"

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Pair;

SocketAddress here(Port port, IpFamily family = IpFamily::V4) {
  return {.address = IpAddress::loopback(family), .port = port};
}

// A port nobody uses: the kernel's choice, given back.
Port free_port() {
  const auto socket = io::listen_tcp({.address = IpAddress::any(IpFamily::V6), .port = Port{0}});
  check(socket.has_value(), "a port can be had");
  const auto address = io::local_address(*socket);
  check(address.has_value(), "a listener has an address");
  return address->port;
}

// run_echo() in a process of its own, because it ends by signals.
class EchoProcess {
 public:
  explicit EchoProcess(const EchoConfig& config) : pid_(::fork()) {
    if (pid_ == 0) ::_exit(run_echo(config) ? 0 : 1);
  }
  ~EchoProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }
  EchoProcess(const EchoProcess&) = delete;
  EchoProcess& operator=(const EchoProcess&) = delete;
  void signal(int number) const { ::kill(pid_, number); }
  int wait() {
    int status = -1;
    if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_;
};

class Echo : public testing::Test {
 protected:
  Result<void> health() {
    auto outcome = loop_.run(
        io::probe_http(nullptr, {.to = here(port_), .path = "/healthz", .headers = {}}, 5s));
    return outcome.value_or(Result<void>(make_error(ErrorCode::Timeout, "hangs")));
  }
  // Connection refused is repeated until the child listens.
  void wait_until_it_listens() {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!loop_.run(io::probe_tcp(nullptr, here(port_), 1s)).value_or(Result<void>()))
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the echo server does not listen";
  }
  ProbeReport probe(Protocol protocol, IpFamily family = IpFamily::V4, unsigned count = 3) const {
    return run_probe({.target = here(port_, family),
                      .protocol = protocol,
                      .count = count,
                      .duration = {},
                      .stop_file = {}});
  }

  test::Loop loop_;
  Port port_ = free_port();
};

struct EchoRow {
  const char* name;
  Protocol protocol;
  IpFamily family;
  const char* source;
};
class EchoAnswers : public Echo, public testing::WithParamInterface<EchoRow> {};

TEST_P(EchoAnswers, WithItsNameAndThePeersAddress) {
  const EchoProcess echo({.name = "web-0", .tcp = {port_}, .udp = {port_}});
  wait_until_it_listens();
  const ProbeReport report = probe(GetParam().protocol, GetParam().family);
  EXPECT_THAT(report.replies, ElementsAre(Pair("web-0", 3U)));
  EXPECT_THAT(report.sources, ElementsAre(Pair(GetParam().source, 3U)));
  EXPECT_EQ(report.failures, std::vector<ProbeFailure>{});
}

INSTANTIATE_TEST_SUITE_P(
    Table, EchoAnswers,
    testing::Values(EchoRow{"tcp_v4", Protocol::Tcp, IpFamily::V4, "127.0.0.1"},
                    EchoRow{"tcp_v6", Protocol::Tcp, IpFamily::V6, "::1"},
                    EchoRow{"udp_v4", Protocol::Udp, IpFamily::V4, "127.0.0.1"},
                    EchoRow{"udp_v6", Protocol::Udp, IpFamily::V6, "::1"}),
    [](const auto& row) { return row.param.name; });

TEST_F(Echo, ServesOnUntilItsLingerIsOver) {
  EchoProcess echo({.name = "web-0", .tcp = {port_}, .udp = {}, .linger = 1500ms});
  wait_until_it_listens();
  EXPECT_TRUE(health());
  echo.signal(SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  Result<void> well = health();
  while (well && std::chrono::steady_clock::now() < deadline) well = health();
  EXPECT_THAT(well, FailsWith(ErrorCode::Unavailable, "HTTP status 503"));
  EXPECT_THAT(probe(Protocol::Tcp).replies, ElementsAre(Pair("web-0", 3U)));
  EXPECT_EQ(echo.wait(), 0);
}

TEST_F(Echo, EndsAtOnceOnAnInterrupt) {
  EchoProcess echo({.name = "web-0", .tcp = {port_}, .udp = {}, .linger = 1h});
  wait_until_it_listens();
  echo.signal(SIGINT);
  EXPECT_EQ(echo.wait(), 0);
}

TEST_F(Echo, SaysWhichPortIsTaken) {
  const auto taken = io::listen_tcp({.address = IpAddress::any(IpFamily::V6), .port = port_});
  ASSERT_TRUE(taken);
  const auto done = run_echo({.name = "web-0", .tcp = {port_}, .udp = {}});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, testing::HasSubstr(fmt::format("[::]:{}", port_)));
}

TEST_F(Echo, NobodyThereIsCountedByItsError) {
  const ProbeReport report = probe(Protocol::Tcp, IpFamily::V4, 2);
  EXPECT_EQ(report.answered(), 0U);
  ASSERT_EQ(report.failures.size(), 2U);
  EXPECT_THAT(report.failures.front().error, testing::HasSubstr("refused"));
}

// ---- reports

ProbeReport sample() {
  return {.replies = {{"web-0", 2}, {"web-1", 1}},
          .sources = {{"10.0.0.1", 3}},
          .failures = {{.at = 40ms, .error = "timed out"}},
          .latencies = {300us, 100us, 200us}};
}

TEST(ProbeReport, AsJson) {
  EXPECT_EQ(to_json(sample()),
            R"({"attempts":4,"answered":3,"failed":1,"replies":{"web-0":2,"web-1":1},)"
            R"("sources":{"10.0.0.1":3},"errors":{"timed out":1},)"
            R"("failures":[{"atMilliseconds":40,"error":"timed out"}],)"
            R"("latencyMicroseconds":{"p50":200,"p99":300,"max":300}})"
            "\n");
}

TEST(ProbeReport, AsJsonOfNothing) {
  EXPECT_EQ(to_json({}), R"({"attempts":0,"answered":0,"failed":0,"replies":{},"sources":{},)"
                         R"("errors":{},"failures":[],)"
                         R"("latencyMicroseconds":{"p50":0,"p99":0,"max":0}})"
                         "\n");
}

TEST(ProbeReport, AsATable) {
  EXPECT_EQ(to_table(sample()),
            "web-0                                 2   50.0 %\n"
            "web-1                                 1   25.0 %\n"
            "timed out                             1  failed\n"
            "3 of 4 answered; p50 0.20 ms, p99 0.30 ms, slowest 0.30 ms\n");
}

}  // namespace
}  // namespace fairlead::lab
