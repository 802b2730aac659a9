#include "controllers/endpoints_reconcile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using kube::Endpoints;
using kube::Pod;
using kube::Service;

struct Cluster {
  Service service;
  std::vector<Pod> pods;
  std::optional<Endpoints> existing;

  Cluster() {
    service.metadata = {
        .name = "web", .namespace_ = "shop", .uid = "svc-uid", .labels = {{"team", "a"}}};
    service.selector = {{"app", "web"}};
    service.cluster_ip = "10.96.0.10";
    service.ip_families = {IpFamily::V4};
    service.ports = {{.name = "http", .port = 80, .target_port = 8080}};
  }
  Pod& add_pod(const std::string& name, const std::string& ip, bool ready = true) {
    Pod pod;
    pod.metadata = {
        .name = name, .namespace_ = "shop", .uid = name + "-uid", .labels = {{"app", "web"}}};
    pod.node_name = "node1";
    pod.phase = kube::PodPhase::Running;
    pod.pod_ip = ip;
    pod.pod_ips = {ip};
    pod.conditions = {{.type = "Ready", .status = ready ? "True" : "False"}};
    pods.push_back(pod);
    return pods.back();
  }
  std::optional<Endpoints> reconcile() const {
    std::vector<const Pod*> views;
    for (const Pod& pod : pods) views.push_back(&pod);
    return reconcile_endpoints(service, views, existing ? &*existing : nullptr);
  }
  // "ready | not ready : ports", a line a subset.
  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    const auto made = reconcile();
    if (!made) return {"nothing"};
    for (const kube::EndpointSubset& subset : made->subsets) {
      std::string line;
      for (const auto& address : subset.addresses) line += address.ip + " ";
      line += "|";
      for (const auto& address : subset.not_ready_addresses) line += " " + address.ip;
      line += " :";
      for (const auto& port : subset.ports)
        line += fmt::format(" {}={}/{}", port.name.value_or(""), port.port.value_or(0),
                            to_string(port.protocol));
      out.push_back(std::move(line));
    }
    return out;
  }
};

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(EndpointsReconcile, AReadyPodBecomesAnAddressWithAllItsAttributes) {
  Cluster cluster;
  Pod& pod = cluster.add_pod("web-1", "10.0.0.1");
  pod.hostname = "web-1";
  pod.subdomain = "web";
  Endpoints expected;
  expected.metadata = {
      .name = "web",
      .namespace_ = "shop",
      .labels = {{"team", "a"}, {"endpoints.kubernetes.io/managed-by", "endpoint-controller"}}};
  expected.subsets = {{.addresses = {{.ip = "10.0.0.1",
                                      .hostname = "web-1",
                                      .node_name = "node1",
                                      .target_ref = kube::ObjectReference{.kind = "Pod",
                                                                          .namespace_ = "shop",
                                                                          .name = "web-1",
                                                                          .uid = "web-1-uid"}}},
                       .ports = {{.name = "http", .port = 8080}}}};
  EXPECT_EQ(cluster.reconcile(), expected);
}

TEST(EndpointsReconcile, PodsAreReadyNotReadyOrLeftOut) {
  struct Case {
    std::string_view name;
    void (*change)(Pod&);
    bool published;
    std::string_view line;  // empty: no subset
  };
  const auto nothing = [](Pod&) {};
  const Case cases[] = {
      {"ready", nothing, false, "10.0.0.1 | : http=8080/TCP"},
      {"not ready", [](Pod& p) { p.conditions.clear(); }, false, "| 10.0.0.1 : http=8080/TCP"},
      {"not ready but published", [](Pod& p) { p.conditions.clear(); }, true,
       "10.0.0.1 | : http=8080/TCP"},
      {"ending", [](Pod& p) { p.metadata.deletion_timestamp = WallTime{}; }, false, ""},
      {"ending but published", [](Pod& p) { p.metadata.deletion_timestamp = WallTime{}; }, true,
       "10.0.0.1 | : http=8080/TCP"},
      {"ended", [](Pod& p) { p.phase = kube::PodPhase::Succeeded; }, true, ""},
      {"failed", [](Pod& p) { p.phase = kube::PodPhase::Failed; }, true, ""},
      {"no address", [](Pod& p) { p.pod_ip.clear(), p.pod_ips.clear(); }, true, ""},
      {"of another family", [](Pod& p) { p.pod_ips = {"fd00::1"}; }, true, ""},
      {"second address fits", [](Pod& p) { p.pod_ips = {"fd00::1", "10.0.0.2"}; }, false,
       "10.0.0.2 | : http=8080/TCP"},
      {"not selected", [](Pod& p) { p.metadata.labels.clear(); }, true, ""},
  };
  for (const Case& c : cases) {
    Cluster cluster;
    c.change(cluster.add_pod("web-1", "10.0.0.1"));
    cluster.service.publish_not_ready_addresses = c.published;
    std::vector<std::string> expected;
    if (!c.line.empty()) expected.emplace_back(c.line);
    EXPECT_EQ(cluster.lines(), expected) << c.name;
  }
}

TEST(EndpointsReconcile, PodsWithTheSamePortsShareASubset) {
  Cluster cluster;
  cluster.service.ports = {
      {.name = "http", .port = 80, .target_port = std::string("web")},
      {.name = "dns", .protocol = Protocol::Udp, .port = 53, .target_port = 53}};
  for (const auto& [name, ip, port] :
       {std::tuple("a", "10.0.0.10", 8080), std::tuple("b", "10.0.0.9", 8080),
        std::tuple("c", "10.0.0.1", 9090)}) {
    cluster.add_pod(name, ip).containers = {
        {.name = "c", .ports = {{.name = "web", .container_port = port}}}};
  }
  cluster.add_pod("d", "10.0.0.2");  // has no port "web"
  EXPECT_THAT(cluster.lines(), ElementsAre("10.0.0.2 | : dns=53/UDP",
                                           "10.0.0.9 10.0.0.10 | : dns=53/UDP http=8080/TCP",
                                           "10.0.0.1 | : dns=53/UDP http=9090/TCP"))
      << "addresses by number, not by text";
}

TEST(EndpointsReconcile, APodWithoutAnyOfThePortsIsLeftOutUnlessThereAreNone) {
  Cluster cluster;
  cluster.add_pod("a", "10.0.0.1");
  cluster.service.ports = {{.name = "http", .port = 80, .target_port = std::string("web")}};
  EXPECT_THAT(cluster.lines(), IsEmpty());
  cluster.service.ports.clear();
  cluster.service.cluster_ip = "None";
  EXPECT_THAT(cluster.lines(), ElementsAre("10.0.0.1 | :"));
  EXPECT_EQ(cluster.reconcile()->metadata.labels.count(kube::label::kHeadless), 1U);
}

TEST(EndpointsReconcile, WhatIsRightIsNotWrittenAgain) {
  Cluster cluster;
  cluster.add_pod("a", "10.0.0.1");
  cluster.existing = cluster.reconcile();
  cluster.existing->metadata.resource_version = "7";
  cluster.existing->metadata.annotations["mine"] = "kept";
  EXPECT_EQ(cluster.reconcile(), std::nullopt);
  cluster.add_pod("b", "10.0.0.2");
  const auto changed = cluster.reconcile();
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->metadata.resource_version, "7");
  EXPECT_EQ(changed->metadata.annotations, (kube::StringMap{{"mine", "kept"}}));
}

TEST(EndpointsReconcile, ServicesWithoutPodsOfTheirOwnAreLeftAlone) {
  Cluster cluster;
  cluster.add_pod("a", "10.0.0.1");
  cluster.service.selector.clear();
  EXPECT_EQ(cluster.reconcile(), std::nullopt);
  cluster.service.selector = {{"app", "web"}};
  cluster.service.type = kube::ServiceType::ExternalName;
  EXPECT_EQ(cluster.reconcile(), std::nullopt);
}

TEST(EndpointsReconcile, AThousandAddressesAreTheMost) {
  struct Case {
    std::size_t ready, not_ready, ready_left, not_ready_left;
    bool over;
  };
  for (const Case& c : {Case{1000, 0, 1000, 0, false}, Case{600, 400, 600, 400, false},
                        Case{600, 401, 600, 400, true}, Case{1001, 5, 1000, 0, true}}) {
    Cluster cluster;
    for (std::size_t i = 0; i < c.ready + c.not_ready; ++i) {
      cluster.add_pod(fmt::format("p{}", i), fmt::format("10.0.{}.{}", i / 250, i % 250 + 1),
                      i < c.ready);
    }
    const auto made = cluster.reconcile();
    ASSERT_TRUE(made && made->subsets.size() == 1);
    EXPECT_EQ(made->subsets[0].addresses.size(), c.ready_left);
    EXPECT_EQ(made->subsets[0].not_ready_addresses.size(), c.not_ready_left);
    const kube::StringMap over = {{"endpoints.kubernetes.io/over-capacity", "truncated"}};
    EXPECT_EQ(made->metadata.annotations, c.over ? over : kube::StringMap{});
  }
}

}  // namespace
}  // namespace fairlead::controllers
