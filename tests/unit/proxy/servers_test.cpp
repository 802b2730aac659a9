// The servers of health-check node ports, over real sockets on loopback.
#include "proxy/servers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const kube::NamespacedName kService{.namespace_ = "ns", .name = "lb"};

SocketAddress loopback(Port port) {
  return {.address = IpAddress::loopback(IpFamily::V4), .port = port};
}

// A port that was free a moment ago, held by `holder` until that is gone.
struct TakenPort {
  io::UniqueFd holder = *io::listen_tcp(loopback(Port{0}), {.dual = false});
  SocketAddress address = *io::local_address(holder);
};

class HealthCheckServersTest : public ::testing::Test {
 protected:
  void reconcile(std::map<SocketAddress, HealthCheckServers::Wanted> wanted) {
    loop_.run(servers_.reconcile(std::move(wanted)));
  }
  std::optional<io::HttpResponse> ask(const SocketAddress& where, std::string method = "GET") {
    auto client =
        *io::HttpClient::create(loop_.executor(), {.host = "127.0.0.1", .port = where.port});
    auto answer =
        loop_.run(client->send({.method = std::move(method), .target = "/any/thing"}, 5s));
    return answer && *answer ? std::optional(**answer) : std::nullopt;
  }
  void TearDown() override { loop_.run(servers_.close()); }

  test::Loop loop_;
  bool healthy_ = true;
  std::vector<std::string> failures_;
  HealthCheckServers servers_{
      {.executor = loop_.executor(),
       .healthy = [this] { return healthy_; },
       .on_failure = [this](const auto& service,
                            const Error&) { failures_.push_back(service.to_string()); }}};
};

TEST_F(HealthCheckServersTest, TellOfLocalEndpointsOnAnyPath) {
  const SocketAddress where = TakenPort().address;
  reconcile({{where, {.service = kService, .local_endpoints = 2}}});
  const auto two = ask(where, "POST");
  ASSERT_TRUE(two);
  EXPECT_EQ(two->status, 200U);
  EXPECT_EQ(io::find_header(two->headers, "X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(io::find_header(two->headers, "Content-Type"), "application/json");
  EXPECT_EQ(io::find_header(two->headers, "X-Content-Type-Options"), "nosniff");
  healthy_ = false;
  EXPECT_EQ(ask(where)->status, 503U);
  healthy_ = true;
  reconcile({{where, {.service = kService, .local_endpoints = 0}}});
  EXPECT_EQ(ask(where)->status, 503U);
  reconcile({});
  EXPECT_FALSE(ask(where)) << "closed with the service";
}

TEST_F(HealthCheckServersTest, TakenPortIsTriedOnAndToldOfWhenItLasts) {
  std::optional<TakenPort> taken(std::in_place);
  const SocketAddress where = taken->address;
  const std::map<SocketAddress, HealthCheckServers::Wanted> wanted = {
      {where, {.service = kService, .local_endpoints = 1}}};
  reconcile(wanted);
  EXPECT_EQ(servers_.retry_in(), Duration{250ms});
  reconcile(wanted);
  EXPECT_EQ(servers_.retry_in(), Duration{500ms});
  EXPECT_THAT(failures_, IsEmpty()) << "the process before this one may still end";
  reconcile(wanted);
  reconcile(wanted);
  EXPECT_THAT(failures_, ElementsAre("ns/lb", "ns/lb"));
  for (int i = 0; i < 20; ++i) reconcile(wanted);
  EXPECT_EQ(servers_.retry_in(), Duration{30s});
  failures_.clear();
  taken.reset();
  reconcile(wanted);
  EXPECT_THAT(failures_, IsEmpty());
  EXPECT_EQ(servers_.retry_in(), std::nullopt);
  EXPECT_EQ(ask(where)->status, 200U);
}

}  // namespace
}  // namespace fairlead::proxy
