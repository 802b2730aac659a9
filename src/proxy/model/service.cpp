#include "proxy/model/service.hpp"

#include <algorithm>

namespace fairlead::model {
namespace {

bool is_ours(const kube::Service& object) {
  return !object.metadata.labels.contains(kube::label::kServiceProxyName) &&
         object.type != kube::ServiceType::ExternalName && !object.cluster_ip.empty() &&
         object.cluster_ip != "None";
}

// The cluster IP of `family`: clusterIPs is parallel to ipFamilies; objects written before
// dual-stack have only clusterIP.
std::optional<IpAddress> cluster_ip_of(const kube::Service& object, IpFamily family) {
  const auto usable = [&](const std::string& text) -> std::optional<IpAddress> {
    const auto address = IpAddress::parse_sloppy(text);
    if (!address || address->family() != family) return std::nullopt;
    return *address;
  };
  if (object.ip_families.empty()) return usable(object.cluster_ip);
  for (std::size_t i = 0; i < object.ip_families.size() && i < object.cluster_ips.size(); ++i) {
    if (object.ip_families[i] == family) return usable(object.cluster_ips[i]);
  }
  // ipFamilies without clusterIPs: only hand-made objects of old servers.
  return object.cluster_ips.empty() ? usable(object.cluster_ip) : std::nullopt;
}

void add_address(std::vector<IpAddress>& out, const std::string& text, IpFamily family) {
  const auto address = IpAddress::parse_sloppy(text);
  if (!address || address->family() != family) return;
  if (std::ranges::find(out, *address) == out.end()) out.push_back(*address);
}

// A range of length 0 admits everybody, and so do no ranges of this family.
std::vector<IpPrefix> source_ranges_of(const kube::Service& object, IpFamily family) {
  std::vector<IpPrefix> out;
  for (const std::string& text : object.load_balancer_source_ranges) {
    const auto prefix = IpPrefix::parse_sloppy(text);
    if (!prefix || prefix->family() != family) continue;
    if (prefix->length() == 0) return {};
    out.push_back(*prefix);
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

std::optional<ServiceAddresses> addresses_of(const kube::Service& object, IpFamily family) {
  const auto cluster_ip = cluster_ip_of(object, family);
  if (!cluster_ip) return std::nullopt;
  ServiceAddresses out{.cluster_ip = *cluster_ip};
  for (const std::string& text : object.external_ips) add_address(out.external_ips, text, family);
  for (const kube::LoadBalancerIngress& ingress : object.ingress) {
    if (ingress.ip_mode.value_or("VIP") == "VIP") {
      add_address(out.load_balancer_ips, ingress.ip, family);
    }
  }
  out.source_ranges = source_ranges_of(object, family);
  return out;
}

// Policy Local says nothing about a Service that nobody outside can address.
bool has_external_policy(const kube::Service& object) {
  switch (object.type) {
    case kube::ServiceType::LoadBalancer:
    case kube::ServiceType::NodePort:
      return true;
    case kube::ServiceType::ClusterIp:
      return !object.external_ips.empty();
    case kube::ServiceType::ExternalName:
      return false;
  }
  return false;
}

}  // namespace

std::optional<Service> from_kube(const kube::Service& object) {
  if (!is_ours(object)) return std::nullopt;
  Service out{
      .v4 = addresses_of(object, IpFamily::V4),
      .v6 = addresses_of(object, IpFamily::V6),
      .external_local = object.external_traffic_policy == kube::TrafficPolicy::Local &&
                        has_external_policy(object),
      .internal_local = object.internal_traffic_policy == kube::TrafficPolicy::Local,
  };
  if (!out.v4 && !out.v6) return std::nullopt;
  if (object.client_ip_affinity) out.affinity = object.affinity_timeout;
  if (out.external_local && object.type == kube::ServiceType::LoadBalancer) {
    out.health_check_node_port = Port{object.health_check_node_port};
  }
  if (const auto chosen = object.metadata.annotations.find(std::string(kIpvsScheduler));
      chosen != object.metadata.annotations.end()) {
    out.ipvs_scheduler = chosen->second;
  }
  const auto wants_header = object.metadata.annotations.find(std::string(kProxyProtocol));
  out.proxy_protocol =
      wants_header != object.metadata.annotations.end() && wants_header->second == "v2";
  out.ports.reserve(object.ports.size());
  for (const kube::ServicePort& port : object.ports) {
    out.ports.push_back({.name = port.name,
                         .protocol = port.protocol,
                         .port = Port{port.port},
                         .node_port = Port{port.node_port}});
  }
  return out;
}

}  // namespace fairlead::model
