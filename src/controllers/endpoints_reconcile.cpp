#include "controllers/endpoints_reconcile.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "controllers/target_port.hpp"
#include "kube/selector.hpp"

namespace fairlead::controllers {
namespace {

using kube::EndpointAddress;
using kube::EndpointPort;
using kube::Endpoints;
using kube::EndpointSubset;
using kube::Pod;
using kube::Service;

using PortList = std::vector<EndpointPort>;  // sorted, so that equal sets compare equal

bool port_less(const EndpointPort& a, const EndpointPort& b) {
  return std::tie(a.name, a.protocol, a.port, a.app_protocol) <
         std::tie(b.name, b.protocol, b.port, b.app_protocol);
}
struct PortListLess {
  bool operator()(const PortList& a, const PortList& b) const {
    return std::ranges::lexicographical_compare(a, b, port_less);
  }
};

bool is_candidate(const Service& service, const Pod& pod) {
  const bool ended = pod.phase == kube::PodPhase::Succeeded || pod.phase == kube::PodPhase::Failed;
  return !ended && (!pod.metadata.deletion_timestamp || service.publish_not_ready_addresses);
}

// Endpoints speak of one family, the Service's first.
IpFamily family_of(const Service& service) {
  if (!service.ip_families.empty()) return service.ip_families.front();
  const auto address = IpAddress::parse_sloppy(service.cluster_ip);
  return address ? address->family() : IpFamily::V4;
}

std::optional<IpAddress> address_of(const Pod& pod, IpFamily family) {
  const std::vector<std::string> single{pod.pod_ip};
  for (const std::string& text : pod.pod_ips.empty() ? single : pod.pod_ips) {
    const auto address = IpAddress::parse_sloppy(text);
    if (address && address->family() == family) return *address;
  }
  return std::nullopt;
}

// nullopt: the pod offers none of the Service's ports.
std::optional<PortList> ports_of(const Service& service, const Pod& pod) {
  PortList out;
  for (const kube::ServicePort& port : service.ports) {
    const auto number = resolve_target_port(port, pod);
    if (!number) continue;
    EndpointPort added{
        .protocol = port.protocol, .port = number, .app_protocol = port.app_protocol};
    if (!port.name.empty()) added.name = port.name;
    out.push_back(std::move(added));
  }
  std::ranges::sort(out, port_less);
  const bool portless = service.ports.empty() && service.cluster_ip == "None";
  if (out.empty() && !portless) return std::nullopt;
  return out;
}

EndpointAddress endpoint_of(const Service& service, const Pod& pod, const IpAddress& address) {
  EndpointAddress out{.ip = address.to_string(),
                      .node_name = pod.node_name,
                      .target_ref = kube::ObjectReference{.kind = "Pod",
                                                          .namespace_ = pod.metadata.namespace_,
                                                          .name = pod.metadata.name,
                                                          .uid = pod.metadata.uid}};
  if (!pod.hostname.empty() && pod.subdomain == service.metadata.name) out.hostname = pod.hostname;
  return out;
}

std::vector<EndpointSubset> subsets_for(const Service& service, std::span<const Pod* const> pods) {
  using Order = std::pair<IpAddress, std::string>;  // address, uid
  struct Group {
    std::map<Order, EndpointAddress> ready, not_ready;
  };
  const auto selector = kube::LabelSelector::match_all(service.selector);
  const IpFamily family = family_of(service);
  std::map<PortList, Group, PortListLess> groups;
  for (const Pod* pod : pods) {
    if (!is_candidate(service, *pod) || !selector.matches(pod->metadata.labels)) continue;
    const auto address = address_of(*pod, family);
    const auto ports = ports_of(service, *pod);
    if (!address || !ports) continue;
    Group& group = groups[*ports];
    const bool ready = service.publish_not_ready_addresses || kube::is_ready(*pod);
    (ready ? group.ready : group.not_ready)
        .emplace(Order{*address, pod->metadata.uid}, endpoint_of(service, *pod, *address));
  }
  std::vector<EndpointSubset> out;
  for (auto& [ports, group] : groups) {
    EndpointSubset& subset = out.emplace_back();
    subset.ports = ports;
    for (auto& [order, address] : group.ready) subset.addresses.push_back(std::move(address));
    for (auto& [order, address] : group.not_ready)
      subset.not_ready_addresses.push_back(std::move(address));
  }
  return out;
}

// Leaves kMaxEndpointsAddresses, ready ones first, each subset its share rounded up. True when
// something had to go.
bool truncate(std::vector<EndpointSubset>& subsets) {
  std::size_t ready = 0, not_ready = 0;
  for (const EndpointSubset& subset : subsets) {
    ready += subset.addresses.size();
    not_ready += subset.not_ready_addresses.size();
  }
  if (ready + not_ready <= kMaxEndpointsAddresses) return false;
  const bool only_ready = ready > kMaxEndpointsAddresses;
  const std::size_t room = only_ready ? kMaxEndpointsAddresses : kMaxEndpointsAddresses - ready;
  const std::size_t total = only_ready ? ready : not_ready;
  std::size_t left = room;
  for (EndpointSubset& subset : subsets) {
    auto& shortened = only_ready ? subset.addresses : subset.not_ready_addresses;
    const std::size_t share = (shortened.size() * room + total - 1) / total;
    shortened.resize(std::min({share, left, shortened.size()}));
    left -= shortened.size();
    if (only_ready) subset.not_ready_addresses.clear();
  }
  std::erase_if(subsets, [](const EndpointSubset& subset) {
    return subset.addresses.empty() && subset.not_ready_addresses.empty();
  });
  return true;
}

kube::StringMap labels_for(const Service& service) {
  kube::StringMap labels = service.metadata.labels;
  labels[kEndpointsManagedBy] = kEndpointsManager;
  if (service.cluster_ip.empty() || service.cluster_ip == "None") {
    labels[kube::label::kHeadless] = "";
  } else {
    labels.erase(kube::label::kHeadless);
  }
  return labels;
}

}  // namespace

std::optional<Endpoints> reconcile_endpoints(const Service& service,
                                             std::span<const Pod* const> pods,
                                             const Endpoints* existing) {
  const bool wanted = service.type != kube::ServiceType::ExternalName &&
                      !service.selector.empty() && !service.metadata.deletion_timestamp;
  if (!wanted || (existing != nullptr && existing->metadata.deletion_timestamp))
    return std::nullopt;
  Endpoints out;
  if (existing != nullptr) out.metadata = existing->metadata;
  out.metadata.name = service.metadata.name;
  out.metadata.namespace_ = service.metadata.namespace_;
  out.metadata.labels = labels_for(service);
  out.subsets = subsets_for(service, pods);
  if (truncate(out.subsets)) {
    out.metadata.annotations[kOverCapacity] = "truncated";
  } else {
    out.metadata.annotations.erase(kOverCapacity);
  }
  if (existing != nullptr && out == *existing) return std::nullopt;
  return out;
}

}  // namespace fairlead::controllers
