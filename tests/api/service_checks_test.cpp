// What the registry of Services gives, keeps and refuses: checks S of docs/apiserver-checks.md.
#include <boost/json/serialize.hpp>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;

const std::vector<std::string> kDualStack{"--service-cluster-ip-range",
                                          "10.96.0.0/16,fd00:10:96::/112"};
constexpr std::string_view kAddresses = "/apis/networking.k8s.io/v1/ipaddresses";

struct Refusal {
  std::string_view spec, outcome;
};

class ServiceChecks : public HttpTest {
 protected:
  void expect(std::initializer_list<Refusal> cases) {
    for (const Refusal& c : cases)
      EXPECT_EQ(create_service("bad", c.spec).outcome(), c.outcome) << c.spec;
  }
  Answer patch_spec(std::string_view name, std::string_view spec) {
    return patch(service_path(name), fmt::format(R"({{"spec":{}}})", spec));
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, ServiceChecks, both_stores(), name_of);

TEST_P(ServiceChecks, PortsAndAddressesAreRefusedByTheirField) {
  start();
  ASSERT_EQ(create_service("a", R"({"clusterIP":"10.96.0.7","ports":[{"port":80}]})").status, 201U);
  expect({
      {R"({"ports":[]})", "422 Invalid spec.ports Required"},
      {R"({"ports":[{"port":1},{"port":2}]})",
       "422 Invalid spec.ports[0].name Required, spec.ports[1].name Required"},
      {R"({"ports":[{"name":"a","port":1},{"name":"a","port":2}]})",
       "422 Invalid spec.ports[1].name Duplicate"},
      {R"({"ports":[{"name":"a","port":1},{"name":"b","port":1}]})",
       "422 Invalid spec.ports[1] Duplicate"},
      {R"({"clusterIP":"10.97.0.1","ports":[{"port":1}]})", "422 Invalid spec.clusterIPs Invalid"},
      {R"({"clusterIP":"10.96.0.0","ports":[{"port":1}]})", "422 Invalid spec.clusterIPs Invalid"},
      {R"({"clusterIP":"10.96.255.255","ports":[{"port":1}]})",
       "422 Invalid spec.clusterIPs Invalid"},
      {R"({"clusterIP":"10.96.0.7","ports":[{"port":1}]})", "422 Invalid spec.clusterIPs Invalid"},
      {R"({"clusterIP":"010.96.0.9","ports":[{"port":1}]})",
       "422 Invalid spec.clusterIPs[0] Invalid"},
      {R"({"clusterIPs":["10.96.0.9"],"ports":[{"port":1}]})",
       "422 Invalid spec.clusterIPs Invalid"},
      {R"({"clusterIP":"None","type":"NodePort","ports":[{"port":1}]})",
       "422 Invalid spec.clusterIPs[0] Invalid"},
  });
}

TEST_P(ServiceChecks, AnAddressIsAnObjectAndFreeWithItsService) {
  start(kDualStack);
  const Answer made =
      create_service("a", R"({"ipFamilyPolicy":"PreferDualStack","ports":[{"port":80}]})");
  ASSERT_EQ(made.status, 201U) << made.text;
  for (const int i : {0, 1}) {
    const std::string ip = made.at(fmt::format("/spec/clusterIPs/{}", i));
    const Answer address = get(fmt::format("{}/{}", kAddresses, ip));
    EXPECT_EQ(address.value_at("/metadata/labels"),
              boost::json::parse(
                  fmt::format(R"({{"ipaddress.kubernetes.io/ip-family":"{}",)"
                              R"("ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}})",
                              i == 0 ? "IPv4" : "IPv6")));
    EXPECT_EQ(address.at("/spec/parentRef/resource") + " " +
                  address.at("/spec/parentRef/namespace") + " " +
                  address.at("/spec/parentRef/name"),
              "services default a");
  }
  const std::string ip = made.at("/spec/clusterIP");
  ASSERT_EQ(call("DELETE", service_path("a")).status, 200U);
  EXPECT_EQ(get(fmt::format("{}/{}", kAddresses, ip)).outcome(), "404 NotFound");
  EXPECT_EQ(create_service("b", fmt::format(R"({{"clusterIP":"{}","ports":[{{"port":80}}]}})", ip))
                .status,
            201U);
}

TEST_P(ServiceChecks, NodePortsComeFromTheirBandOrAreRefused) {
  start();
  const Answer made = create_service("a", R"({"type":"NodePort","ports":[{"port":80}]})");
  const std::string given = made.at("/spec/ports/0/nodePort");
  EXPECT_THAT(std::stoi(given), AllOf(Ge(30086), Le(32767)));
  const auto nodeport = [](std::string_view type, std::string_view port) {
    return fmt::format(R"({{"type":"{}","ports":[{{"port":80,"nodePort":{}}}]}})", type, port);
  };
  const Answer outside = create_service("b", nodeport("NodePort", "99"));
  EXPECT_EQ(outside.outcome(), "422 Invalid spec.ports[0].nodePort Invalid");
  EXPECT_THAT(outside.at("/message"), HasSubstr("not in the valid range"));
  const Answer used = create_service("b", nodeport("NodePort", given));
  EXPECT_EQ(used.outcome(), "422 Invalid spec.ports[0].nodePort Invalid");
  EXPECT_THAT(used.at("/message"), HasSubstr("already allocated"));
  EXPECT_EQ(create_service("b", nodeport("ClusterIP", "30001")).outcome(),
            "422 Invalid spec.ports[0].nodePort Forbidden");
  // Replaced by the manifest that it was made from.
  const Answer again =
      call("PUT", service_path("a"),
           R"({"metadata":{"name":"a"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  EXPECT_EQ(again.status, 200U);
  EXPECT_EQ(again.at("/spec/clusterIP") + again.at("/spec/ports/0/nodePort"),
            made.at("/spec/clusterIP") + given);
}

// More than an etcd takes in one transaction, one by one: 128.
TEST_P(ServiceChecks, AServiceMayHaveHundredsOfNodePorts) {
  start();
  std::string ports;
  for (int i = 0; i < 300; ++i)
    ports += fmt::format(R"({}{{"name":"p{}","port":{}}})", i == 0 ? "" : ",", i, 1000 + i);
  const Answer made =
      create_service("many", fmt::format(R"({{"type":"NodePort","ports":[{}]}})", ports));
  ASSERT_EQ(made.outcome(), "201");
  std::set<std::string> taken;
  for (int i = 0; i < 300; ++i) taken.insert(made.at(fmt::format("/spec/ports/{}/nodePort", i)));
  EXPECT_EQ(taken.size(), 300U);
  const auto other = [this](std::string_view port) {
    return create_service("other", fmt::format(R"({{"type":"NodePort","ports":[{{"port":1,)"
                                               R"("nodePort":{}}}]}})",
                                               port))
        .outcome();
  };
  EXPECT_EQ(other(*taken.begin()), "422 Invalid spec.ports[0].nodePort Invalid");
  ASSERT_EQ(call("DELETE", service_path("many")).outcome(), "200");
  EXPECT_EQ(other(*taken.begin()), "201");
}

TEST_P(ServiceChecks, LoadBalancersHaveTheirOwnFields) {
  start();
  const Answer local = create_service(
      "local", R"({"type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}]})");
  EXPECT_THAT(std::stoi(local.at("/spec/healthCheckNodePort")), AllOf(Ge(30000), Le(32767)));
  EXPECT_NE(local.at("/spec/ports/0/nodePort"), "");
  EXPECT_EQ(patch_spec("local", R"({"healthCheckNodePort":30001})").outcome(),
            "422 Invalid spec.healthCheckNodePort Forbidden");
  constexpr std::string_view kBare =
      R"({"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"port":80}]})";
  EXPECT_EQ(create_service("bare", kBare).at("/spec/ports/0/nodePort"), "");
  EXPECT_EQ(
      create_service("chosen", R"({"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,
      "ports":[{"port":80,"nodePort":30001}]})")
          .at("/spec/ports/0/nodePort"),
      "30001");
  expect({
      {R"({"loadBalancerSourceRanges":["10.0.0.0/8"],"ports":[{"port":80}]})",
       "422 Invalid spec.LoadBalancerSourceRanges Forbidden"},
      {R"({"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.300/8"],"ports":[{"port":80}]})",
       "422 Invalid spec.LoadBalancerSourceRanges[0] Invalid"},
  });
  ASSERT_EQ(
      create_service(
          "c", R"({"type":"LoadBalancer","loadBalancerClass":"x.io/y","ports":[{"port":80}]})")
          .at("/spec/loadBalancerClass"),
      "x.io/y");
  const Answer changed = patch_spec("c", R"({"loadBalancerClass":"x.io/z"})");
  EXPECT_EQ(changed.outcome(), "422 Invalid spec.loadBalancerClass Invalid");
  EXPECT_THAT(changed.at("/message"), HasSubstr("may not change once set"));
  EXPECT_EQ(patch_spec("c", R"({"type":"ClusterIP"})").at("/spec/loadBalancerClass"), "");
}

TEST_P(ServiceChecks, ATypeTakesItsAddressesAlong) {
  start();
  const std::string ip = create_service("a").at("/spec/clusterIP");
  const Answer external =
      patch_spec("a", R"({"type":"ExternalName","externalName":"db.example.com"})");
  EXPECT_EQ(external.status, 200U);
  for (const char* field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"})
    EXPECT_EQ(external.at(fmt::format("/spec/{}", field)), "") << field;
  EXPECT_EQ(get(fmt::format("{}/{}", kAddresses, ip)).outcome(), "404 NotFound");
  const Answer back = patch_spec("a", R"({"type":"ClusterIP","externalName":null})");
  const std::string given = back.at("/spec/clusterIP");
  EXPECT_THAT(given, testing::StartsWith("10.96."));
  const Answer other = patch_spec("a", R"({"clusterIP":"10.96.0.99"})");
  EXPECT_EQ(other.outcome(), "422 Invalid spec.clusterIPs[0] Invalid");
  EXPECT_THAT(other.at("/message"), HasSubstr("may not change once set"));
  for (const char* nothing : {R"({"clusterIP":""})", R"({"clusterIP":null})"})
    EXPECT_EQ(patch_spec("a", nothing).value_at("/spec"), back.value_at("/spec")) << nothing;
  EXPECT_EQ(patch_spec("a", R"({"clusterIP":"None"})").status, 422U);
}

TEST_P(ServiceChecks, AffinityHasItsTimeout) {
  start();
  EXPECT_EQ(create_service("a", R"({"sessionAffinity":"ClientIP","ports":[{"port":80}]})")
                .at("/spec/sessionAffinityConfig/clientIP/timeoutSeconds"),
            "10800");
  for (const char* timeout : {"86401", "0"}) {
    EXPECT_EQ(
        create_service(
            "b",
            fmt::format(
                R"({{"sessionAffinity":"ClientIP","sessionAffinityConfig":{{"clientIP":{{"timeoutSeconds":{}}}}},"ports":[{{"port":80}}]}})",
                timeout))
            .outcome(),
        "422 Invalid spec.sessionAffinityConfig.clientIP.timeoutSeconds Invalid");
  }
  EXPECT_EQ(patch_spec("a", R"({"sessionAffinity":"None"})").at("/spec/sessionAffinityConfig"), "");
}

// "IPv4,IPv6 SingleStack 2": families, policy, number of addresses.
std::string families(const Answer& service) {
  const auto both = [&service](std::string_view list) {
    const std::string first = service.at(fmt::format("/spec/{}/0", list));
    const std::string second = service.at(fmt::format("/spec/{}/1", list));
    return second.empty() ? first : first + "," + second;
  };
  std::string kinds;
  for (const int i : {0, 1}) {
    const std::string ip = service.at(fmt::format("/spec/clusterIPs/{}", i));
    if (!ip.empty()) kinds += ip == "None" ? "-" : ip.find(':') != std::string::npos ? "6" : "4";
  }
  return fmt::format("{} {} {}", both("ipFamilies"), service.at("/spec/ipFamilyPolicy"), kinds);
}

struct Families {
  std::string_view spec, families;
};

TEST_P(ServiceChecks, FamiliesFollowPolicyInDualStack) {
  start(kDualStack);
  const Families cases[] = {
      {R"({"ipFamilyPolicy":"PreferDualStack","ports":[{"port":80}]})",
       "IPv4,IPv6 PreferDualStack 46"},
      {R"({"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6"],"ports":[{"port":80}]})",
       "IPv6,IPv4 RequireDualStack 64"},
      {R"({"clusterIP":"fd00:10:96::55","ports":[{"port":80}]})", "IPv6 SingleStack 6"},
  };
  int n = 0;
  for (const Families& c : cases)
    EXPECT_EQ(families(create_service(fmt::format("s{}", n++), c.spec)), c.families) << c.spec;
}

TEST_P(ServiceChecks, FamiliesFollowPolicyInSingleStack) {
  start();
  expect({
      {R"({"ipFamilyPolicy":"RequireDualStack","ports":[{"port":80}]})",
       "422 Invalid spec.ipFamilyPolicy Invalid"},
      {R"({"ipFamilies":["IPv6"],"ports":[{"port":80}]})",
       "422 Invalid spec.ipFamilies[0] Invalid"},
  });
  const Families cases[] = {
      {R"({"ipFamilyPolicy":"PreferDualStack","ports":[{"port":80}]})", "IPv4 PreferDualStack 4"},
      {R"({"clusterIP":"None","selector":{"a":"b"},"ports":[{"port":80}]})", "IPv4 SingleStack -"},
      {R"({"clusterIP":"None","ports":[{"port":80}]})", "IPv4,IPv6 RequireDualStack -"},
  };
  int n = 0;
  for (const Families& c : cases)
    EXPECT_EQ(families(create_service(fmt::format("s{}", n++), c.spec)), c.families) << c.spec;
}

TEST_P(ServiceChecks, AFullRangeSaysSo) {
  start({"--service-cluster-ip-range", "10.96.0.0/28"});
  for (int i = 0; i < 13; ++i) ASSERT_EQ(create_service(fmt::format("s{}", i)).status, 201U) << i;
  const Answer full = create_service("more");
  EXPECT_THAT(full.outcome(), testing::StartsWith("500 InternalError"));
  EXPECT_THAT(full.at("/message"), HasSubstr("range is full"));
  ASSERT_EQ(call("DELETE", service_path("s3")).status, 200U);
  EXPECT_EQ(create_service("more").status, 201U);
}

}  // namespace
}  // namespace fairlead::api_test
