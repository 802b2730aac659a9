#include "kube/codec.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead::kube {
namespace {

WallTime at(std::int64_t unix_seconds) { return WallTime(std::chrono::seconds(unix_seconds)); }

ObjectMeta full_metadata() {
  return {.name = "n",
          .generate_name = "n-",
          .namespace_ = "ns",
          .uid = "u",
          .resource_version = "7",
          .creation_timestamp = at(1'795'406'706),
          .deletion_timestamp = at(1'795'406'707),
          .deletion_grace_period_seconds = 0,
          .labels = {{"a", "1"}, {"b", ""}},
          .annotations = {{"quoted", "\"\\\n\t\r\x01\xc3\xa4"}},
          .owner_references = {{.api_version = "v1",
                                .kind = "Pod",
                                .name = "p",
                                .uid = "pu",
                                .controller = true,
                                .block_owner_deletion = true}},
          .finalizers = {"f/1", "f/2"}};
}

constexpr std::string_view kFullMetadata =
    R"({"name":"n","generateName":"n-","namespace":"ns","uid":"u","resourceVersion":"7",)"
    R"("creationTimestamp":"2026-11-23T04:05:06Z","deletionTimestamp":"2026-11-23T04:05:07Z",)"
    R"("deletionGracePeriodSeconds":0,"labels":{"a":"1","b":""},)"
    "\"annotations\":{\"quoted\":\"\\\"\\\\\\n\\t\\r\\u0001\xc3\xa4\"},"
    R"("ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"pu",)"
    R"("controller":true,"blockOwnerDeletion":true}],"finalizers":["f/1","f/2"]})";

Service full_service() {
  return {.metadata = full_metadata(),
          .type = ServiceType::LoadBalancer,
          .ports = {{.name = "http",
                     .port = 80,
                     .target_port = std::string("web"),
                     .node_port = 30080,
                     .app_protocol = "h2c"},
                    {.name = "dns", .protocol = Protocol::Udp, .port = 53, .target_port = 5353},
                    {.name = "s", .protocol = Protocol::Sctp, .port = 65535}},
          .selector = {{"app", "web"}},
          .cluster_ip = "10.96.0.1",
          .cluster_ips = {"10.96.0.1", "fd00::1"},
          .ip_families = {IpFamily::V4, IpFamily::V6},
          .external_ips = {"1.2.3.4"},
          .load_balancer_ip = "5.6.7.8",
          .load_balancer_class = "example.com/lb",
          .load_balancer_source_ranges = {"10.0.0.0/8"},
          .client_ip_affinity = true,
          .affinity_timeout = std::chrono::seconds(60),
          .external_traffic_policy = TrafficPolicy::Local,
          .internal_traffic_policy = TrafficPolicy::Local,
          .health_check_node_port = 32000,
          .publish_not_ready_addresses = true,
          .traffic_distribution = "PreferSameZone",
          .ingress = {{.ip = "5.6.7.8", .ip_mode = "Proxy"}, {.hostname = "lb.example"}}};
}

EndpointSlice full_slice() {
  return {.metadata = full_metadata(),
          .address_type = AddressType::IPv6,
          .endpoints = {{.addresses = {"fd00::1", "fd00::2"},
                         .ready = false,
                         .serving = true,
                         .terminating = true,
                         .hostname = "h",
                         .node_name = "node",
                         .zone = "z",
                         .target_ref =
                             ObjectReference{
                                 .kind = "Pod", .namespace_ = "ns", .name = "p", .uid = "pu"},
                         .zone_hints = {"z1", "z2"},
                         .node_hints = {"node"}},
                        {.addresses = {"fd00::3"}}},
          .ports = {{.name = "", .port = 80, .app_protocol = "http"}, {.protocol = Protocol::Udp}}};
}

Pod full_pod() {
  const Condition ready{.type = "Ready",
                        .status = "True",
                        .reason = "R",
                        .message = "m",
                        .last_transition_time = at(1'795'406'706)};
  Container tcp{.name = "tcp", .readiness_probe = Probe{.action = Probe::TcpSocket{.port = 80}}};
  Container http{.name = "http",
                 .image = "i",
                 .command = {"c"},
                 .args = {"a", ""},
                 .working_dir = "/w",
                 .env = {{.name = "K", .value = "V"}, {.name = "E"}},
                 .ports = {{.name = "web", .container_port = 8080, .protocol = Protocol::Tcp}},
                 .readiness_probe = Probe{.action = Probe::HttpGet{.path = "/ready",
                                                                   .port = std::string("web"),
                                                                   .scheme = "HTTPS",
                                                                   .headers = {{"Host", "x"}}},
                                          .initial_delay = std::chrono::seconds(1),
                                          .period = std::chrono::seconds(2),
                                          .timeout = std::chrono::seconds(3),
                                          .success_threshold = 4,
                                          .failure_threshold = 5}};
  Container exec{.name = "exec",
                 .readiness_probe = Probe{.action = Probe::Exec{.command = {"true"}}}};
  return {
      .metadata = full_metadata(),
      .node_name = "node",
      .containers = {tcp, http, exec},
      .init_containers = {{.name = "side", .restart_policy = "Always"}},
      .restart_policy = "Never",
      .hostname = "h",
      .subdomain = "s",
      .host_network = true,
      .termination_grace_period_seconds = 0,
      .phase = PodPhase::Running,
      .status_reason = "Evicted",
      .pod_ip = "10.0.0.1",
      .host_ip = "192.0.2.1",
      .pod_ips = {"10.0.0.1", "fd00::1"},
      .conditions = {ready},
      .container_statuses = {{.name = "tcp", .ready = true, .restart_count = 3, .running = true},
                             {.name = "http", .exit_code = 137},
                             {.name = "exec", .waiting_reason = "CrashLoopBackOff"},
                             {.name = "none"}}};
}

Node full_node() {
  return {
      .metadata = full_metadata(),
      .pod_cidrs = {"10.244.0.0/24", "fd00::/64"},
      .taints = {{.key = "k", .value = "v", .effect = "NoSchedule"}, {.key = "k2", .effect = "e"}},
      .unschedulable = true,
      .addresses = {{.type = "InternalIP", .address = "192.0.2.1"}},
      .conditions = {{.type = "Ready", .status = "Unknown"}},
      .allocatable_cpu = MilliCpu{3920}};
}

template <class T>
void expect_round_trip(const T& object) {
  Decoder decoder;
  EXPECT_THAT(decoder.object<T>(encode(object)), Holds(object)) << encode(object);
}

TEST(Codec, WhatIsEncodedDecodesToItself) {
  expect_round_trip(full_service());
  expect_round_trip(full_slice());
  expect_round_trip(full_pod());
  expect_round_trip(full_node());
  expect_round_trip(Namespace{.metadata = full_metadata(), .phase = "Terminating"});
  expect_round_trip(Lease{.metadata = full_metadata(),
                          .holder_identity = "me",
                          .duration = std::chrono::seconds(15),
                          .acquire_time = at(1'795'406'706),
                          .renew_time = at(1'795'406'706) + std::chrono::microseconds(5),
                          .transitions = 2});
}

TEST(Codec, EmptyObjectsRoundTripToo) {
  expect_round_trip(Service{});
  expect_round_trip(EndpointSlice{});
  expect_round_trip(Pod{});
  expect_round_trip(Node{});
  expect_round_trip(Namespace{});
  expect_round_trip(Lease{});
  for (const ServiceType type : {ServiceType::ClusterIp, ServiceType::NodePort,
                                 ServiceType::LoadBalancer, ServiceType::ExternalName}) {
    expect_round_trip(Service{.type = type});
  }
  for (const PodPhase phase : {PodPhase::Pending, PodPhase::Running, PodPhase::Succeeded,
                               PodPhase::Failed, PodPhase::Unknown}) {
    expect_round_trip(Pod{.phase = phase});
  }
  for (const AddressType type : {AddressType::IPv4, AddressType::IPv6, AddressType::Fqdn}) {
    expect_round_trip(EndpointSlice{.address_type = type});
  }
}

TEST(Codec, EncodedTextIsWhatTheApiReads) {
  EXPECT_EQ(encode(Namespace{.metadata = full_metadata()}),
            fmt::format(R"({{"kind":"Namespace","apiVersion":"v1","metadata":{},)"
                        R"("status":{{"phase":"Active"}}}})",
                        kFullMetadata));
  EXPECT_EQ(encode(Service{.metadata = {.name = "s"}, .ports = {{.port = 80}}}),
            R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"s"},)"
            R"("spec":{"type":"ClusterIP","ports":[{"protocol":"TCP","port":80}],)"
            R"("internalTrafficPolicy":"Cluster"}})");
  EXPECT_EQ(encode(EndpointSlice{.metadata = {.name = "e"}}),
            R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",)"
            R"("metadata":{"name":"e"},"addressType":"IPv4","endpoints":[]})");
}

TEST(Codec, UnknownAndNullFieldsAreIgnored) {
  Decoder decoder;
  EXPECT_THAT(decoder.object<Service>(
                  R"({"apiVersion":"v1","kind":"Service","zzz":{"deep":[{}]},
                     "metadata":{"name":"s","labels":null,"managedFields":[{"x":1}],
                                 "creationTimestamp":null,"annotations":{"a":null}},
                     "spec":{"type":"Unheard","ports":[{"port":80,"targetPort":null,"new":[]}],
                             "selector":null,"externalTrafficPolicy":"Unheard",
                             "sessionAffinity":"None","clusterIPs":null}})"),
              Holds(Service{.metadata = {.name = "s", .annotations = {{"a", ""}}},
                            .ports = {{.port = 80}}}));
  EXPECT_THAT(decoder.object<Namespace>("{}"), Holds(Namespace{}));
}

TEST(Codec, WrongTypesAreErrorsThatNameTheField) {
  const struct {
    std::string_view json, message;
  } rows[] = {
      {R"({"kind":5})", "kind: 5 is not a string"},
      {R"({"kind":"Pod"})", R"(kind: "Pod" where Service was expected)"},
      {R"([])", "object: not an object"},
      {R"({"metadata":"x"})", R"(metadata: "x" is not an object)"},
      {R"({"metadata":{"name":1}})", "metadata.name: 1 is not a string"},
      {R"({"metadata":{"labels":{"a":1}}})", "metadata.labels.a: 1 is not a string"},
      {R"({"metadata":{"labels":["a"]}})", "metadata.labels: not an object"},
      {R"({"metadata":{"finalizers":["a",2]}})", "metadata.finalizers[1]: 2 is not a string"},
      {R"({"metadata":{"creationTimestamp":"now"}})",
       R"(metadata.creationTimestamp: "now" is not an RFC 3339 time)"},
      {R"({"spec":{"ports":{}}})", "spec.ports: not a list"},
      {R"({"spec":{"ports":[{"port":80},{"port":"80"}]}})",
       R"(spec.ports[1].port: "80" is not an integer)"},
      {R"({"spec":{"ports":[{"port":80.5}]}})", "spec.ports[0].port: 80.5 is not an integer"},
      {R"({"spec":{"ports":[{"port":65536}]}})",
       "spec.ports[0].port: 65536 is not within 0 to 65535"},
      {R"({"spec":{"ports":[{"port":-1}]}})", "spec.ports[0].port: -1 is not within 0 to 65535"},
      {R"({"spec":{"ports":[{"targetPort":2147483648}]}})",
       "spec.ports[0].targetPort: 2147483648 is not within -2147483648 to 2147483647"},
      {R"({"spec":{"ports":[{"targetPort":true}]}})",
       "spec.ports[0].targetPort: true is not an integer"},
      {R"({"spec":{"ports":[{"protocol":"ICMP"}]}})",
       R"(spec.ports[0].protocol: "ICMP" is not TCP, UDP or SCTP)"},
      {R"({"spec":{"publishNotReadyAddresses":"yes"}})",
       R"(spec.publishNotReadyAddresses: "yes" is not a boolean)"},
      {R"({"spec":{"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":-1}}}})",
       "spec.sessionAffinityConfig.clientIP.timeoutSeconds: -1 is not within 0 to 2147483647"},
      {R"({"status":{"loadBalancer":{"ingress":[{"ip":[]}]}}})",
       "status.loadBalancer.ingress[0].ip: not a string"},
  };
  Decoder decoder;
  for (const auto& row : rows) {
    EXPECT_THAT(decoder.object<Service>(row.json),
                FailsWith(ErrorCode::Invalid, std::string(row.message)));
  }
  const auto broken = decoder.object<Service>("{\"kind\":");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::BadRequest);
}

TEST(Codec, WrongTypesOfTheOtherKindsAreNamedToo) {
  Decoder decoder;
  EXPECT_THAT(
      decoder.object<EndpointSlice>(R"({"endpoints":[{},{"conditions":{"ready":"t"}}]})"),
      FailsWith(ErrorCode::Invalid, R"(endpoints[1].conditions.ready: "t" is not a boolean)"));
  EXPECT_THAT(
      decoder.object<EndpointSlice>(R"({"endpoints":[{"hints":{"forZones":["z"]}}]})"),
      FailsWith(ErrorCode::Invalid, R"(endpoints[0].hints.forZones[0]: "z" is not an object)"));
  EXPECT_THAT(decoder.object<Pod>(R"({"spec":{"containers":[{"env":[{"name":{}}]}]}})"),
              FailsWith(ErrorCode::Invalid, "spec.containers[0].env[0].name: not a string"));
  EXPECT_THAT(decoder.object<Pod>(R"({"status":{"podIPs":[{"ip":4}]}})"),
              FailsWith(ErrorCode::Invalid, "status.podIPs[0].ip: 4 is not a string"));
  EXPECT_THAT(decoder.object<Node>(R"({"spec":{"taints":[{"effect":1}]}})"),
              FailsWith(ErrorCode::Invalid, "spec.taints[0].effect: 1 is not a string"));
  EXPECT_THAT(decoder.object<Namespace>(R"({"status":[]})"),
              FailsWith(ErrorCode::Invalid, "status: not an object"));
}

TEST(Codec, IntOrStringKeepsWhichItWas) {
  Decoder decoder;
  const auto target = [&](std::string_view json) {
    return decoder
        .object<Service>(fmt::format(R"({{"spec":{{"ports":[{{"targetPort":{}}}]}}}})", json))
        .value()
        .ports.front()
        .target_port;
  };
  EXPECT_EQ(target("8080"), IntOrString{8080});
  EXPECT_EQ(target("\"8080\""), IntOrString{"8080"});
  EXPECT_EQ(target("\"web\""), IntOrString{"web"});
  EXPECT_EQ(target("-1"), IntOrString{-1});
}

TEST(Codec, CpuOfANodeIsAQuantityHoweverItIsWritten) {
  Decoder decoder;
  const auto allocatable = [&decoder](std::string_view cpu) {
    return decoder.object<Node>(fmt::format(R"({{"status":{{"allocatable":{{"cpu":{}}}}}}})", cpu));
  };
  EXPECT_THAT(allocatable(R"("3920m")"), Holds(Node{.allocatable_cpu = MilliCpu{3920}}));
  EXPECT_THAT(allocatable("4"), Holds(Node{.allocatable_cpu = MilliCpu{4000}}));
  EXPECT_THAT(allocatable("1.5"), Holds(Node{.allocatable_cpu = MilliCpu{1500}}));
  EXPECT_THAT(allocatable(R"("plenty")"), Holds(Node{})) << "as if it were not there";
  EXPECT_THAT(allocatable("{}"), Holds(Node{}));
}

TEST(Codec, NodeWithTheOldFieldHasOneCidr) {
  Decoder decoder;
  EXPECT_THAT(decoder.object<Node>(R"({"spec":{"podCIDR":"10.0.0.0/24"}})"),
              Holds(Node{.pod_cidrs = {"10.0.0.0/24"}}));
  EXPECT_THAT(decoder.object<Node>(
                  R"({"spec":{"podCIDR":"10.0.0.0/24","podCIDRs":["10.0.0.0/24","fd00::/64"]}})"),
              Holds(Node{.pod_cidrs = {"10.0.0.0/24", "fd00::/64"}}));
}

TEST(Codec, PageOfAListTellsVersionAndContinuation) {
  Decoder decoder;
  const auto page = decoder.list<Namespace>(
      R"({"kind":"NamespaceList","metadata":{"resourceVersion":"9","continue":"tok"},
          "items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"},"status":{"phase":"X"}}]})");
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->resource_version, "9");
  EXPECT_EQ(page->continue_token, "tok");
  EXPECT_EQ(page->items, (std::vector<Namespace>{{.metadata = {.name = "a"}},
                                                 {.metadata = {.name = "b"}, .phase = "X"}}));
  EXPECT_TRUE(decoder.list<Namespace>(R"({"items":null})").value().items.empty());

  const auto wrong = decoder.list<Service>(R"({"items":[{},{"spec":{"clusterIP":1}}]})");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error(),
            make_error(ErrorCode::Invalid, "items[1].spec.clusterIP: 1 is not a string"));
}

TEST(Codec, WatchEventsOfEveryType) {
  Decoder decoder;
  const auto event = [&](std::string_view json) {
    return decoder.watch_event<Namespace>(json).value();
  };
  const struct {
    std::string_view word;
    WatchEventType type;
  } rows[] = {{"ADDED", WatchEventType::Added},
              {"MODIFIED", WatchEventType::Modified},
              {"DELETED", WatchEventType::Deleted}};
  for (const auto& row : rows) {
    const auto got =
        event(fmt::format(R"({{"type":"{}","object":{{"metadata":{{"name":"a"}}}}}})", row.word));
    EXPECT_EQ(got.type, row.type);
    EXPECT_EQ(got.object, (Namespace{.metadata = {.name = "a"}}));
  }
  const auto bookmark = event(
      R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}})");
  EXPECT_EQ(bookmark.type, WatchEventType::Bookmark);
  EXPECT_EQ(bookmark.object.metadata.resource_version, "12");
  EXPECT_TRUE(bookmark.initial_events_end);
  EXPECT_FALSE(event(R"({"type":"BOOKMARK","object":{"metadata":{}}})").initial_events_end);

  const auto expired = event(
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}})");
  EXPECT_EQ(expired.type, WatchEventType::Error);
  EXPECT_EQ(expired.error, make_error(ErrorCode::Expired, "too old"));
}

TEST(Codec, BrokenWatchEventsAreRefused) {
  Decoder decoder;
  const struct {
    std::string_view json, message;
  } rows[] = {
      {R"({"type":"EXPLODED","object":{}})", R"(type: "EXPLODED" is no watch event)"},
      {R"({"object":{}})", R"(type: "" is no watch event)"},
      {R"({"type":1,"object":{}})", "type: 1 is not a string"},
      {R"({"type":"ADDED"})", "object: is missing"},
      {R"({"type":"ADDED","object":null})", "object: is missing"},
      {R"({"type":"DELETED","object":{"spec":{"type":1}}})", "object.spec.type: 1 is not a string"},
  };
  for (const auto& row : rows) {
    const auto event = decoder.watch_event<Service>(row.json);
    ASSERT_FALSE(event) << row.json;
    EXPECT_EQ(event.error(), make_error(ErrorCode::Invalid, "{}", row.message));
  }
}

TEST(Codec, StatusBecomesAnErrorByReasonThenByCode) {
  Decoder decoder;
  const struct {
    std::string_view json;
    unsigned http_status;
    ErrorCode code;
    std::string_view message;
  } rows[] = {
      {R"({"reason":"AlreadyExists","code":409,"message":"m"})", 409, ErrorCode::AlreadyExists,
       "m"},
      {R"({"reason":"Conflict","code":409,"message":"m"})", 409, ErrorCode::Conflict, "m"},
      {R"({"reason":"NotFound"})", 404, ErrorCode::NotFound, "NotFound"},
      {R"({"reason":"TooManyRequests","code":429})", 429, ErrorCode::Exhausted, "TooManyRequests"},
      {R"({"code":503})", 200, ErrorCode::Unavailable, "status 503"},
      {R"({})", 415, ErrorCode::Unsupported, "status 415"},
      {R"({"code":"503"})", 404, ErrorCode::NotFound, "status 404"},
      {"<html>", 502, ErrorCode::Internal, "HTTP status 502"},
      {"", 504, ErrorCode::Timeout, "HTTP status 504"},
      {"[]", 403, ErrorCode::Forbidden, "status 403"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(decoder.status(row.json, row.http_status), make_error(row.code, "{}", row.message))
        << row.json;
  }
}

// The decoder keeps its buffers; a large text, a broken one and a small one must not mix.
TEST(Codec, ADecoderServesOneTextAfterTheOther) {
  Decoder decoder;
  Service large{.metadata = {.name = "large"}};
  for (int i = 0; i < 20'000; ++i) large.metadata.labels[fmt::format("label-{}", i)] = "value";
  EXPECT_THAT(decoder.object<Service>(encode(large)), Holds(large));
  EXPECT_FALSE(decoder.object<Service>("{"));
  EXPECT_THAT(decoder.object<Service>(encode(full_service())), Holds(full_service()));
}

TEST(Codec, ObjectsKnowTheirKeyAndReadiness) {
  EXPECT_EQ(object_key({.name = "a", .namespace_ = "ns"}), "ns/a");
  EXPECT_EQ(object_key({.name = "a"}), "a");
  EXPECT_TRUE(is_ready(full_pod()));
  EXPECT_FALSE(is_ready(Pod{.conditions = {{.type = "Ready", .status = "False"}}}));
  EXPECT_FALSE(is_ready(Pod{.conditions = {{.type = "Initialized", .status = "True"}}}));
}

}  // namespace
}  // namespace fairlead::kube
