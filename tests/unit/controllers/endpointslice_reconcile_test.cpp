#include "controllers/endpointslice_reconcile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace fairlead::controllers {
namespace {

using kube::AddressType;
using kube::Endpoint;
using kube::EndpointSlice;
using kube::Pod;
using kube::Service;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A cluster small enough to read: one service, its pods, its slices, two nodes in two zones.
struct Cluster {
  Service service;
  std::vector<Pod> pods;
  std::vector<EndpointSlice> slices;
  std::map<kube::NamespacedName, kube::Node> nodes;
  std::optional<WallTime> trigger;
  std::size_t max_endpoints = kMaxEndpointsPerSlice;

  Cluster() {
    service.metadata = {
        .name = "web", .namespace_ = "shop", .uid = "svc-uid", .labels = {{"team", "a"}}};
    service.selector = {{"app", "web"}};
    service.cluster_ip = "10.96.0.10";
    service.cluster_ips = {"10.96.0.10"};
    service.ip_families = {IpFamily::V4};
    service.ports = {{.name = "http", .port = 80, .target_port = 8080}};
    for (const std::string name : {"node1", "node2"}) {
      kube::Node node;
      node.metadata.name = name;
      node.metadata.labels[kube::label::kTopologyZone] = "zone-" + name;
      nodes[{"", name}] = node;
    }
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

  EndpointSliceWrites reconcile() const {
    std::vector<const Pod*> pod_views;
    std::vector<const EndpointSlice*> slice_views;
    for (const Pod& pod : pods) pod_views.push_back(&pod);
    for (const EndpointSlice& slice : slices) slice_views.push_back(&slice);
    return reconcile_endpoint_slices({.service = service,
                                      .pods = pod_views,
                                      .slices = slice_views,
                                      .nodes = nodes,
                                      .trigger = trigger,
                                      .max_endpoints = max_endpoints});
  }

  // Plays the API server: the writes become the slices that exist.
  EndpointSliceWrites reconcile_and_apply() {
    EndpointSliceWrites writes = reconcile();
    for (const EndpointSlice& removed : writes.remove) {
      std::erase_if(slices,
                    [&](const EndpointSlice& s) { return s.metadata.uid == removed.metadata.uid; });
    }
    for (const EndpointSlice& updated : writes.update) {
      for (EndpointSlice& s : slices) {
        if (s.metadata.uid == updated.metadata.uid) s = updated;
      }
    }
    for (EndpointSlice created : writes.create) {
      created.metadata.uid = "slice-" + std::to_string(++last_uid_);
      created.metadata.name = created.metadata.generate_name + created.metadata.uid;
      slices.push_back(created);
    }
    return writes;
  }

  std::multiset<std::size_t> sizes() const {
    std::multiset<std::size_t> out;
    for (const EndpointSlice& s : slices) out.insert(s.endpoints.size());
    return out;
  }

 private:
  int last_uid_ = 0;
};

std::string nth_ip(int n) { return fmt::format("10.0.{}.{}", n / 200, n % 200 + 1); }

TEST(EndpointSliceReconcile, AReadyPodBecomesAnEndpointWithAllItsAttributes) {
  Cluster cluster;
  Pod& pod = cluster.add_pod("web-1", "10.0.0.1");
  pod.hostname = "web-1";
  pod.subdomain = "web";
  const auto writes = cluster.reconcile();
  ASSERT_THAT(writes.create, SizeIs(1));
  const EndpointSlice& slice = writes.create[0];
  EXPECT_EQ(slice.metadata.generate_name, "web-");
  EXPECT_EQ(slice.metadata.namespace_, "shop");
  EXPECT_EQ(slice.metadata.labels,
            (kube::StringMap{{"team", "a"},
                             {kube::label::kServiceName, "web"},
                             {kube::label::kManagedBy, kEndpointSliceManager}}));
  EXPECT_THAT(slice.metadata.owner_references,
              ElementsAre(kube::OwnerReference{.api_version = "v1",
                                               .kind = "Service",
                                               .name = "web",
                                               .uid = "svc-uid",
                                               .controller = true,
                                               .block_owner_deletion = true}));
  EXPECT_THAT(slice.ports, ElementsAre(kube::EndpointPort{.name = "http", .port = 8080}));
  EXPECT_THAT(slice.endpoints,
              ElementsAre(Endpoint{
                  .addresses = {"10.0.0.1"},
                  .ready = true,
                  .serving = true,
                  .terminating = false,
                  .hostname = "web-1",
                  .node_name = "node1",
                  .zone = "zone-node1",
                  .target_ref = kube::ObjectReference{
                      .kind = "Pod", .namespace_ = "shop", .name = "web-1", .uid = "web-1-uid"}}));
}

struct ConditionCase {
  std::string name;
  bool pod_ready = true, deleting = false, publish_not_ready = false;
  bool ready = true, serving = true, terminating = false;
};

TEST(EndpointSliceReconcile, ConditionsFollowReadinessAndTermination) {
  const std::vector<ConditionCase> cases = {
      {.name = "ready"},
      {.name = "not ready", .pod_ready = false, .ready = false, .serving = false},
      {.name = "terminating but serving", .deleting = true, .ready = false, .terminating = true},
      {.name = "terminating",
       .pod_ready = false,
       .deleting = true,
       .ready = false,
       .serving = false,
       .terminating = true},
      {.name = "published anyway",
       .pod_ready = false,
       .publish_not_ready = true,
       .ready = true,
       .serving = false},
  };
  for (const ConditionCase& c : cases) {
    SCOPED_TRACE(c.name);
    Cluster cluster;
    cluster.service.publish_not_ready_addresses = c.publish_not_ready;
    Pod& pod = cluster.add_pod("web-1", "10.0.0.1", c.pod_ready);
    if (c.deleting) pod.metadata.deletion_timestamp = WallTime{};
    const auto writes = cluster.reconcile();
    ASSERT_THAT(writes.create, SizeIs(1));
    const Endpoint& endpoint = writes.create[0].endpoints.at(0);
    EXPECT_EQ(endpoint.ready, c.ready);
    EXPECT_EQ(endpoint.serving, c.serving);
    EXPECT_EQ(endpoint.terminating, c.terminating);
  }
}

TEST(EndpointSliceReconcile, PodsThatCannotServeAreLeftOut) {
  Cluster cluster;
  cluster.add_pod("other-app", "10.0.0.1").metadata.labels["app"] = "db";
  cluster.add_pod("finished", "10.0.0.2").phase = kube::PodPhase::Succeeded;
  cluster.add_pod("failed", "10.0.0.3").phase = kube::PodPhase::Failed;
  Pod& unplaced = cluster.add_pod("no-address", "");
  unplaced.pod_ips.clear();
  const auto writes = cluster.reconcile();
  ASSERT_THAT(writes.create, SizeIs(1)) << "the placeholder";
  EXPECT_THAT(writes.create[0].endpoints, IsEmpty());
  EXPECT_THAT(writes.create[0].ports, IsEmpty());
}

TEST(EndpointSliceReconcile, APodOfAMissingNodeWaitsForIt) {
  Cluster cluster;
  cluster.add_pod("web-1", "10.0.0.1").node_name = "gone";
  const auto writes = cluster.reconcile();
  EXPECT_THAT(writes.missing_nodes, ElementsAre("gone"));
  EXPECT_THAT(writes.create.at(0).endpoints, IsEmpty());
  cluster.service.publish_not_ready_addresses = true;
  EXPECT_THAT(cluster.reconcile().create.at(0).endpoints, SizeIs(1));
}

TEST(EndpointSliceReconcile, WhatIsRightIsNotWrittenAgain) {
  Cluster cluster;
  cluster.add_pod("web-1", "10.0.0.1");
  cluster.reconcile_and_apply();
  EXPECT_TRUE(cluster.reconcile().empty());
  cluster.pods.clear();
  cluster.reconcile_and_apply();
  EXPECT_TRUE(cluster.reconcile().empty()) << "the placeholder, too";
}

TEST(EndpointSliceReconcile, AReadinessChangeUpdatesOneSliceInPlace) {
  Cluster cluster;
  for (int i = 0; i < 130; ++i) cluster.add_pod(fmt::format("web-{:03}", i), nth_ip(i));
  cluster.reconcile_and_apply();
  EXPECT_EQ(cluster.sizes(), (std::multiset<std::size_t>{100, 30}));
  cluster.pods[7].conditions[0].status = "False";
  const auto writes = cluster.reconcile_and_apply();
  EXPECT_THAT(writes.update, SizeIs(1));
  EXPECT_THAT(writes.create, IsEmpty());
  EXPECT_THAT(writes.remove, IsEmpty());
}

TEST(EndpointSliceReconcile, ANewcomerFillsTheFullestSliceThatHasRoom) {
  Cluster cluster;
  for (int i = 0; i < 130; ++i) cluster.add_pod(fmt::format("web-{:03}", i), nth_ip(i));
  cluster.reconcile_and_apply();
  cluster.add_pod("web-new", "10.0.9.9");
  const auto writes = cluster.reconcile_and_apply();
  EXPECT_THAT(writes.update, SizeIs(1));
  EXPECT_EQ(cluster.sizes(), (std::multiset<std::size_t>{100, 31}));
}

TEST(EndpointSliceReconcile, PodsResolvingANamedPortDifferentlyAreKeptApart) {
  Cluster cluster;
  cluster.service.ports = {{.name = "http", .port = 80, .target_port = "web"}};
  const auto port = [](int number, Protocol protocol) {
    return std::vector<kube::ContainerPort>{
        {.name = "web", .container_port = number, .protocol = protocol}};
  };
  cluster.add_pod("a", "10.0.0.1").containers = {{.name = "c", .ports = port(8080, Protocol::Tcp)}};
  cluster.add_pod("b", "10.0.0.2").containers = {{.name = "c", .ports = port(9090, Protocol::Tcp)}};
  cluster.add_pod("wrong protocol", "10.0.0.3").containers = {
      {.name = "c", .ports = port(8080, Protocol::Udp)}};
  cluster.add_pod("sidecar", "10.0.0.4").init_containers = {
      {.name = "s", .ports = port(8080, Protocol::Tcp), .restart_policy = "Always"}};
  cluster.reconcile_and_apply();
  std::map<std::string, std::size_t> endpoints_by_port;
  for (const EndpointSlice& s : cluster.slices) {
    endpoints_by_port[s.ports.empty() ? "none" : std::to_string(*s.ports[0].port)] =
        s.endpoints.size();
  }
  EXPECT_EQ(endpoints_by_port,
            (std::map<std::string, std::size_t>{{"8080", 2}, {"9090", 1}, {"none", 1}}));
}

TEST(EndpointSliceReconcile, DualStackHasSlicesOfBothTypesAndLosesOneWithItsFamily) {
  Cluster cluster;
  cluster.service.ip_families = {IpFamily::V4, IpFamily::V6};
  cluster.add_pod("web-1", "10.0.0.1").pod_ips = {"10.0.0.1", "fd00::1"};
  cluster.reconcile_and_apply();
  ASSERT_THAT(cluster.slices, SizeIs(2));
  EXPECT_EQ(cluster.slices[0].endpoints[0].addresses, std::vector<std::string>{"10.0.0.1"});
  EXPECT_EQ(cluster.slices[1].address_type, AddressType::IPv6);
  EXPECT_EQ(cluster.slices[1].endpoints[0].addresses, std::vector<std::string>{"fd00::1"});
  cluster.service.ip_families = {IpFamily::V4};
  const auto writes = cluster.reconcile_and_apply();
  ASSERT_THAT(writes.remove, SizeIs(1));
  EXPECT_EQ(writes.remove[0].address_type, AddressType::IPv6);
}

TEST(EndpointSliceReconcile, ForeignSlicesAreNotTouchedAndOrphansOfAnEarlierServiceGo) {
  Cluster cluster;
  EndpointSlice foreign;
  foreign.metadata = {.name = "mine", .uid = "f", .labels = {{kube::label::kServiceName, "web"}}};
  EndpointSlice orphan;
  orphan.metadata = {.name = "old",
                     .uid = "o",
                     .labels = {{kube::label::kServiceName, "web"},
                                {kube::label::kManagedBy, kEndpointSliceManager}},
                     .owner_references = {{.kind = "Service", .name = "web", .uid = "earlier"}}};
  cluster.slices = {foreign, orphan};
  cluster.add_pod("web-1", "10.0.0.1");
  const auto writes = cluster.reconcile();
  ASSERT_THAT(writes.remove, SizeIs(1));
  EXPECT_EQ(writes.remove[0].metadata.name, "old");
  EXPECT_THAT(writes.create, SizeIs(1));
}

TEST(EndpointSliceReconcile, ThePlaceholderIsReusedForTheFirstEndpoint) {
  Cluster cluster;
  cluster.reconcile_and_apply();
  ASSERT_THAT(cluster.slices, SizeIs(1));
  cluster.add_pod("web-1", "10.0.0.1");
  const auto writes = cluster.reconcile_and_apply();
  EXPECT_THAT(writes.create, IsEmpty());
  EXPECT_THAT(writes.remove, IsEmpty());
  ASSERT_THAT(writes.update, SizeIs(1));
  EXPECT_THAT(writes.update[0].endpoints, SizeIs(1));
  EXPECT_THAT(writes.update[0].ports, SizeIs(1));
}

TEST(EndpointSliceReconcile, TrafficDistributionGivesHintsToReadyEndpoints) {
  Cluster cluster;
  cluster.service.traffic_distribution = "PreferSameNode";
  cluster.add_pod("ready", "10.0.0.1");
  cluster.add_pod("unready", "10.0.0.2", false);
  auto endpoints = cluster.reconcile().create.at(0).endpoints;
  EXPECT_THAT(endpoints.at(0).zone_hints, ElementsAre("zone-node1"));
  EXPECT_THAT(endpoints.at(0).node_hints, ElementsAre("node1"));
  EXPECT_THAT(endpoints.at(1).zone_hints, IsEmpty());
  cluster.service.traffic_distribution = "PreferClose";
  endpoints = cluster.reconcile().create.at(0).endpoints;
  EXPECT_THAT(endpoints.at(0).zone_hints, ElementsAre("zone-node1"));
  EXPECT_THAT(endpoints.at(0).node_hints, IsEmpty());
}

TEST(EndpointSliceReconcile, TopologyModeAutoGivesZonesTheirShareOfTheReadyEndpoints) {
  Cluster cluster;
  cluster.service.metadata.annotations = {{"service.kubernetes.io/topology-mode", "Auto"}};
  cluster.service.traffic_distribution = "PreferSameNode";  // is not asked
  for (int i = 1; i <= 4; ++i) cluster.add_pod(fmt::format("p{}", i), nth_ip(i));
  cluster.add_pod("unready", nth_ip(5), false);
  EXPECT_EQ(cluster.reconcile_and_apply().hints_refused.at(AddressType::IPv4),
            "nodes are ready in no zone");
  const auto hints = [&cluster] {
    std::map<std::string, std::vector<std::string>> out;
    for (const Endpoint& endpoint : cluster.slices.at(0).endpoints) {
      EXPECT_THAT(endpoint.node_hints, IsEmpty());
      out[endpoint.target_ref->name] = endpoint.zone_hints;
    }
    return out;
  };
  using Hints = std::map<std::string, std::vector<std::string>>;
  EXPECT_EQ(hints(), (Hints{{"p1", {}}, {"p2", {}}, {"p3", {}}, {"p4", {}}, {"unready", {}}}));

  for (auto& [key, node] : cluster.nodes) {
    node.conditions = {{.type = "Ready", .status = "True"}};
    node.allocatable_cpu = kube::MilliCpu{2000};
  }
  EXPECT_EQ(cluster.reconcile_and_apply().hints_refused.at(AddressType::IPv4), "");
  const std::string near = "zone-node1", far = "zone-node2";  // all Pods are on node1
  EXPECT_EQ(hints(),
            (Hints{{"p1", {far}}, {"p2", {far}}, {"p3", {near}}, {"p4", {near}}, {"unready", {}}}));
  EXPECT_TRUE(cluster.reconcile().empty());

  // What the hints are computed from changes: one moves, those that were moved stay.
  cluster.nodes[{"", "node2"}].allocatable_cpu = kube::MilliCpu{6000};
  cluster.reconcile_and_apply();
  EXPECT_EQ(hints(),
            (Hints{{"p1", {far}}, {"p2", {far}}, {"p3", {far}}, {"p4", {near}}, {"unready", {}}}));

  cluster.service.metadata.annotations.clear();
  cluster.service.traffic_distribution.reset();
  EXPECT_TRUE(cluster.reconcile_and_apply().hints_refused.empty());
  EXPECT_EQ(hints(), (Hints{{"p1", {}}, {"p2", {}}, {"p3", {}}, {"p4", {}}, {"unready", {}}}));
}

TEST(EndpointSliceReconcile, SlicesAreAsLargeAsConfigured) {
  Cluster cluster;
  cluster.max_endpoints = 3;
  for (int i = 0; i < 8; ++i) cluster.add_pod(fmt::format("p{}", i), nth_ip(i));
  cluster.reconcile_and_apply();
  EXPECT_EQ(cluster.sizes(), (std::multiset<std::size_t>{3, 3, 2}));
}

TEST(EndpointSliceReconcile, TheTriggerTimeIsStampedAndLaterRemoved) {
  Cluster cluster;
  cluster.add_pod("web-1", "10.0.0.1");
  cluster.trigger = WallTime{std::chrono::seconds{1'700'000'000}};
  cluster.reconcile_and_apply();
  EXPECT_EQ(cluster.slices[0].metadata.annotations[kLastChangeTriggerTime], "2023-11-14T22:13:20Z");
  cluster.trigger.reset();
  EXPECT_TRUE(cluster.reconcile().empty()) << "a stale stamp alone is no reason to write";
  cluster.pods[0].conditions[0].status = "False";
  cluster.reconcile_and_apply();
  EXPECT_EQ(cluster.slices[0].metadata.annotations.count(kLastChangeTriggerTime), 0U);
}

TEST(EndpointSliceReconcile, ServicesThatWantNoSlicesGetNone) {
  Cluster cluster;
  cluster.add_pod("web-1", "10.0.0.1");
  cluster.service.selector.clear();
  EXPECT_TRUE(cluster.reconcile().empty());
  cluster.service.selector = {{"app", "web"}};
  cluster.service.type = kube::ServiceType::ExternalName;
  EXPECT_TRUE(cluster.reconcile().empty());
  cluster.service.type = kube::ServiceType::ClusterIp;
  cluster.service.metadata.deletion_timestamp = WallTime{};
  EXPECT_TRUE(cluster.reconcile().empty());
}

TEST(EndpointSliceReconcile, HeadlessServicesSaySoOnTheirSlices) {
  Cluster cluster;
  cluster.service.cluster_ip = "None";
  cluster.service.cluster_ips = {"None"};
  cluster.service.ports.clear();
  cluster.add_pod("web-1", "10.0.0.1");
  const auto writes = cluster.reconcile();
  EXPECT_EQ(writes.create.at(0).metadata.labels.count(kube::label::kHeadless), 1U);
  EXPECT_THAT(writes.create.at(0).ports, IsEmpty());
  EXPECT_THAT(writes.create.at(0).endpoints, SizeIs(1));
}

}  // namespace
}  // namespace fairlead::controllers
