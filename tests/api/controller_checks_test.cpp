// What controllers make of Services and Pods, and what several servers on one etcd make of each
// other's writes: checks E and T of docs/apiserver-checks.md.
#include <boost/json/serialize.hpp>
#include <map>

#include "api/controller_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::StartsWith;

class ControllerChecks : public ControllerTest {};
INSTANTIATE_TEST_SUITE_P(Stores, ControllerChecks, both_stores(), name_of);

TEST_P(ControllerChecks, PodsOfAServiceBecomeItsEndpoints) {
  start_with_controllers();
  ASSERT_EQ(call("POST", "/api/v1/nodes",
                 R"({"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1"}}})")
                .status,
            201U);
  const Answer service = create_service(
      "web", R"({"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080}]})");
  ASSERT_EQ(service.status, 201U);
  const Slices empty = slices_when("web", [](const Slices& all) { return all.size() == 1; });
  ASSERT_EQ(empty.size(), 1U);
  const Answer placeholder{.body = empty.begin()->second};
  EXPECT_EQ(placeholder.value_at("/metadata/labels"),
            boost::json::parse(R"({"kubernetes.io/service-name":"web",
                "endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"})"));
  EXPECT_EQ(placeholder.at("/metadata/ownerReferences/0/uid"), service.at("/metadata/uid"));
  EXPECT_EQ(placeholder.at("/metadata/ownerReferences/0/controller"), "true");
  EXPECT_EQ(addresses(empty), "");

  // Only the first can serve.
  create_pod("ended", {.ip = "10.0.0.8", .phase = "Succeeded"});
  create_pod("no-ip", {});
  create_pod("ready", {.ip = "10.0.0.7"});
  const Slices filled = slices_when("web", "10.0.0.7");
  ASSERT_EQ(filled.size(), 1U);
  const Answer slice{.body = filled.begin()->second};
  EXPECT_EQ(slice.value_at("/endpoints/0/conditions"),
            boost::json::parse(R"({"ready":true,"serving":true,"terminating":false})"));
  EXPECT_EQ(slice.at("/endpoints/0/nodeName") + slice.at("/endpoints/0/zone"), "n1z1");
  EXPECT_EQ(slice.at("/endpoints/0/targetRef/uid"),
            get(fmt::format("{}/ready", kPods)).at("/metadata/uid"));
  WatchStream legacy = watch(
      fmt::format("{}?watch=true&timeoutSeconds=10&fieldSelector=metadata.name%3Dweb", kEndpoints));
  boost::json::value seen;
  do {
    seen = next_event(legacy);
    ASSERT_FALSE(seen.is_null()) << "Endpoints have the address too";
  } while (boost::json::serialize(seen).find("\"10.0.0.7\"") == std::string::npos);
}

TEST_P(ControllerChecks, SlicesFollowTheirServiceAndGoWithIt) {
  start_with_controllers();
  ASSERT_EQ(create_service("web",
                           R"({"selector":{"app":"web"},"clusterIP":"None","ports":[{"port":80}]})")
                .status,
            201U);
  const auto has_label = [](std::string_view label, std::string_view value) {
    return [label, value](const Slices& all) {
      return all.size() == 1 &&
             Answer{.body = all.begin()->second}
                 .value_at("/metadata/labels")
                 .as_object()
                 .contains(std::string(label)) &&
             all.begin()->second.at("metadata").at("labels").at(std::string(label)).as_string() ==
                 value;
    };
  };
  const Slices first = slices_when("web", has_label("service.kubernetes.io/headless", ""));
  ASSERT_EQ(first.size(), 1U);
  patch(service_path("web"), R"({"metadata":{"labels":{"tier":"front"}}})");
  EXPECT_EQ(slices_when("web", has_label("tier", "front")).size(), 1U);
  // One that its user deletes comes back under another name.
  const std::string name = first.begin()->first;
  ASSERT_EQ(call("DELETE", fmt::format("{}/{}", kSlices, name)).status, 200U);
  const Slices again = slices_when(
      "web", [&name](const Slices& all) { return all.size() == 1 && !all.contains(name); });
  EXPECT_EQ(again.size(), 1U);
  // One that somebody else manages is left alone, also when the Service goes.
  ASSERT_EQ(call("POST", kSlices, R"({"metadata":{"name":"mine","labels":{
      "kubernetes.io/service-name":"web","endpointslice.kubernetes.io/managed-by":"me"}},
      "addressType":"IPv4","endpoints":[{"addresses":["10.0.0.9"]}]})")
                .status,
            201U);
  ASSERT_EQ(call("DELETE", service_path("web")).status, 200U);
  const Slices left =
      slices_when("web", [](const Slices& all) { return all.size() == 1 && all.contains("mine"); });
  EXPECT_EQ(addresses(left), "10.0.0.9");
}

TEST_P(ControllerChecks, EndpointsWrittenByHandAreMirrored) {
  start_with_controllers();
  ASSERT_EQ(create_service("db", R"({"ports":[{"port":80}]})").status, 201U);
  ASSERT_EQ(call("POST", kEndpoints, R"({"metadata":{"name":"db"},"subsets":[
      {"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"ports":[{"port":5432}]}]})")
                .status,
            201U);
  const Slices mirrored = slices_when("db", "10.0.0.1 fd00::1");
  ASSERT_EQ(mirrored.size(), 2U);
  for (const auto& [name, slice] : mirrored) {
    const Answer read{.body = slice};
    EXPECT_EQ(
        read.value_at("/metadata/labels").at("endpointslice.kubernetes.io/managed-by").as_string(),
        "endpointslicemirroring-controller.k8s.io");
    EXPECT_EQ(read.at("/endpoints/0/conditions"), R"({"ready":true})");
  }
  // The watch of slices begins after this, so it may find nothing at all.
  const std::string before = get(kSlices).revision();
  patch(fmt::format("{}/db", kEndpoints),
        R"({"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}})");
  WatchStream changes =
      watch(fmt::format("{}?watch=true&timeoutSeconds=10&resourceVersion={}", kSlices, before));
  for (int i = 0; i < 2; ++i) EXPECT_THAT(next(changes), StartsWith("DELETED db-"));
}

TEST_P(ControllerChecks, PodsThatResolveAPortDifferentlyAreInDifferentSlices) {
  start_with_controllers();
  ASSERT_EQ(call("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})").status, 201U);
  create_pod("one", {.ip = "10.0.0.1", .ports = R"({"name":"http","containerPort":8080})"});
  create_pod("two", {.ip = "10.0.0.2", .ports = R"({"name":"http","containerPort":9090})"});
  ASSERT_EQ(create_service(
                "web", R"({"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]})")
                .status,
            201U);
  const Slices slices = slices_when("web", "10.0.0.1 10.0.0.2");
  std::map<std::string, std::string> ports;
  for (const auto& [name, slice] : slices) {
    const Answer read{.body = slice};
    ports[read.at("/endpoints/0/addresses/0")] = read.at("/ports/0/port");
  }
  EXPECT_EQ(ports,
            (std::map<std::string, std::string>{{"10.0.0.1", "8080"}, {"10.0.0.2", "9090"}}));
}

TEST_P(ControllerChecks, AnEventIsOneObjectInBothGroups) {
  start();
  ASSERT_EQ(
      call(
          "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
          R"({"metadata":{"name":"e"},"eventTime":"2026-01-01T00:00:00.000001Z","reportingController":"c",
          "reportingInstance":"c-1","action":"Act","reason":"Because","type":"Normal","note":"said",
          "regarding":{"kind":"Service","name":"web","namespace":"default"}})")
          .status,
      201U);
  const Answer old = get("/api/v1/namespaces/default/events/e");
  EXPECT_EQ(old.at("/message") + " " + old.at("/involvedObject/name") + " " + old.at("/eventTime"),
            "said web 2026-01-01T00:00:00.000001Z");
}

class EtcdLayout : public HttpTest {};
INSTANTIATE_TEST_SUITE_P(Stores, EtcdLayout, testing::Values(StoreUnderTest::Etcd), name_of);

TEST_P(EtcdLayout, AServiceIsWhereKubernetesKeepsIt) {
  start();
  const Answer made = create_service("a");
  client_ = connect_to(store_->etcd_port());  // etcd speaks JSON, too, with keys in base64
  const Answer kept =
      call("POST", "/v3/kv/range", R"({"key":"L3JlZ2lzdHJ5L3NlcnZpY2VzL3NwZWNzL2RlZmF1bHQvYQ=="})");
  EXPECT_EQ(kept.at("/kvs/0/mod_revision"), made.revision()) << kept.text;
}

}  // namespace
}  // namespace fairlead::api_test
