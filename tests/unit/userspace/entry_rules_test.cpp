#include "proxy/modes/userspace/entry_rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::userspace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class FixedPorts final : public Ports {
 public:
  TcpPorts tcp(IpFamily) const override {
    return {.pool = {.first = Port{1000}}, .short_cut = {.first = Port{1100}}};
  }
  std::optional<Port> udp(const UdpEntry& entry) const override {
    return Port{static_cast<std::uint16_t>(entry.pool == PoolKind::Cluster ? 2000 : 2001)};
  }
};

plan::ServicePlan with(plan::Frontend frontend, Protocol protocol = Protocol::Tcp) {
  plan::ServicePlan out;
  out.key.service_port = {.namespace_ = "ns", .name = "s", .port = {}, .protocol = protocol};
  out.frontends.push_back(std::move(frontend));
  return out;
}

std::vector<std::string> texts(const plan::ServicePlan& plan) {
  std::vector<std::string> out;
  for (const Element& element : elements_of(plan, FixedPorts())) {
    out.push_back(element.set + " { " + element.text() + " }");
  }
  return out;
}

plan::Frontend frontend(plan::FrontendKind kind, plan::Target target, bool short_circuit = false) {
  return {.kind = kind,
          .address = kind == plan::FrontendKind::NodePort ? IpAddress::any(IpFamily::V4)
                                                          : *IpAddress::parse("192.0.2.7"),
          .port = Port{80},
          .target = target,
          .short_circuit = short_circuit};
}

using enum plan::FrontendKind;
using plan::Target;

TEST(EntryElements, AClusterIpLeadsToThePoolAndIsKnown) {
  EXPECT_THAT(
      texts(with(frontend(ClusterIp, Target::ClusterPool))),
      ElementsAre("cluster-ips { 192.0.2.7 }", "routes { 192.0.2.7 . tcp . 80 : goto tcp-pool }"));
}

TEST(EntryElements, FrontendsOfOnePoolHaveOneSocketEachWayOfKeepingAddresses) {
  auto plan = with(frontend(ClusterIp, Target::ClusterPool), Protocol::Udp);
  plan.frontends.push_back(frontend(ExternalIp, Target::ClusterPool));
  plan.frontends.push_back(frontend(NodePort, Target::ClusterPool));
  for (plan::Frontend& each : plan.frontends) each.masquerade = plan::Masquerade::Always;
  plan.frontends[0].masquerade = plan::Masquerade::Never;
  EXPECT_THAT(udp_entries(plan),
              testing::UnorderedElementsAre(
                  UdpEntry{.key = plan.key, .source = source_rule(plan.frontends[0])},
                  UdpEntry{.key = plan.key, .source = source_rule(plan.frontends[1])}));
  EXPECT_EQ(source_rule(plan.frontends[1]), source_rule(plan.frontends[2]));
}

TEST(EntryElements, DatagramsAreToldApartByThePortOfTheirSockets) {
  EXPECT_THAT(
      texts(with(frontend(ExternalIp, Target::LocalPool, true), Protocol::Udp)),
      ElementsAre("routes { 192.0.2.7 . udp . 80 : goto udp-either }",
                  "udp-pools { 192.0.2.7 . 80 : 2001 }", "udp-shorts { 192.0.2.7 . 80 : 2000 }"));
}

TEST(EntryElements, ANodePortHasNoAddress) {
  EXPECT_THAT(
      texts(with(frontend(NodePort, Target::ClusterPool), Protocol::Udp)),
      ElementsAre("node-routes { udp . 80 : goto node-udp-pool }", "node-udp-pools { 80 : 2000 }"));
}

TEST(EntryElements, WhoIsTurnedAwayIsNotForwarded) {
  EXPECT_THAT(texts(with(frontend(ExternalIp, Target::Reject))),
              ElementsAre("turned-away { 192.0.2.7 . tcp . 80 : goto reject-it }"));
  EXPECT_THAT(texts(with(frontend(NodePort, Target::Drop))),
              ElementsAre("node-turned-away { tcp . 80 : drop }"));
}

TEST(EntryElements, TheShortCutOfADroppingFrontendIsForwarded) {
  EXPECT_THAT(texts(with(frontend(ExternalIp, Target::Drop, true))),
              ElementsAre("routes { 192.0.2.7 . tcp . 80 : goto tcp-short }",
                          "turned-away { 192.0.2.7 . tcp . 80 : drop }"));
}

TEST(EntryElements, RangesWithinOthersAreLeftOut) {
  plan::Frontend balancer = frontend(LoadBalancerIp, Target::ClusterPool);
  balancer.source_ranges = {*IpPrefix::parse("10.0.0.0/8"), *IpPrefix::parse("10.1.0.0/16"),
                            *IpPrefix::parse("198.51.100.1/32")};
  EXPECT_THAT(texts(with(balancer)),
              ElementsAre("admitted { 192.0.2.7 . tcp . 80 . 10.0.0.0/8 }",
                          "admitted { 192.0.2.7 . tcp . 80 . 198.51.100.1 }",
                          "restricted { 192.0.2.7 . tcp . 80 }",
                          "routes { 192.0.2.7 . tcp . 80 : goto tcp-pool }"));
}

TEST(EntryElements, SctpIsNotForwardedAndItsClusterIpIsKnown) {
  EXPECT_THAT(texts(with(frontend(ClusterIp, Target::ClusterPool), Protocol::Sctp)),
              ElementsAre("cluster-ips { 192.0.2.7 }"));
}

TEST(EntryChanges, DeletionsComeFirstAndElementsOfASetShareALine) {
  EXPECT_EQ(change_text(IpFamily::V6, {{.set = "a", .key = "1", .value = "drop"}},
                        {{.set = "a", .key = "1", .value = "goto x"},
                         {.set = "a", .key = "2", .value = "drop"},
                         {.set = "b", .key = "3", .value = {}}}),
            "delete element ip6 fairlead-userspace a { 1 : drop }\n"
            "add element ip6 fairlead-userspace a { 1 : goto x, 2 : drop }\n"
            "add element ip6 fairlead-userspace b { 3 }\n");
}

TEST(EntryTable, TheDetectorDecidesWhoTakesTheShortCut) {
  plan::NodePlan node;
  node.detector.interface_prefix = "veth";
  const std::string text = table_text(
      IpFamily::V4, node, {.pool = {.first = Port{100}}, .short_cut = {.first = Port{200}}});
  EXPECT_THAT(text, HasSubstr("    fib saddr type local meta l4proto tcp redirect to :200-207\n"
                              "    iifname \"veth*\" meta l4proto tcp redirect to :200-207\n"
                              "    meta l4proto tcp redirect to :100-107\n"));
}

TEST(EntryTable, AnswersToClientsThatSocketsSpeakAsAreMarkedIfAskedFor) {
  EXPECT_THAT(table_text(IpFamily::V4, {}, {}, true),
              HasSubstr("socket transparent 1 meta mark set meta mark or 0x2000"));
  EXPECT_THAT(table_text(IpFamily::V4, {}, {}, false), Not(HasSubstr("socket")));
}

TEST(EntryTable, NodePortsAnswerWhereTheyShall) {
  plan::NodePlan node;
  EXPECT_THAT(table_text(IpFamily::V6, node, {}),
              HasSubstr("fib daddr type local ip6 daddr != ::1 meta l4proto . th dport vmap"));
  node.node_port_addresses = {*IpAddress::parse("192.0.2.1"), *IpAddress::parse("192.0.2.2")};
  EXPECT_THAT(table_text(IpFamily::V4, node, {}),
              HasSubstr("ip daddr { 192.0.2.1, 192.0.2.2 } meta"));
  node.node_port_addresses = std::vector<IpAddress>();
  EXPECT_THAT(table_text(IpFamily::V4, node, {}), Not(HasSubstr("vmap @node-routes")));
}

}  // namespace
}  // namespace fairlead::userspace
