#include "inspect/manifests.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "inspect/answer.hpp"
#include "support/folder.hpp"
#include "support/result.hpp"

namespace fairlead::inspect {
namespace {

using ::testing::ElementsAre;

Result<Snapshot> read(std::string_view text) {
  ManifestReader reader;
  FAIRLEAD_CHECK(reader.add("a.yaml", text));
  return reader.take();
}

std::string service(std::string_view spec) {
  return fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {}\n", spec);
}
std::string slice(std::string_view rest) {
  return fmt::format(
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1}}\n{}\n",
      rest);
}

TEST(Manifests, WhatCannotBeMeantIsRefusedByNameOfFileDocumentFieldAndValue) {
  struct Case {
    std::string name, text, message;
  };
  const std::vector<Case> cases = {
      {"not YAML", "a: [", "a.yaml: line 1: end of sequence flow not found"},
      {"no object", "5", "a.yaml: document 1: not an object"},
      {"no kind", "apiVersion: v1", "a.yaml: document 1: kind: missing"},
      {"no version", "kind: Service", "a.yaml: document 1: Service: apiVersion: missing"},
      {"no name", "apiVersion: v1\nkind: Service\nmetadata: {}",
       "a.yaml: document 1: Service: metadata.name: missing"},
      {"the second document", "# nothing\n---\n" + service("{clusterIP: 10.96.0}"),
       "a.yaml: document 1: Service web: spec.clusterIP: \"10.96.0\" is not an IP address"},
      {"an old version", "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n",
       "a.yaml: document 1: EndpointSlice: apiVersion: \"discovery.k8s.io/v1beta1\" is not "
       "discovery.k8s.io/v1"},
      {"wrong type", service("{ports: [{port: http}]}"),
       "a.yaml: document 1: Service web: spec.ports[0].port: \"http\" is not an integer"},
      {"no such port", service("{ports: [{port: 70000}]}"),
       "a.yaml: document 1: Service web: spec.ports[0].port: 70000 is not within 0 to 65535"},
      {"no port", service("{ports: [{name: http}]}"),
       "a.yaml: document 1: Service web: spec.ports[0].port: missing, or 0"},
      {"no such protocol", service("{ports: [{port: 80, protocol: tcp}]}"),
       "a.yaml: document 1: Service web: spec.ports[0].protocol: \"tcp\" is not TCP, UDP or SCTP"},
      {"two ports of a name", service("{ports: [{port: 80}, {port: 81}]}"),
       "a.yaml: document 1: Service web: spec.ports[1].name: \"\" is the name of two ports"},
      {"no such policy", service("{externalTrafficPolicy: local}"),
       "a.yaml: document 1: Service web: spec.externalTrafficPolicy: \"local\" is none of Cluster, "
       "Local"},
      {"no such type", service("{type: Loadbalancer}"),
       "a.yaml: document 1: Service web: spec.type: \"Loadbalancer\" is none of ClusterIP, "
       "NodePort, LoadBalancer, ExternalName"},
      {"no address", service("{clusterIP: 10.96.0.1, externalIPs: [a.b]}"),
       "a.yaml: document 1: Service web: spec.externalIPs[0]: \"a.b\" is not an IP address"},
      {"no range", service("{clusterIP: 10.96.0.1, loadBalancerSourceRanges: [10.0.0.0/33]}"),
       "a.yaml: document 1: Service web: spec.loadBalancerSourceRanges[0]: \"10.0.0.0/33\" is not "
       "a CIDR such as 10.0.0.0/8"},
      {"another first address", service("{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]}"),
       "a.yaml: document 1: Service web: spec.clusterIPs[0]: \"10.96.0.2\" is not spec.clusterIP, "
       "\"10.96.0.1\""},
      {"endpoint of the other family",
       slice("addressType: IPv4\nendpoints: [{addresses: [\"::1\"]}]"),
       "a.yaml: document 1: EndpointSlice web-1: endpoints[0].addresses[0]: \"::1\" is not of "
       "addressType IPv4"},
      {"twice", service("{}") + "---\n" + service("{}"),
       "a.yaml: document 2: Service web: given before, in a.yaml: document 1: Service web"},
      {"inside a list", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1}]",
       "a.yaml: document 1, item 1: kind: missing"},
  };
  for (const Case& c : cases) {
    const auto got = read(c.text);
    ASSERT_FALSE(got) << c.name;
    EXPECT_EQ(got.error().message, c.message) << c.name;
  }
}

TEST(Manifests, TypedListsAndListsOfLists) {
  const auto got = read(R"({"apiVersion":"v1","kind":"List","items":[
      {"apiVersion":"v1","kind":"ServiceList","items":[
        {"metadata":{"name":"a","namespace":"x"},"spec":{"clusterIP":"10.96.0.1"}}]},
      {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}},
      {"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":"other"}}]})");
  ASSERT_TRUE(got) << got.error().message;
  ASSERT_EQ(got->services.size(), 1U);
  EXPECT_EQ(got->services.begin()->first.to_string(), "x/a");
}

TEST(Manifests, WhatTheApiServerWouldFillInIsFilledIn) {
  const auto got = read(service("{clusterIP: \"fd00:96::1\", ports: [{port: 80}]}"));
  ASSERT_TRUE(got) << got.error().message;
  const kube::Service& object = got->services.begin()->second;
  EXPECT_EQ(object.metadata.namespace_, "default");
  EXPECT_THAT(object.cluster_ips, ElementsAre("fd00:96::1"));
  EXPECT_THAT(object.ip_families, ElementsAre(IpFamily::V6));
}

TEST(Manifests, FoldersAreReadWithAllBelowInOrder) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() + "/b/c");
  const auto write = [&](const std::string& name, const std::string& service_name) {
    std::ofstream(folder.path() + "/" + name)
        << "apiVersion: v1\nkind: Service\nmetadata: {name: " << service_name << "}\n";
  };
  write("b/c/one.yaml", "one");
  write("a.yml", "two");
  write("z.json", "three");
  write("notes.txt", "four");
  ManifestReader reader;
  ASSERT_TRUE(reader.add_path(folder.path()));
  std::vector<std::string> names;
  for (const auto& [name, object] : reader.take().services) names.push_back(name.name);
  EXPECT_THAT(names, ElementsAre("one", "three", "two"));
}

TEST(Manifests, AFolderWithoutManifestsAndAMissingFileAreTold) {
  const test::TemporaryFolder folder;
  ManifestReader reader;
  EXPECT_THAT(reader.add_path(folder.path()),
              FailsWith(ErrorCode::NotFound,
                        folder.path() + ": no .yaml, .yml or .json file in this folder"));
  EXPECT_THAT(reader.add_path("/nowhere/x.yaml"),
              FailsWith(ErrorCode::NotFound, "read /nowhere/x.yaml: No such file or directory"));
}

constexpr char kPods[] = R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.1.2, podIPs: [{ip: 10.0.1.2}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {app: other}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.1.3, podIPs: [{ip: 10.0.1.3}], conditions: [{type: Ready, status: "True"}]}
)";

TEST(Snapshot, PodsBecomeEndpointsWhereNoSliceIsGiven) {
  const auto pods = read(kPods);
  ASSERT_TRUE(pods) << pods.error().message;
  const Snapshot whole = with_slices_of_pods(*pods);
  ASSERT_EQ(whole.slices.size(), 1U);
  const kube::EndpointSlice& made = whole.slices.begin()->second;
  ASSERT_EQ(made.endpoints.size(), 1U);
  EXPECT_THAT(made.endpoints[0].addresses, ElementsAre("10.0.1.2"));
  EXPECT_EQ(made.ports.at(0).port, 8080);
  // A Service that has slices keeps them.
  EXPECT_EQ(with_slices_of_pods(whole), whole);
}

TEST(Question, WhatCannotBeAskedIsRefusedByName) {
  struct Case {
    std::string name;
    Words words;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"protocol",
       {.protocol = "icmp", .destination = "10.0.0.1:80"},
       "PROTO: \"icmp\" is not tcp, udp or sctp"},
      {"no port",
       {.protocol = "tcp", .destination = "10.0.0.1"},
       "DESTINATION: \"10.0.0.1\" is not ADDRESS:PORT or [IPV6]:PORT"},
      {"port 0",
       {.protocol = "tcp", .destination = "10.0.0.1:0"},
       "DESTINATION: \"10.0.0.1:0\" is not ADDRESS:PORT or [IPV6]:PORT"},
      {"source",
       {.protocol = "tcp", .destination = "10.0.0.1:80", .source = "me"},
       "--from: \"me\" is not an IP address"},
      {"family",
       {.protocol = "tcp", .destination = "10.0.0.1:80", .source = "::1"},
       "--from: ::1 cannot talk to 10.0.0.1:80: other family"},
  };
  for (const Case& c : cases) {
    const auto got = parse_question(c.words);
    ASSERT_FALSE(got) << c.name;
    EXPECT_EQ(got.error().message, c.message) << c.name;
  }
}

TEST(NodeView, TheNodeMeantIsTheOneNamedOrTheOnlyOneOrThisHost) {
  Snapshot one;
  one.nodes["n1"].metadata.name = "n1";
  Snapshot two = one;
  two.nodes["n2"].metadata.name = "n2";
  EXPECT_EQ(choose_node(one, "n9", "host"), "n9");
  EXPECT_EQ(choose_node(one, "", "host"), "n1");
  EXPECT_EQ(choose_node(two, "", "host"), "host");
  EXPECT_EQ(choose_node({}, "", "host"), "host");
}

}  // namespace
}  // namespace fairlead::inspect
