// Cluster IPs, families and node ports as they are given out and taken back (spec 4.3 to 4.7).
#include "apiserver/service_allocation.hpp"

#include <set>

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
static void PrintTo(const Bands& bands, std::ostream* out) {
  *out << bands.size << " from " << bands.dynamic_from;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(Bands, AreThoseOfKubernetes) {
  struct Case {
    std::string_view cidr;
    Bands bands;
  };
  const Case cases[] = {
      {"10.96.0.0/16", {.size = 65534, .dynamic_from = 256}},
      {"10.96.0.0/24", {.size = 254, .dynamic_from = 16}},
      {"10.96.0.0/20", {.size = 4094, .dynamic_from = 256}},
      {"10.96.0.0/23", {.size = 510, .dynamic_from = 32}},
      {"10.96.0.0/28", {.size = 14, .dynamic_from = 0}},
      {"10.96.0.0/32", {.size = 0, .dynamic_from = 0}},
      {"fd00::/112", {.size = 65535, .dynamic_from = 256}},
      {"fd00::/64", {.size = (std::uint64_t{1} << 63) - 1, .dynamic_from = 256}},
  };
  for (const Case& c : cases)
    EXPECT_EQ(cluster_ip_bands(*IpPrefix::parse(c.cidr)), c.bands) << c.cidr;
  EXPECT_EQ(node_port_bands({}), (Bands{.size = 2768, .dynamic_from = 86}));
  EXPECT_EQ(node_port_bands({.first = 30000, .last = 30015}),
            (Bands{.size = 16, .dynamic_from = 0}));
  EXPECT_EQ(node_port_bands({.first = 1, .last = 65535}),
            (Bands{.size = 65535, .dynamic_from = 128}));
}

TEST(PickFree, GoesRoundTheDynamicBandThenTheStaticOne) {
  std::set<std::uint64_t> taken;
  std::vector<std::uint64_t> picked;
  const Bands bands{.size = 6, .dynamic_from = 2};
  const auto second = [](std::uint64_t below) { return below - 1; };
  while (const auto offset =
             pick_free(bands, second, [&](std::uint64_t o) { return taken.contains(o); })) {
    taken.insert(*offset);
    picked.push_back(*offset);
  }
  EXPECT_THAT(picked, ElementsAre(5, 2, 3, 4, 1, 0));
}

struct Networking {
  std::string policy;
  std::vector<std::string> families, ips;
  bool operator==(const Networking&) const = default;
};
void PrintTo(const Networking& n, std::ostream* out) {
  *out << n.policy << " " << testing::PrintToString(n.families) << " "
       << testing::PrintToString(n.ips);
}

class ServiceAllocation : public KindsTest {
 protected:
  static std::string manifest(std::string_view name, std::string_view spec) {
    return fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{}}})", name, spec);
  }
  ApiResult<Written> make(std::string_view name, std::string_view spec) {
    return create("services", manifest(name, spec));
  }
  std::vector<std::string> node_ports() { return keys_below("/registry/ranges/servicenodeports/"); }
  // Addresses by what they are: those picked at random as "v4" and "v6".
  static Networking networking(const ApiResult<Written>& answer, bool mask = true) {
    if (!answer) return {};
    const ServiceNetworking n = read_networking(answer->object);
    Networking out{.policy = n.ip_family_policy, .families = n.ip_families, .ips = n.cluster_ips};
    for (std::string& ip : out.ips) {
      if (mask && ip != "None") ip = ip.find(':') == std::string::npos ? "v4" : "v6";
    }
    EXPECT_EQ(n.cluster_ip, n.cluster_ips.empty() ? "" : n.cluster_ips.front());
    return out;
  }
  static std::int64_t node_port(const ApiResult<Written>& answer, std::size_t i = 0) {
    if (!answer) return -1;
    const auto* ports = array_at(answer->object, "spec.ports");
    return int_at(ports->at(i).as_object(), "nodePort").value_or(0);
  }
};

TEST_F(ServiceAllocation, FamiliesFollowFromPolicyListAndAddress) {
  struct Case {
    std::string_view spec;
    Networking dual;                        // on a dual-stack cluster
    Networking single;                      // on a cluster of IPv4
    std::vector<std::string> refused = {};  // there
  };
  const Networking v4{"SingleStack", {"IPv4"}, {"v4"}};
  const Networking both{"PreferDualStack", {"IPv4", "IPv6"}, {"v4", "v6"}};
  const Case cases[] = {
      {R"({"ports":[{"port":1}]})", v4, v4},
      {R"({"ports":[{"port":1}],"ipFamilyPolicy":"PreferDualStack"})",
       both,
       {"PreferDualStack", {"IPv4"}, {"v4"}}},
      {R"({"ports":[{"port":1}],"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6"]})",
       {"RequireDualStack", {"IPv6", "IPv4"}, {"v6", "v4"}},
       {},
       {"FieldValueInvalid spec.ipFamilyPolicy"}},
      {R"({"ports":[{"port":1}],"ipFamilies":["IPv6"]})",
       {"SingleStack", {"IPv6"}, {"v6"}},
       {},
       {"FieldValueInvalid spec.ipFamilies[0]"}},
      {R"({"ports":[{"port":1}],"clusterIP":"fd00:10:96::55"})",
       {"SingleStack", {"IPv6"}, {"v6"}},
       {},
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {R"({"clusterIP":"None","selector":{"a":"b"}})",
       {"SingleStack", {"IPv4"}, {"None"}},
       {"SingleStack", {"IPv4"}, {"None"}}},
      {R"({"clusterIP":"None"})",
       {"RequireDualStack", {"IPv4", "IPv6"}, {"None"}},
       {"RequireDualStack", {"IPv4", "IPv6"}, {"None"}}},
      {R"({"type":"ExternalName","externalName":"db"})", {}, {}},
  };
  for (const bool dual : {true, false}) {
    open(dual ? dual_stack_cluster() : ipv4_cluster());
    for (const Case& c : cases) {
      SCOPED_TRACE(fmt::format("{} on {}", c.spec, dual ? "two families" : "one family"));
      const auto made = make("web", c.spec);
      EXPECT_EQ(refusals(made), dual ? std::vector<std::string>{} : c.refused);
      EXPECT_EQ(networking(made), dual ? c.dual : c.single);
      if (made) EXPECT_TRUE(remove("services", "web"));
    }
  }
}

TEST_F(ServiceAllocation, AServiceGainsAndLosesItsSecondFamily) {
  const auto one = make("web", R"({"ports":[{"port":1}],"clusterIP":"10.96.1.1"})");
  EXPECT_EQ(networking(one, false), (Networking{"SingleStack", {"IPv4"}, {"10.96.1.1"}}));
  const auto two = patch("services", "web",
                         R"({"spec":{"ipFamilyPolicy":"RequireDualStack",
                                     "clusterIPs":["10.96.1.1","fd00:10:96::9"]}})");
  EXPECT_EQ(networking(two, false),
            (Networking{"RequireDualStack", {"IPv4", "IPv6"}, {"10.96.1.1", "fd00:10:96::9"}}))
      << testing::PrintToString(refusals(two));
  EXPECT_THAT(names_of("ipaddresses"), ElementsAre("10.96.1.1", "fd00:10:96::9"));
  const auto again = patch("services", "web", R"({"spec":{"ipFamilyPolicy":"SingleStack"}})");
  EXPECT_EQ(networking(again, false), (Networking{"SingleStack", {"IPv4"}, {"10.96.1.1"}}));
  EXPECT_THAT(names_of("ipaddresses"), ElementsAre("10.96.1.1"));
  ASSERT_TRUE(remove("services", "web"));
  EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
}

TEST_F(ServiceAllocation, AnAddressIsAnObjectThatNamesItsService) {
  ASSERT_TRUE(make("web", R"({"ports":[{"port":1}],"clusterIP":"10.96.1.1"})"));
  auto address = patch("ipaddresses", "10.96.1.1", "{}");
  ASSERT_TRUE(address);
  Document& metadata = address->object["metadata"].as_object();
  EXPECT_EQ(metadata.erase("uid"), 1U);
  EXPECT_EQ(metadata.erase("creationTimestamp"), 1U);
  EXPECT_EQ(address->object, parse_document(R"({
    "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
    "metadata": {"name": "10.96.1.1", "labels": {
      "ipaddress.kubernetes.io/ip-family": "IPv4",
      "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
    "spec": {"parentRef": {"resource": "services", "namespace": "default",
                           "name": "web"}}})"));
}

TEST_F(ServiceAllocation, AWantedAddressMustBeUsableAndFree) {
  ASSERT_TRUE(make("first", R"({"ports":[{"port":1}],"clusterIP":"10.96.1.1"})"));
  ASSERT_TRUE(make("sixth", R"({"ports":[{"port":1}],"clusterIP":"FD00:10:96:0::0055"})"));
  struct Case {
    std::string_view ip;
    std::string_view why;
  };
  const Case cases[] = {
      {"10.97.0.1", "not in the valid range. The range of valid IPs is 10.96.0.0/16"},
      {"10.96.0.0", "not in the valid range"},
      {"10.96.255.255", "not in the valid range"},
      {"fd00:10:96::", "The range of valid IPs is fd00:10:96::/112"},
      {"fd00:10:96::1:0", "not in the valid range"},
      {"10.96.1.1", "already allocated"},
      {"fd00:10:96::55", "already allocated"},  // however it is spelled
  };
  for (const Case& c : cases) {
    const auto made =
        make("second", fmt::format(R"({{"ports":[{{"port":1}}],"clusterIP":"{}"}})", c.ip));
    EXPECT_THAT(refusals(made), ElementsAre("FieldValueInvalid spec.clusterIPs")) << c.ip;
    if (!made) EXPECT_THAT(made.error().message, testing::HasSubstr(c.why)) << c.ip;
  }
  EXPECT_THAT(names_of("ipaddresses"), ElementsAre("10.96.1.1", "fd00:10:96::55"));
  ASSERT_TRUE(remove("services", "first"));
  ASSERT_TRUE(remove("services", "sixth"));
  EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
  EXPECT_TRUE(make("second", R"({"ports":[{"port":1}],"clusterIP":"10.96.1.1"})"));
}

TEST_F(ServiceAllocation, PicksStayOutOfTheStaticBand) {
  for (int i = 0; i < 50; ++i) {
    const auto made = make(fmt::format("s{}", i), R"({"type":"NodePort","ports":[{"port":1}]})");
    ASSERT_TRUE(made);
    const auto ip = IpAddress::parse(string_at(made->object, "spec.clusterIP"));
    ASSERT_TRUE(ip);
    EXPECT_GT(*ip, *IpAddress::parse("10.96.1.0"));
    EXPECT_GE(node_port(made), 30086);
    EXPECT_LE(node_port(made), 32767);
  }
  EXPECT_EQ(names_of("ipaddresses").size(), 50U);
  EXPECT_EQ(node_ports().size(), 50U);
}

TEST_F(ServiceAllocation, AFullRangeSaysSoUntilSomethingIsGivenBack) {
  open({.service_cidrs = {*IpPrefix::parse("10.96.0.0/30")},
        .node_ports = {.first = 30000, .last = 30000}});
  constexpr std::string_view kPlain = R"({"ports":[{"port":1}]})";
  constexpr std::string_view kNodePort = R"({"type":"NodePort","ports":[{"port":1}]})";
  ASSERT_TRUE(make("a", kNodePort));
  EXPECT_THAT(
      refusals(make("b", kNodePort)),
      ElementsAre("500 Internal error occurred: failed to allocate a nodePort: range is full"));
  ASSERT_TRUE(make("b", kPlain));
  EXPECT_THAT(names_of("ipaddresses"), ElementsAre("10.96.0.1", "10.96.0.2"));
  EXPECT_THAT(
      refusals(make("c", kPlain)),
      ElementsAre(
          "500 Internal error occurred: failed to allocate a serviceIP: IPv4 range is full"));
  ASSERT_TRUE(remove("services", "a"));
  EXPECT_TRUE(make("c", kNodePort));
}

TEST_F(ServiceAllocation, NodePortsAreClaimedSharedAndRefused) {
  const auto made = make("dns", R"({"type":"NodePort","ports":[
    {"name":"t","port":53,"protocol":"TCP"},{"name":"u","port":53,"protocol":"UDP","nodePort":30053},
    {"name":"m","port":90}]})");
  ASSERT_TRUE(made) << testing::PrintToString(refusals(made));
  EXPECT_EQ(node_port(made, 0), 30053) << "one port number, one node port";
  EXPECT_EQ(node_port(made, 1), 30053);
  EXPECT_NE(node_port(made, 2), 30053);
  EXPECT_THAT(node_ports(), UnorderedElementsAre("30053", fmt::format("{}", node_port(made, 2))));
  struct Case {
    std::string_view spec, cause;
  };
  const Case cases[] = {
      {R"({"type":"NodePort","ports":[{"port":1,"nodePort":99}]})",
       "FieldValueInvalid spec.ports[0].nodePort"},
      {R"({"type":"NodePort","ports":[{"port":1,"nodePort":32768}]})",
       "FieldValueInvalid spec.ports[0].nodePort"},
      {R"({"type":"NodePort","ports":[{"port":1,"nodePort":30053}]})",
       "FieldValueInvalid spec.ports[0].nodePort"},
      {R"({"type":"NodePort","ports":[{"name":"a","port":1,"nodePort":30055},
                                      {"name":"b","port":2,"nodePort":30055}]})",
       "FieldValueInvalid spec.ports[1].nodePort"},
      {R"({"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":30053,
           "ports":[{"port":1}]})",
       "FieldValueInvalid spec.healthCheckNodePort"},
      {R"({"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":30060,
           "ports":[{"port":1,"nodePort":30060}]})",
       "FieldValueInvalid spec.healthCheckNodePort"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(refusals(make("other", c.spec)), ElementsAre(c.cause)) << c.spec;
  EXPECT_EQ(node_ports().size(), 2U);
  ASSERT_TRUE(remove("services", "dns"));
  EXPECT_THAT(node_ports(), IsEmpty());
}

TEST_F(ServiceAllocation, ALoadBalancerGetsNodePortsUnlessToldNotTo) {
  const auto with = make("with", R"({"type":"LoadBalancer","ports":[{"port":1}]})");
  EXPECT_GE(node_port(with), 30086);
  const auto without =
      make("without", R"({"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,
                          "ports":[{"name":"a","port":1},{"name":"b","port":2,"nodePort":30070}]})");
  EXPECT_EQ(node_port(without, 0), 0);
  EXPECT_EQ(node_port(without, 1), 30070);
  EXPECT_EQ(node_ports().size(), 2U);
}

TEST_F(ServiceAllocation, ReplacingByTheFirstManifestKeepsWhatWasGiven) {
  const std::string first = manifest("web", R"({"type":"LoadBalancer",
    "externalTrafficPolicy":"Local","ipFamilyPolicy":"PreferDualStack",
    "ports":[{"name":"a","port":1},{"name":"b","port":2}]})");
  const auto made = create("services", first);
  ASSERT_TRUE(made);
  const auto held = node_ports();
  EXPECT_EQ(held.size(), 3U) << "two ports and the health check";
  const auto replaced = put("services", "web", parse_document(first));
  ASSERT_TRUE(replaced) << testing::PrintToString(refusals(replaced));
  EXPECT_EQ(replaced->object, made->object);
  EXPECT_EQ(replaced->revision, made->revision);
  EXPECT_EQ(node_ports(), held);
  // By name, not by place.
  const auto swapped = put("services", "web", parse_document(manifest("web", R"({
    "type":"LoadBalancer","externalTrafficPolicy":"Local","ipFamilyPolicy":"PreferDualStack",
    "ports":[{"name":"b","port":2},{"name":"a","port":1}]})")));
  EXPECT_EQ(node_port(swapped, 0), node_port(made, 1));
  EXPECT_EQ(node_port(swapped, 1), node_port(made, 0));
  EXPECT_EQ(node_ports(), held);
}

TEST_F(ServiceAllocation, AChangeOfTypeGivesAndTakesBack) {
  const auto made = make("web", R"({"ports":[{"port":1}],"clusterIP":"10.96.1.1"})");
  ASSERT_TRUE(made);
  EXPECT_THAT(node_ports(), IsEmpty());
  const auto open_to_all = patch("services", "web", R"({"spec":{"type":"NodePort"}})");
  EXPECT_GE(node_port(open_to_all), 30086);
  EXPECT_EQ(node_ports().size(), 1U);
  const auto moved =
      patch("services", "web", R"({"spec":{"ports":[{"port":1,"nodePort":30005}]}})");
  EXPECT_EQ(node_port(moved), 30005) << testing::PrintToString(refusals(moved));
  EXPECT_THAT(node_ports(), ElementsAre("30005"));
  const auto balanced = patch("services", "web", R"({"spec":{"type":"LoadBalancer",
    "externalTrafficPolicy":"Local"}})");
  EXPECT_EQ(node_port(balanced), 30005);
  EXPECT_EQ(node_ports().size(), 2U);
  ASSERT_TRUE(patch("services", "web", R"({"spec":{"externalTrafficPolicy":"Cluster"}})"));
  EXPECT_THAT(node_ports(), ElementsAre("30005"));
  ASSERT_TRUE(patch("services", "web", R"({"spec":{"type":"ClusterIP"}})"));
  EXPECT_THAT(node_ports(), IsEmpty());
  const auto away =
      patch("services", "web", R"({"spec":{"type":"ExternalName","externalName":"db"}})");
  EXPECT_EQ(networking(away), Networking{});
  EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
  const auto back = patch("services", "web", R"({"spec":{"type":"ClusterIP"}})");
  EXPECT_EQ(networking(back), (Networking{"SingleStack", {"IPv4"}, {"v4"}}));
  EXPECT_EQ(names_of("ipaddresses").size(), 1U);
}

TEST_F(ServiceAllocation, AHealthCheckPortAndANodePortOfOneServiceStayApart) {
  ASSERT_TRUE(make("web", R"({"type":"LoadBalancer","externalTrafficPolicy":"Local",
                              "healthCheckNodePort":30060,"ports":[{"port":1,"nodePort":30061}]})"));
  EXPECT_THAT(
      refusals(patch("services", "web", R"({"spec":{"ports":[{"port":1,"nodePort":30060}]}})")),
      ElementsAre("FieldValueInvalid spec.healthCheckNodePort"));
  EXPECT_THAT(node_ports(), ElementsAre("30060", "30061"));
}

TEST_F(ServiceAllocation, ADryRunReservesNothing) {
  const auto made =
      create("services",
             parse_document(manifest("web", R"({"type":"NodePort","ports":[{"port":1}]})")), true);
  ASSERT_TRUE(made) << testing::PrintToString(refusals(made));
  EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
  EXPECT_THAT(node_ports(), IsEmpty());
}

TEST_F(ServiceAllocation, OnlyALoadBalancerHasIngress) {
  ASSERT_TRUE(make("plain", R"({"ports":[{"port":1}]})"));
  constexpr std::string_view kIngress =
      R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}})";
  EXPECT_THAT(refusals(patch("services", "plain", kIngress, "status")),
              ElementsAre("FieldValueForbidden status.loadBalancer.ingress"));
  ASSERT_TRUE(make("lb", R"({"type":"LoadBalancer","ports":[{"port":1}]})"));
  const auto set = patch("services", "lb", kIngress, "status");
  ASSERT_TRUE(set) << testing::PrintToString(refusals(set));
  EXPECT_EQ(set->object.at("status"), parse_document(R"({"loadBalancer":
    {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}})"));
  EXPECT_THAT(refusals(patch("services", "lb", R"({"status":{"loadBalancer":{"ingress":[
        {"ip":"nope"},{"hostname":"192.0.2.1"},{"hostname":"a_b"},{"ipMode":"VIP"},
        {"ip":"192.0.2.2","ipMode":"Magic"}]}}})",
                             "status")),
              ElementsAre("FieldValueInvalid status.loadBalancer.ingress[0].ip",
                          "FieldValueInvalid status.loadBalancer.ingress[1].hostname",
                          "FieldValueInvalid status.loadBalancer.ingress[2].hostname",
                          "FieldValueForbidden status.loadBalancer.ingress[3].ipMode",
                          "FieldValueNotSupported status.loadBalancer.ingress[4].ipMode"));
}

}  // namespace
}  // namespace fairlead::apiserver
