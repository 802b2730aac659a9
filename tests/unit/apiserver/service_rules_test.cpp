// Every rule for Services that needs no address to be given out (spec 4.2, 4.7, 4.8): one row a
// rule, each a change to the same good manifest.
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::IsEmpty;

constexpr std::string_view kGood =
    R"({"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})";

Document changed(std::string_view base, std::string_view change) {
  return *apply_merge_patch(parse_document(base), boost::json::parse(change));
}

class ServiceRules : public KindsTest {
 protected:
  // The object after `change`, without what differs from run to run.
  Document spec_after(std::string_view change) {
    auto made = create("services", changed(kGood, change));
    EXPECT_TRUE(made) << testing::PrintToString(refusals(made));
    return made ? made->object.at("spec").as_object() : Document{};
  }
};

TEST_F(ServiceRules, AManifestIsRefusedByFieldAndReason) {
  struct Case {
    std::string_view name;
    std::string_view change;
    std::vector<std::string> causes;
  };
  const Case cases[] = {
      {"good", "{}", {}},
      {"no ports", R"({"spec":{"ports":[]}})", {"FieldValueRequired spec.ports"}},
      {"headless needs no ports", R"({"spec":{"ports":[],"clusterIP":"None"}})", {}},
      {"port 0",
       R"({"spec":{"ports":[{"port":0}]}})",
       {"FieldValueInvalid spec.ports[0].port", "FieldValueInvalid spec.ports[0].targetPort"}},
      {"port 65536",
       R"({"spec":{"ports":[{"port":65536,"targetPort":80}]}})",
       {"FieldValueInvalid spec.ports[0].port"}},
      {"two ports without names",
       R"({"spec":{"ports":[{"port":80},{"port":81}]}})",
       {"FieldValueRequired spec.ports[0].name", "FieldValueRequired spec.ports[1].name"}},
      {"a name twice",
       R"({"spec":{"ports":[{"name":"a","port":80},{"name":"a","port":81}]}})",
       {"FieldValueDuplicate spec.ports[1].name"}},
      {"a name that is no label",
       R"({"spec":{"ports":[{"name":"A_b","port":80}]}})",
       {"FieldValueInvalid spec.ports[0].name"}},
      {"a port twice",
       R"({"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":80}]}})",
       {"FieldValueDuplicate spec.ports[1]"}},
      {"a port under two protocols",
       R"({"spec":{"ports":[{"name":"a","port":53},{"name":"b","port":53,"protocol":"UDP"}]}})",
       {}},
      {"protocol",
       R"({"spec":{"ports":[{"port":80,"protocol":"ICMP"}]}})",
       {"FieldValueNotSupported spec.ports[0].protocol"}},
      {"target port 65536",
       R"({"spec":{"ports":[{"port":80,"targetPort":65536}]}})",
       {"FieldValueInvalid spec.ports[0].targetPort"}},
      {"target port by name", R"({"spec":{"ports":[{"port":80,"targetPort":"http-1"}]}})", {}},
      {"target port: every broken rule is told",
       R"({"spec":{"ports":[{"port":80,"targetPort":"-1--2_33333333334"}]}})",
       {"FieldValueInvalid spec.ports[0].targetPort", "FieldValueInvalid spec.ports[0].targetPort",
        "FieldValueInvalid spec.ports[0].targetPort", "FieldValueInvalid spec.ports[0].targetPort",
        "FieldValueInvalid spec.ports[0].targetPort"}},
      {"application protocol",
       R"({"spec":{"ports":[{"port":80,"appProtocol":"a b"}]}})",
       {"FieldValueInvalid spec.ports[0].appProtocol"}},
      {"node port of a cluster IP",
       R"({"spec":{"ports":[{"port":80,"nodePort":30100}]}})",
       {"FieldValueForbidden spec.ports[0].nodePort"}},
      {"selector key", R"({"spec":{"selector":{"a b":"c"}}})", {"FieldValueInvalid spec.selector"}},
      {"selector value",
       R"({"spec":{"selector":{"a":"b c"}}})",
       {"FieldValueInvalid spec.selector"}},
      {"affinity",
       R"({"spec":{"sessionAffinity":"Cookie"}})",
       {"FieldValueNotSupported spec.sessionAffinity"}},
      {"affinity for 0 s",
       R"({"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":0}}}})",
       {"FieldValueInvalid spec.sessionAffinityConfig.clientIP.timeoutSeconds"}},
      {"affinity for more than a day",
       R"({"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":86401}}}})",
       {"FieldValueInvalid spec.sessionAffinityConfig.clientIP.timeoutSeconds"}},
      {"type",
       R"({"spec":{"type":"Ingress"}})",
       // What an unknown type would need is not known, so its policy is missing as well.
       {"FieldValueNotSupported spec.type", "FieldValueRequired spec.internalTrafficPolicy"}},
      {"headless node port",
       R"({"spec":{"type":"NodePort","clusterIP":"None"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"headless load balancer",
       R"({"spec":{"type":"LoadBalancer","clusterIP":"None"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"external name missing",
       R"({"spec":{"type":"ExternalName"}})",
       {"FieldValueRequired spec.externalName"}},
      {"external name", R"({"spec":{"type":"ExternalName","externalName":"db.example.com."}})", {}},
      {"external name is no name",
       R"({"spec":{"type":"ExternalName","externalName":"a_b"}})",
       {"FieldValueInvalid spec.externalName"}},
      {"external name with addresses",
       R"({"spec":{"type":"ExternalName","externalName":"a","clusterIP":"10.96.1.1","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack"}})",
       {"FieldValueForbidden spec.clusterIPs", "FieldValueForbidden spec.ipFamilies",
        "FieldValueForbidden spec.ipFamilyPolicy"}},
      {"external IPs",
       R"({"spec":{"externalIPs":["192.0.2.1","nope","0.0.0.0","127.0.0.1","169.254.0.1","224.0.0.1","010.0.0.1","::ffff:1.2.3.4","fe80::1"]}})",
       {"FieldValueInvalid spec.externalIPs[1]", "FieldValueInvalid spec.externalIPs[2]",
        "FieldValueInvalid spec.externalIPs[3]", "FieldValueInvalid spec.externalIPs[4]",
        "FieldValueInvalid spec.externalIPs[5]", "FieldValueInvalid spec.externalIPs[6]",
        "FieldValueInvalid spec.externalIPs[7]", "FieldValueInvalid spec.externalIPs[8]"}},
      {"source ranges of a cluster IP",
       R"({"spec":{"loadBalancerSourceRanges":["10.0.0.0/8"]}})",
       {"FieldValueForbidden spec.LoadBalancerSourceRanges"}},
      {"source ranges",
       R"({"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.0/8"," 10.0.0.0/8 ","10.0.0.1/8","10.0.0.0"]}})",
       {"FieldValueInvalid spec.LoadBalancerSourceRanges[2]",
        "FieldValueInvalid spec.LoadBalancerSourceRanges[3]"}},
      {"source ranges by annotation of a cluster IP",
       R"({"metadata":{"annotations":{"service.beta.kubernetes.io/load-balancer-source-ranges":"10.0.0.0/8"}}})",
       {"FieldValueForbidden "
        "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]"}},
      {"source ranges by annotation",
       R"({"metadata":{"annotations":{"service.beta.kubernetes.io/load-balancer-source-ranges":"10.0.0.0/8, x"}},"spec":{"type":"LoadBalancer"}})",
       {"FieldValueInvalid "
        "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]"}},
      {"topology annotations that differ",
       R"({"metadata":{"annotations":{"service.kubernetes.io/topology-mode":"Auto","service.kubernetes.io/topology-aware-hints":"Disabled"}}})",
       {"FieldValueInvalid metadata.annotations[service.kubernetes.io/topology-mode]"}},
      {"node port switch of a cluster IP",
       R"({"spec":{"allocateLoadBalancerNodePorts":false}})",
       {"FieldValueForbidden spec.allocateLoadBalancerNodePorts"}},
      {"class of a cluster IP",
       R"({"spec":{"loadBalancerClass":"example.com/lb"}})",
       {"FieldValueForbidden spec.loadBalancerClass"}},
      {"class",
       R"({"spec":{"type":"LoadBalancer","loadBalancerClass":"a b"}})",
       {"FieldValueInvalid spec.loadBalancerClass"}},
      {"external policy of a cluster IP",
       R"({"spec":{"externalTrafficPolicy":"Local"}})",
       {"FieldValueInvalid spec.externalTrafficPolicy"}},
      {"external policy with external IPs",
       R"({"spec":{"externalTrafficPolicy":"Local","externalIPs":["192.0.2.1"]}})",
       {}},
      {"external policy",
       R"({"spec":{"type":"NodePort","externalTrafficPolicy":"Nearby"}})",
       {"FieldValueNotSupported spec.externalTrafficPolicy"}},
      {"internal policy",
       R"({"spec":{"internalTrafficPolicy":"Nearby"}})",
       {"FieldValueNotSupported spec.internalTrafficPolicy"}},
      {"health check port without need",
       R"({"spec":{"healthCheckNodePort":30200}})",
       {"FieldValueInvalid spec.healthCheckNodePort"}},
      {"distribution",
       R"({"spec":{"trafficDistribution":"Far"}})",
       {"FieldValueNotSupported spec.trafficDistribution"}},
      {"name", R"({"metadata":{"name":"a.b"}})", {"FieldValueInvalid metadata.name"}},
      {"family policy",
       R"({"spec":{"ipFamilyPolicy":"TripleStack"}})",
       {"FieldValueNotSupported spec.ipFamilyPolicy"}},
      {"families",
       R"({"spec":{"ipFamilies":["IPv5"]}})",
       {"FieldValueNotSupported spec.ipFamilies[0]"}},
      {"a family twice",
       R"({"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv4","IPv4"]}})",
       {"FieldValueDuplicate spec.ipFamilies[1]"}},
      {"two families on a single stack",
       R"({"spec":{"ipFamilies":["IPv4","IPv6"]}})",
       {"FieldValueInvalid spec.ipFamilyPolicy"}},
      {"list of cluster IPs alone",
       R"({"spec":{"clusterIPs":["10.96.1.1"]}})",
       {"FieldValueInvalid spec.clusterIPs"}},
      {"list of cluster IPs that begins with another",
       R"({"spec":{"clusterIP":"10.96.1.2","clusterIPs":["10.96.1.1"]}})",
       {"FieldValueInvalid spec.clusterIPs"}},
      {"None with another",
       R"({"spec":{"clusterIP":"None","clusterIPs":["None","10.96.1.1"],"ipFamilyPolicy":"PreferDualStack"}})",
       {"FieldValueInvalid spec.clusterIPs"}},
      {"three cluster IPs",
       R"({"spec":{"clusterIP":"10.96.1.1","clusterIPs":["10.96.1.1","fd00:10:96::1","fd00:10:96::2"],"ipFamilyPolicy":"PreferDualStack"}})",
       {"FieldValueInvalid spec.clusterIPs"}},
      {"two cluster IPs of a family",
       R"({"spec":{"clusterIP":"10.96.1.1","clusterIPs":["10.96.1.1","10.96.1.2"],"ipFamilyPolicy":"PreferDualStack"}})",
       {"FieldValueInvalid spec.clusterIPs"}},
      {"cluster IP is none",
       R"({"spec":{"clusterIP":"10.96.1"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"cluster IP with leading zeros",
       R"({"spec":{"clusterIP":"010.96.1.1"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"cluster IP of the other family",
       R"({"spec":{"clusterIP":"10.96.1.1","ipFamilies":["IPv6"]}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto made = create("services", changed(kGood, c.change));
    EXPECT_EQ(refusals(made), c.causes) << (made ? "" : made.error().message);
    if (made) EXPECT_TRUE(remove("services", "web"));
    EXPECT_THAT(names_of("services"), IsEmpty());
    EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
    EXPECT_THAT(keys_below(std::string(kRangesPrefix)), IsEmpty());
  }
}

TEST_F(ServiceRules, AnUpdateMayNotTakeBackWhatOthersRelyOn) {
  struct Case {
    std::string_view name;
    std::string_view before, change;
    std::vector<std::string> causes;
  };
  constexpr std::string_view kLocalBalancer =
      R"({"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","loadBalancerClass":"a.b/c","healthCheckNodePort":30300}})";
  constexpr std::string_view kDual =
      R"({"spec":{"ipFamilyPolicy":"PreferDualStack","clusterIP":"10.96.1.1"}})";
  const Case cases[] = {
      {"nothing", "{}", "{}", {}},
      {"cluster IP",
       "{}",
       R"({"spec":{"clusterIP":"10.96.7.7"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"cluster IP emptied is what it was", "{}", R"({"spec":{"clusterIP":""}})", {}},
      {"cluster IP absent is what it was",
       "{}",
       R"({"spec":{"clusterIP":null,"clusterIPs":null}})",
       {}},
      {"cluster IP to None",
       "{}",
       R"({"spec":{"clusterIP":"None"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"None to a cluster IP",
       R"({"spec":{"clusterIP":"None"}})",
       R"({"spec":{"clusterIP":"10.96.7.7"}})",
       {"FieldValueInvalid spec.clusterIPs[0]"}},
      {"first family",
       "{}",
       R"({"spec":{"ipFamilies":["IPv6"],"clusterIP":"fd00:10:96::9"}})",
       {"FieldValueInvalid spec.clusterIPs[0]", "FieldValueInvalid spec.ipFamilies[0]"}},
      {"second family released without saying so",
       kDual,
       R"({"spec":{"ipFamilies":["IPv4"],"clusterIPs":["10.96.1.1"]}})",
       {"FieldValueInvalid spec.ipFamilyPolicy"}},
      {"second family released", kDual, R"({"spec":{"ipFamilyPolicy":"SingleStack"}})", {}},
      {"class",
       kLocalBalancer,
       R"({"spec":{"loadBalancerClass":"a.b/d"}})",
       {"FieldValueInvalid spec.loadBalancerClass"}},
      {"class set late",
       R"({"spec":{"type":"LoadBalancer"}})",
       R"({"spec":{"loadBalancerClass":"a.b/d"}})",
       {"FieldValueInvalid spec.loadBalancerClass"}},
      {"health check port",
       kLocalBalancer,
       R"({"spec":{"healthCheckNodePort":30301}})",
       {"FieldValueForbidden spec.healthCheckNodePort"}},
      {"health check port emptied is what it was",
       kLocalBalancer,
       R"({"spec":{"healthCheckNodePort":null}})",
       {}},
      {"class goes with the type", kLocalBalancer, R"({"spec":{"type":"ClusterIP"}})", {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto made = create("services", changed(kGood, c.before));
    ASSERT_EQ(refusals(made), (std::vector<std::string>{}));
    const auto ips = names_of("ipaddresses");
    const auto answer = patch("services", "web", c.change);
    EXPECT_EQ(refusals(answer), c.causes) << (answer ? "" : answer.error().message);
    if (!answer) EXPECT_EQ(names_of("ipaddresses"), ips);
    ASSERT_TRUE(remove("services", "web"));
  }
}

TEST_F(ServiceRules, DefaultsAreKubernetes) {
  open(ipv4_cluster());
  EXPECT_EQ(spec_after(R"({"spec":{"clusterIP":"10.96.0.9"}})"), parse_document(R"({
    "selector": {"app": "web"}, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})"));
  ASSERT_TRUE(remove("services", "web"));
  EXPECT_EQ(spec_after(R"({"spec":{"clusterIP":"10.96.0.9","type":"LoadBalancer",
                           "externalTrafficPolicy":"Local","healthCheckNodePort":30001,
                           "sessionAffinity":"ClientIP",
                           "ports":[{"port":80,"nodePort":30000,"targetPort":""}]}})"),
            parse_document(R"({
    "selector": {"app": "web"}, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}],
    "type": "LoadBalancer", "sessionAffinity": "ClientIP",
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
    "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Local",
    "healthCheckNodePort": 30001, "allocateLoadBalancerNodePorts": true,
    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})"));
  ASSERT_TRUE(remove("services", "web"));
  EXPECT_EQ(spec_after(R"({"spec":{"type":"ExternalName","externalName":"db","ports":null,
                           "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":5}}}})"),
            parse_document(R"({"selector": {"app": "web"}, "type": "ExternalName",
                               "externalName": "db", "sessionAffinity": "None"})"));
}

TEST_F(ServiceRules, ATypeTakesItsFieldsAlongWhenItGoes) {
  open(ipv4_cluster());
  spec_after(R"({"spec":{"clusterIP":"10.96.0.9","type":"LoadBalancer",
                 "externalTrafficPolicy":"Local","loadBalancerClass":"a.b/c"}})");
  ASSERT_TRUE(patch("services", "web",
                    R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}})", "status"));
  auto plain = patch("services", "web", R"({"spec":{"type":"ClusterIP"}})");
  ASSERT_TRUE(plain) << testing::PrintToString(refusals(plain));
  EXPECT_EQ(plain->object.at("spec"), parse_document(R"({
    "selector": {"app": "web"}, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
    "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})"));
  EXPECT_EQ(plain->object.at("status"), parse_document(R"({"loadBalancer": {}})"));
  auto away = patch("services", "web",
                    R"({"spec":{"type":"ExternalName","externalName":"db","ports":null}})");
  ASSERT_TRUE(away) << testing::PrintToString(refusals(away));
  EXPECT_EQ(away->object.at("spec"), parse_document(R"({"selector": {"app": "web"},
    "type": "ExternalName", "externalName": "db", "sessionAffinity": "None"})"));
  EXPECT_THAT(names_of("ipaddresses"), IsEmpty());
  EXPECT_THAT(keys_below(std::string(kRangesPrefix)), IsEmpty());
}

TEST_F(ServiceRules, ANodePortServiceWithoutPortsBecomesAnExternalNameWithoutThem) {
  spec_after(R"({"spec":{"type":"NodePort"}})");
  auto away = patch("services", "web",
                    R"({"spec":{"type":"ExternalName","externalName":"db","ports":null}})");
  ASSERT_TRUE(away) << testing::PrintToString(refusals(away));
  EXPECT_EQ(away->object.at("spec").as_object().if_contains("ports"), nullptr);
}

TEST_F(ServiceRules, WhatHasNoEffectIsWarnedOf) {
  struct Case {
    std::string_view change;
    std::vector<std::string> warnings;
  };
  const Case cases[] = {
      {"{}", {}},
      {R"({"spec":{"externalIPs":["192.0.2.1"]}})",
       {"spec.externalIPs is deprecated and will be ignored by a future release"}},
      {R"({"spec":{"clusterIP":"None","externalIPs":["192.0.2.1"],"loadBalancerIP":"192.0.2.1","sessionAffinity":"ClientIP"}})",
       {"spec.loadBalancerIP is ignored for headless services",
        "spec.externalIPs is ignored for headless services",
        "spec.SessionAffinity is ignored for headless services"}},
      {R"({"spec":{"externalName":"db"}})",
       {"spec.externalName is ignored when spec.type is not \"ExternalName\""}},
      {R"({"spec":{"type":"ExternalName","externalName":"db","externalIPs":["192.0.2.1"]}})",
       {"spec.externalIPs is ignored when spec.type is \"ExternalName\""}},
      {R"({"metadata":{"annotations":{"service.kubernetes.io/topology-aware-hints":"Auto"}}})",
       {"annotation service.kubernetes.io/topology-aware-hints is deprecated; use "
        "service.kubernetes.io/topology-mode"}},
      {R"({"spec":{"clusterIP":"fd00:10:96:0::0A"}})",
       {"spec.clusterIPs[0]: \"fd00:10:96:0::0A\" is better written \"fd00:10:96::a\""}},
      {R"({"spec":{"trafficDistribution":"PreferClose"}})",
       {"spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone"}},
  };
  for (const Case& c : cases) {
    const auto made = create("services", changed(kGood, c.change));
    ASSERT_TRUE(made) << c.change << testing::PrintToString(refusals(made));
    EXPECT_EQ(made->warnings, c.warnings) << c.change;
    ASSERT_TRUE(remove("services", "web"));
  }
}

}  // namespace
}  // namespace fairlead::apiserver
