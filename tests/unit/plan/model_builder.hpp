// Objects for plan tests in few words. Not a fixture: each test builds its own model.
#pragma once

#include <functional>
#include <string>

#include "proxy/plan/compile.hpp"

namespace fairlead::plan {

inline IpAddress addr(std::string_view text) { return *IpAddress::parse(text); }

inline kube::Service make_service(std::string name, std::string cluster_ip) {
  kube::Service out;
  out.metadata = {.name = std::move(name), .namespace_ = "ns"};
  out.cluster_ip = cluster_ip;
  out.cluster_ips = {cluster_ip};
  out.ip_families = {addr(cluster_ip).family()};
  out.ports = {{.name = "p", .port = 80}};
  return out;
}

inline kube::Endpoint make_endpoint(std::string address, std::string node = "n1") {
  return {.addresses = {std::move(address)}, .node_name = std::move(node)};
}

inline kube::EndpointSlice make_slice(std::string name, std::string service,
                                      std::vector<kube::Endpoint> endpoints) {
  kube::EndpointSlice out;
  out.metadata = {.name = std::move(name),
                  .namespace_ = "ns",
                  .labels = {{kube::label::kServiceName, std::move(service)}}};
  out.ports = {{.name = "p", .port = 8080}};
  out.endpoints = std::move(endpoints);
  return out;
}

inline NodeContext make_node() {
  return {.name = "n1",
          .zone = "z1",
          .addresses = {{IpFamily::V4, addr("192.168.50.1")}, {IpFamily::V6, addr("fd00:50::1")}},
          .families = {{IpFamily::V4, NodePlan{}}, {IpFamily::V6, NodePlan{}}}};
}

inline PlanKey make_key(std::string name, IpFamily family = IpFamily::V4,
                        Protocol protocol = Protocol::Tcp) {
  return {.service_port = {.namespace_ = "ns",
                           .name = std::move(name),
                           .port = "p",
                           .protocol = protocol},
          .family = family};
}

}  // namespace fairlead::plan
