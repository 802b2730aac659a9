#include "proxy/node_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/plan/model_builder.hpp"

namespace fairlead::proxy {
namespace {

using plan::addr;
using Addresses = std::optional<std::vector<IpAddress>>;

const HostFacts kHost{.node_name = "n1",
                      .families = {IpFamily::V4, IpFamily::V6},
                      .interface_addresses = {addr("127.0.0.1"), addr("192.168.50.1"),
                                              addr("10.0.1.1"), addr("::1"), addr("fd00:50::1")}};
const model::Node kNode{
    .known = true,
    .zone = "z1",
    .addresses = {addr("192.168.50.1"), addr("192.168.60.1"), addr("fd00:50::1")},
    .pod_cidrs = {*IpPrefix::parse("10.1.0.0/24"), *IpPrefix::parse("fd00:1::/64")}};

struct NodePortCase {
  std::string name;
  std::vector<std::string> configured;
  std::string bind_address = "0.0.0.0";
  std::string mode;
  model::Node node = kNode;
  Addresses v4, v6;
};

TEST(NodeSettings, NodePortAddresses) {
  const std::vector<NodePortCase> cases = {
      {.name = "primary by default", .v4 = {{addr("192.168.50.1")}}, .v6 = {{addr("fd00:50::1")}}},
      {.name = "primary by name",
       .configured = {"primary"},
       .v4 = {{addr("192.168.50.1")}},
       .v6 = {{addr("fd00:50::1")}}},
      {.name = "a bind address replaces the node's",
       .bind_address = "10.0.1.1",
       .v4 = {{addr("10.0.1.1")}},
       .v6 = {{addr("fd00:50::1")}}},
      {.name = "no node IP known: everywhere", .node = {}},
      {.name = "CIDRs pick interface addresses; the other family stays open",
       .configured = {"10.0.0.0/8"},
       .v4 = {{addr("10.0.1.1")}}},
      {.name = "a CIDR without an address here: nowhere",
       .configured = {"172.16.0.0/12"},
       .v4 = Addresses(std::in_place)},
      {.name = "loopback never",
       .configured = {"127.0.0.0/8", "::1/128"},
       .v4 = Addresses(std::in_place),
       .v6 = Addresses(std::in_place)},
      {.name = "iptables: everywhere by default", .mode = "iptables"},
      {.name = "iptables: loopback on request, IPv4 only",
       .configured = {"127.0.0.0/8", "::1/128"},
       .mode = "iptables",
       .v4 = {{addr("127.0.0.1")}},
       .v6 = Addresses(std::in_place)},
      {.name = "a range of length 0 is everywhere", .configured = {"0.0.0.0/0", "10.0.0.0/8"}},
  };
  for (const NodePortCase& c : cases) {
    SCOPED_TRACE(c.name);
    Config config;
    config.node_port_addresses = c.configured;
    config.bind_address = c.bind_address;
    config.mode = c.mode;
    const auto settings = node_settings(config, kHost, c.node);
    ASSERT_TRUE(settings);
    EXPECT_EQ(settings->context.families.at(IpFamily::V4).node_port_addresses, c.v4);
    EXPECT_EQ(settings->context.families.at(IpFamily::V6).node_port_addresses, c.v6);
  }
}

TEST(NodeSettings, DetectorFollowsTheMode) {
  const auto detector = [](auto edit, IpFamily family) {
    Config config;
    edit(config);
    return node_settings(config, kHost, kNode)->context.families.at(family).detector;
  };
  const auto cluster = [](Config& c) { c.cluster_cidr = "10.0.0.0/8"; };
  EXPECT_EQ(detector(cluster, IpFamily::V4),
            (plan::LocalDetector{.source_prefix = *IpPrefix::parse("10.0.0.0/8")}));
  EXPECT_FALSE(detector(cluster, IpFamily::V6).implemented());
  const auto node = [](Config& c) { c.detect_local_mode = "NodeCIDR"; };
  EXPECT_EQ(detector(node, IpFamily::V6),
            (plan::LocalDetector{.source_prefix = *IpPrefix::parse("fd00:1::/64")}));
  const auto bridge = [](Config& c) {
    c.detect_local_mode = "BridgeInterface";
    c.detect_local.bridge_interface = "br0";
  };
  EXPECT_EQ(detector(bridge, IpFamily::V4), (plan::LocalDetector{.interface_name = "br0"}));
  const auto prefix = [](Config& c) {
    c.detect_local_mode = "InterfaceNamePrefix";
    c.detect_local.interface_name_prefix = "veth";
  };
  EXPECT_EQ(detector(prefix, IpFamily::V6), (plan::LocalDetector{.interface_prefix = "veth"}));
}

TEST(NodeSettings, PrimaryFamilyIsTheFirstAddressUnlessBound) {
  Config config;
  EXPECT_EQ(node_settings(config, kHost, kNode)->primary, IpFamily::V4);
  model::Node v6_first = kNode;
  std::ranges::reverse(v6_first.addresses);
  EXPECT_EQ(node_settings(config, kHost, v6_first)->primary, IpFamily::V6);
  config.bind_address = "192.168.50.1";
  EXPECT_EQ(node_settings(config, kHost, v6_first)->primary, IpFamily::V4);
}

TEST(NodeSettings, ClusterCidrOfAFamilyTheHostLacksIsRefused) {
  Config config;
  config.cluster_cidr = "fd00::/8";
  HostFacts host = kHost;
  host.families = {IpFamily::V4};
  const auto settings = node_settings(config, host, kNode);
  ASSERT_FALSE(settings);
  EXPECT_THAT(settings.error().message, testing::HasSubstr("clusterCIDR: \"fd00::/8\""));
}

TEST(NodeName, IsTrimmedAndLowerCase) {
  Config config;
  EXPECT_EQ(*node_name(config, "Host-A"), "host-a");
  config.hostname_override = " N1 ";
  EXPECT_EQ(*node_name(config, "host"), "n1");
  EXPECT_FALSE(node_name(Config{}, " "));
}

}  // namespace
}  // namespace fairlead::proxy
