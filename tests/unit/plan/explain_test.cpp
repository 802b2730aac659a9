#include "proxy/plan/explain.hpp"

#include <gtest/gtest.h>

namespace fairlead::plan {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

const Backend kLocalPod{.address = ip("10.0.1.2"), .port = Port{8080}, .local = true};
const Backend kRemotePod{.address = ip("10.0.2.2"), .port = Port{8080}, .local = false};

// One LoadBalancer service with policy Local, source ranges and a local endpoint; one service
// without endpoints.
Plan make_plan() {
  Plan plan;
  plan.nodes[IpFamily::V4] =
      NodePlan{.detector = {.source_prefix = *IpPrefix::parse("10.0.0.0/16")},
               .service_cidrs = {*IpPrefix::parse("10.96.0.0/16")}};
  const PlanKey lb{.service_port = {.namespace_ = "ns", .name = "lb", .port = "http"}};
  plan.services[lb] = std::make_shared<const ServicePlan>(ServicePlan{
      .key = lb,
      .affinity = std::chrono::seconds{60},
      .cluster_pool = {kLocalPod, kRemotePod},
      .local_pool = {kLocalPod},
      .frontends = {
          {.kind = FrontendKind::ClusterIp,
           .address = ip("10.96.0.10"),
           .port = Port{80},
           .target = Target::ClusterPool,
           .masquerade = Masquerade::OffCluster},
          {.kind = FrontendKind::LoadBalancerIp,
           .address = ip("198.51.100.9"),
           .port = Port{80},
           .target = Target::LocalPool,
           .short_circuit = true,
           .source_ranges = {*IpPrefix::parse("192.168.50.0/24"), *IpPrefix::parse("10.0.0.0/16")}},
          {.kind = FrontendKind::NodePort,
           .port = Port{30080},
           .target = Target::LocalPool,
           .short_circuit = true},
      }});
  const PlanKey none{.service_port = {.namespace_ = "ns", .name = "none", .port = ""}};
  plan.services[none] = std::make_shared<const ServicePlan>(ServicePlan{
      .key = none,
      .frontends = {{.address = ip("10.96.0.11"), .port = Port{80}, .target = Target::Reject},
                    {.kind = FrontendKind::ExternalIp,
                     .address = ip("198.51.100.7"),
                     .port = Port{80},
                     .target = Target::Drop}}});
  return plan;
}

const NodeAddresses kNode{.local = {ip("192.168.50.1"), ip("10.0.1.1")}};

struct Case {
  std::string name;
  std::string source, destination;
  Protocol protocol = Protocol::Tcp;
  Verdict verdict = Verdict::Forward;
  std::vector<EndpointShare> endpoints;
};

TEST(Explain, SaysWhereAPacketGoes) {
  const EndpointShare local{.backend = kLocalPod, .probability = 0.5};
  const EndpointShare remote{.backend = kRemotePod, .probability = 0.5};
  const auto masqueraded = [](EndpointShare share) {
    share.masqueraded = true;
    return share;
  };
  const EndpointShare only_local{.backend = kLocalPod, .probability = 1};
  const std::vector<Case> cases = {
      {.name = "a pod keeps its address",
       .source = "10.0.1.3",
       .destination = "10.96.0.10:80",
       .endpoints = {local, remote}},
      {.name = "a pod that may reach itself is masqueraded there (hairpin)",
       .source = "10.0.1.2",
       .destination = "10.96.0.10:80",
       .endpoints = {masqueraded(local), remote}},
      {.name = "the node is no pod",
       .source = "192.168.50.1",
       .destination = "10.96.0.10:80",
       .endpoints = {masqueraded(local), masqueraded(remote)}},
      {.name = "another port of a cluster IP",
       .source = "10.0.1.3",
       .destination = "10.96.0.10:81",
       .verdict = Verdict::Reject},
      {.name = "another protocol",
       .source = "10.0.1.3",
       .destination = "10.96.0.10:80",
       .protocol = Protocol::Udp,
       .verdict = Verdict::Reject},
      {.name = "an unallocated cluster IP",
       .source = "10.0.1.3",
       .destination = "10.96.0.99:80",
       .verdict = Verdict::Drop},
      {.name = "outside, policy Local",
       .source = "192.168.50.100",
       .destination = "198.51.100.9:80",
       .endpoints = {only_local}},
      {.name = "outside, not in the ranges",
       .source = "192.168.51.1",
       .destination = "198.51.100.9:80",
       .verdict = Verdict::Drop},
      {.name = "a pod takes the short cut",
       .source = "10.0.1.3",
       .destination = "198.51.100.9:80",
       .endpoints = {local, remote}},
      {.name = "the node takes it masqueraded",
       .source = "192.168.50.1",
       .destination = "198.51.100.9:80",
       .endpoints = {masqueraded(local), masqueraded(remote)}},
      {.name = "a node port on any address of the node",
       .source = "192.168.51.1",
       .destination = "10.0.1.1:30080",
       .endpoints = {only_local}},
      {.name = "never on loopback",
       .source = "127.0.0.1",
       .destination = "127.0.0.1:30080",
       .verdict = Verdict::NotAService},
      {.name = "no endpoints",
       .source = "10.0.1.3",
       .destination = "10.96.0.11:80",
       .verdict = Verdict::Reject},
      {.name = "no local endpoints",
       .source = "192.168.50.100",
       .destination = "198.51.100.7:80",
       .verdict = Verdict::Drop},
      {.name = "somewhere else",
       .source = "10.0.1.3",
       .destination = "192.0.2.1:80",
       .verdict = Verdict::NotAService},
      {.name = "a family that is not programmed",
       .source = "fd00::1",
       .destination = "[fd00::2]:80",
       .verdict = Verdict::NotAService},
  };
  const Plan plan = make_plan();
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Explanation got = explain(plan,
                                    {.protocol = c.protocol,
                                     .source = ip(c.source),
                                     .destination = *SocketAddress::parse(c.destination)},
                                    kNode);
    EXPECT_EQ(to_string(got.verdict), to_string(c.verdict)) << got.reason;
    EXPECT_EQ(got.endpoints, c.endpoints) << to_text(got);
    EXPECT_FALSE(got.reason.empty());
  }
}

TEST(Explain, NodePortsMayBeLimitedToAddresses) {
  Plan plan = make_plan();
  plan.nodes[IpFamily::V4].node_port_addresses = {ip("192.168.50.1")};
  const auto verdict_at = [&](std::string_view destination) {
    return explain(
               plan,
               {.source = ip("192.168.51.1"), .destination = *SocketAddress::parse(destination)},
               kNode)
        .verdict;
  };
  EXPECT_EQ(verdict_at("192.168.50.1:30080"), Verdict::Forward);
  EXPECT_EQ(verdict_at("10.0.1.1:30080"), Verdict::NotAService);
}

TEST(Explain, NodePortsAnswerOnLoopbackWhereTheModeDoesSo) {
  const auto verdict_at = [plan = make_plan()](std::string_view destination, bool localhost) {
    return explain(plan,
                   {.source = ip("127.0.0.1"), .destination = *SocketAddress::parse(destination)},
                   {.local = kNode.local, .localhost_node_ports = localhost})
        .verdict;
  };
  EXPECT_EQ(verdict_at("127.0.0.1:30080", true), Verdict::Forward);
  EXPECT_EQ(verdict_at("127.0.0.1:30080", false), Verdict::NotAService);
  EXPECT_EQ(verdict_at("192.168.50.1:30080", true), Verdict::Forward);
}

TEST(Explain, NamesTheSourceRangesThatAPacketIsNotIn) {
  const Explanation got = explain(
      make_plan(),
      {.source = ip("192.168.51.1"), .destination = *SocketAddress::parse("198.51.100.9:80")},
      kNode);
  EXPECT_EQ(got.reason,
            "192.168.51.1 is in none of the service's loadBalancerSourceRanges (192.168.50.0/24, "
            "10.0.0.0/16)");
}

TEST(Explain, PrintsJsonWithEveryEndpoint) {
  const Explanation got = explain(
      make_plan(),
      {.source = ip("10.0.1.3"), .destination = *SocketAddress::parse("10.96.0.10:80")}, kNode);
  EXPECT_EQ(
      to_json(got),
      R"({"verdict":"forward","reason":"the client's address is kept","service":{"namespace":"ns","name":"lb",)"
      R"("port":"http","protocol":"TCP","family":"IPv4"},"frontend":{"kind":"cluster IP","address":"10.96.0.10",)"
      R"("port":80},"endpoints":[{"address":"10.0.1.2","port":8080,"local":true,"probability":0.500000,)"
      R"("masqueraded":false},{"address":"10.0.2.2","port":8080,"local":false,"probability":0.500000,)"
      R"("masqueraded":false}],"affinitySeconds":60})");
}

}  // namespace
}  // namespace fairlead::plan
