#include "proxy/model/model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

kube::Service service_object() {
  kube::Service out;
  out.metadata = {.name = "web", .namespace_ = "ns"};
  out.ports = {{.name = "http", .port = 80, .node_port = 30080}};
  out.cluster_ip = "10.96.0.10";
  out.cluster_ips = {"10.96.0.10"};
  out.ip_families = {IpFamily::V4};
  return out;
}

kube::EndpointSlice slice_object(std::string name, std::vector<std::string> addresses) {
  kube::EndpointSlice out;
  out.metadata = {
      .name = std::move(name), .namespace_ = "ns", .labels = {{kube::label::kServiceName, "web"}}};
  out.ports = {{.name = "http", .port = 8080}};
  for (std::string& address : addresses) out.endpoints.push_back({.addresses = {address}});
  return out;
}

const kube::NamespacedName kWeb{.namespace_ = "ns", .name = "web"};

struct ServiceCase {
  std::string name;
  std::function<void(kube::Service&)> edit;
  std::function<void(std::optional<Service>&)> expect;  // edits what service_object() derives to
};

std::vector<ServiceCase> service_cases() {
  const auto nothing = [](std::optional<Service>& s) { s.reset(); };
  return {
      {.name = "headless", .edit = [](auto& o) { o.cluster_ip = "None"; }, .expect = nothing},
      {.name = "no cluster IP yet", .edit = [](auto& o) { o.cluster_ip = ""; }, .expect = nothing},
      {.name = "ExternalName, even with a cluster IP",
       .edit = [](auto& o) { o.type = kube::ServiceType::ExternalName; },
       .expect = nothing},
      {.name = "another proxy's, whatever the label says",
       .edit = [](auto& o) { o.metadata.labels[kube::label::kServiceProxyName] = ""; },
       .expect = nothing},
      {.name = "edits nobody routes by",
       .edit =
           [](auto& o) {
             o.metadata.labels["app"] = "x";
             o.selector["app"] = "y";
             o.ports[0].target_port = 99;
             o.ports[0].app_protocol = "h2c";
           },
       .expect = [](auto&) {}},
      {.name = "before dual-stack: clusterIP alone",
       .edit =
           [](auto& o) {
             o.cluster_ips.clear();
             o.ip_families.clear();
           },
       .expect = [](auto&) {}},
      {.name = "dual-stack takes clusterIPs by position",
       .edit =
           [](auto& o) {
             o.cluster_ips = {"fd00::10", "10.96.0.10"};
             o.ip_families = {IpFamily::V6, IpFamily::V4};
           },
       .expect =
           [](auto& s) { s->v6 = ServiceAddresses{.cluster_ip = *IpAddress::parse("fd00::10")}; }},
      {.name = "addresses go to their family, broken ones nowhere, sloppy ones are read",
       .edit =
           [](auto& o) {
             o.external_ips = {"203.0.113.007", "fd00::7", "nonsense", "203.0.113.7"};
             o.ingress = {{.ip = "198.51.100.9"},
                          {.ip = "198.51.100.10", .ip_mode = "Proxy"},
                          {.hostname = "lb.example"}};
           },
       .expect =
           [](auto& s) {
             s->v4->external_ips = {*IpAddress::parse("203.0.113.7")};
             s->v4->load_balancer_ips = {*IpAddress::parse("198.51.100.9")};
           }},
      {.name = "source ranges are trimmed and filtered to the family",
       .edit =
           [](auto& o) {
             o.load_balancer_source_ranges = {" 192.168.0.0/16 ", "fd00::/8", "10.1.2.3/8"};
           },
       .expect =
           [](auto& s) {
             s->v4->source_ranges = {*IpPrefix::parse("10.0.0.0/8"),
                                     *IpPrefix::parse("192.168.0.0/16")};
           }},
      {.name = "a range of length 0 lifts the restriction",
       .edit = [](auto& o) { o.load_balancer_source_ranges = {"192.168.0.0/16", "0.0.0.0/0"}; },
       .expect = [](auto&) {}},
      {.name = "policy Local means nothing without a way in",
       .edit = [](auto& o) { o.external_traffic_policy = kube::TrafficPolicy::Local; },
       .expect = [](auto&) {}},
      {.name = "policy Local with external IPs, and a stray health check port",
       .edit =
           [](auto& o) {
             o.external_traffic_policy = kube::TrafficPolicy::Local;
             o.external_ips = {"203.0.113.7"};
             o.health_check_node_port = 31000;
           },
       .expect =
           [](auto& s) {
             s->external_local = true;
             s->v4->external_ips = {*IpAddress::parse("203.0.113.7")};
           }},
      {.name = "load balancer with policy Local has its health check port",
       .edit =
           [](auto& o) {
             o.type = kube::ServiceType::LoadBalancer;
             o.external_traffic_policy = kube::TrafficPolicy::Local;
             o.internal_traffic_policy = kube::TrafficPolicy::Local;
             o.health_check_node_port = 31000;
           },
       .expect =
           [](auto& s) {
             s->external_local = s->internal_local = true;
             s->health_check_node_port = Port{31000};
           }},
      {.name = "affinity carries its timeout",
       .edit =
           [](auto& o) {
             o.client_ip_affinity = true;
             o.affinity_timeout = std::chrono::seconds{60};
           },
       .expect = [](auto& s) { s->affinity = std::chrono::seconds{60}; }},
  };
}

TEST(ServiceFromKube, KeepsWhatDecidesAboutPackets) {
  for (const ServiceCase& c : service_cases()) {
    SCOPED_TRACE(c.name);
    kube::Service object = service_object();
    c.edit(object);
    std::optional<Service> expected =
        Service{.ports = {{.name = "http", .port = Port{80}, .node_port = Port{30080}}},
                .v4 = ServiceAddresses{.cluster_ip = *IpAddress::parse("10.96.0.10")}};
    c.expect(expected);
    EXPECT_EQ(from_kube(object), expected);
  }
}

TEST(NodeFromKube, InternalAddressesComeFirstInListedOrder) {
  kube::Node object;
  object.metadata.labels[kube::label::kTopologyZone] = "z1";
  object.addresses = {{"Hostname", "n1"},
                      {"ExternalIP", "203.0.113.1"},
                      {"InternalIP", "fd00::1"},
                      {"InternalIP", "192.168.0.1"}};
  object.pod_cidrs = {"10.1.0.0/24", "fd00:1::/64"};
  EXPECT_EQ(
      from_kube(object),
      (Node{.known = true,
            .zone = "z1",
            .addresses = {*IpAddress::parse("fd00::1"), *IpAddress::parse("192.168.0.1"),
                          *IpAddress::parse("203.0.113.1")},
            .pod_cidrs = {*IpPrefix::parse("10.1.0.0/24"), *IpPrefix::parse("fd00:1::/64")}}));
  object.taints = {{.key = "ToBeDeletedByClusterAutoscaler"}};
  EXPECT_TRUE(from_kube(object).leaving);
}

TEST(Model, OnlyChangesThatMatterMakeAServiceDirty) {
  Model model;
  model.put(service_object());
  EXPECT_THAT(model.take_dirty(), ElementsAre(kWeb));
  kube::Service same = service_object();
  same.metadata.resource_version = "2";
  same.metadata.annotations["a"] = "b";
  model.put(same);
  EXPECT_THAT(model.take_dirty(), IsEmpty());

  model.put(slice_object("web-1", {"10.0.0.1"}));
  EXPECT_THAT(model.take_dirty(), ElementsAre(kWeb));
  kube::EndpointSlice same_slice = slice_object("web-1", {"10.0.0.1"});
  same_slice.endpoints[0].target_ref = kube::ObjectReference{.kind = "Pod"};
  same_slice.endpoints[0].ready = true;
  model.put(same_slice);
  EXPECT_THAT(model.take_dirty(), IsEmpty());

  model.remove_service(kWeb);
  EXPECT_THAT(model.take_dirty(), ElementsAre(kWeb));
  model.remove_service(kWeb);
  model.remove_slice({.namespace_ = "ns", .name = "unheard-of"});
  EXPECT_THAT(model.take_dirty(), IsEmpty());
}

TEST(Model, SliceFollowsItsLabel) {
  Model model;
  model.put(slice_object("s", {"10.0.0.1"}));
  model.take_dirty();
  kube::EndpointSlice moved = slice_object("s", {"10.0.0.1"});
  moved.metadata.labels[kube::label::kServiceName] = "other";
  model.put(moved);
  const kube::NamespacedName other{.namespace_ = "ns", .name = "other"};
  EXPECT_THAT(model.take_dirty(), ElementsAre(other, kWeb));
  EXPECT_EQ(model.find(kWeb), nullptr);
  ASSERT_NE(model.find(other), nullptr);
  EXPECT_EQ(model.find(other)->slices.size(), 1U);

  moved.metadata.labels.clear();
  model.put(moved);
  EXPECT_EQ(model.find(other), nullptr);
  EXPECT_EQ(model.service_count(), 0U);
}

TEST(Model, SliceKeepsUsablePortsAndEndpointsOnly) {
  Model model;
  kube::EndpointSlice object = slice_object("s", {"10.0.0.010", "fd00::1", "nonsense"});
  object.endpoints.push_back({});
  object.endpoints[0].ready = false;
  object.endpoints[0].terminating = true;
  object.endpoints[0].node_name = "n1";
  object.ports.push_back({.name = std::nullopt, .port = 1});
  object.ports.push_back({.name = "all", .port = std::nullopt});
  object.ports.push_back({.name = "zero", .port = 0});
  model.put(object);
  EXPECT_EQ(model.find(kWeb)->slices.at("s"),
            (Slice{.family = IpFamily::V4,
                   .ports = {{.name = "http", .port = Port{8080}}},
                   .endpoints = {{.address = *IpAddress::parse("10.0.0.10"),
                                  .ready = false,
                                  .serving = true,
                                  .terminating = true,
                                  .node = model.intern("n1")}}}));

  object.address_type = kube::AddressType::Fqdn;
  object.metadata.name = "fqdn";
  model.put(object);
  EXPECT_FALSE(model.find(kWeb)->slices.contains("fqdn"));
}

TEST(Model, EqualHintsShareOneEntry) {
  Model model;
  kube::EndpointSlice object = slice_object("s", {"10.0.0.1", "10.0.0.2", "10.0.0.3"});
  object.endpoints[0].zone_hints = {"b", "a"};
  object.endpoints[1].zone_hints = {"a", "b"};
  model.put(object);
  const auto& endpoints = model.find(kWeb)->slices.at("s").endpoints;
  EXPECT_EQ(endpoints[0].hints, endpoints[1].hints);
  EXPECT_NE(endpoints[0].hints, endpoints[2].hints);
  EXPECT_EQ(model.hints(endpoints[0].hints).zones.size(), 2U);
}

}  // namespace
}  // namespace fairlead::model
