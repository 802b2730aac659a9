#include "proxy/health.hpp"

#include <gtest/gtest.h>

#include "proxy/servers.hpp"
#include "unit/plan/model_builder.hpp"

namespace fairlead::proxy {
namespace {

using namespace std::chrono_literals;

const WallTime kNow{std::chrono::seconds{1'700'000'100}};

HealthInputs inputs() {
  return {.sync = {.last_updated = kNow - 90s},
          .sync_period = 30s,
          .now = MonoTime{1000s},
          .wall = kNow,
          .node_eligible = true,
          .families = {IpFamily::V4, IpFamily::V6}};
}

struct Case {
  std::string name;
  std::function<void(HealthInputs&)> edit;
  unsigned healthz = 200, livez = 200;
};

TEST(Health, CodesFollowTheSyncAndTheNode) {
  const std::vector<Case> cases = {
      {.name = "nothing pending, however long ago", .edit = [](auto&) {}},
      {.name = "pending for two periods",
       .edit = [](auto& i) { i.sync.pending_since = i.now - 60s; }},
      {.name = "pending for longer",
       .edit = [](auto& i) { i.sync.pending_since = i.now - 61s; },
       .healthz = 503,
       .livez = 503},
      {.name = "the node is leaving or unknown",
       .edit = [](auto& i) { i.node_eligible = false; },
       .healthz = 503},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    HealthInputs in = inputs();
    c.edit(in);
    EXPECT_EQ(health_response(in, Probe::Healthz).status, c.healthz);
    EXPECT_EQ(health_response(in, Probe::Livez).status, c.livez);
  }
}

TEST(Health, BodyIsThatOfKubeProxy) {
  HealthInputs in = inputs();
  EXPECT_EQ(health_response(in, Probe::Healthz).body,
            R"({"lastUpdated":"2023-11-14T22:15:00.000000000Z",)"
            R"("currentTime":"2023-11-14T22:15:00.000000000Z","nodeEligible":true,"healthy":true,)"
            R"("status":{"IPv4":{"lastUpdated":"2023-11-14T22:15:00.000000000Z","healthy":true},)"
            R"("IPv6":{"lastUpdated":"2023-11-14T22:15:00.000000000Z","healthy":true}}})");
  in.sync.pending_since = in.now - 61s;
  in.families = {IpFamily::V4};
  EXPECT_EQ(
      health_response(in, Probe::Livez).body,
      R"({"lastUpdated":"2023-11-14T22:13:30.000000000Z",)"
      R"("currentTime":"2023-11-14T22:15:00.000000000Z","healthy":false,)"
      R"("status":{"IPv4":{"lastUpdated":"2023-11-14T22:13:30.000000000Z","healthy":false}}})");
}

TEST(ServiceHealth, BodyAndWeight) {
  const auto response = service_health_response(
      {.service = {.namespace_ = "ns", .name = "lb"}, .local_endpoints = 2, .healthy = true});
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(*io::find_header(response.headers, "X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(response.body,
            "{\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"lb\"\n\t},\n"
            "\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(service_health_response({.local_endpoints = 0, .healthy = true}).status, 503U);
  EXPECT_EQ(service_health_response({.local_endpoints = 2, .healthy = false}).status, 503U);
}

TEST(ServiceHealth, ListensWhereNodePortsAnswer) {
  plan::Plan plan;
  plan.nodes[IpFamily::V4].node_port_addresses = {{plan::addr("192.168.50.1")}};
  plan.nodes[IpFamily::V6] = {};
  const auto wanted = wanted_health_checks(
      {{{.namespace_ = "ns", .name = "lb"},
        {.port = Port{31000}, .local_endpoints = {{IpFamily::V4, 2}, {IpFamily::V6, 0}}}}},
      plan);
  ASSERT_EQ(wanted.size(), 2U);
  EXPECT_EQ(wanted.at(*SocketAddress::parse("192.168.50.1:31000")).local_endpoints, 2U);
  EXPECT_EQ(wanted.at(*SocketAddress::parse("[::]:31000")).local_endpoints, 0U);
}

}  // namespace
}  // namespace fairlead::proxy
