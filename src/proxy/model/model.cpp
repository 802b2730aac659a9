#include "proxy/model/model.hpp"

#include <algorithm>

namespace fairlead::model {
namespace {

constexpr std::string_view kAutoscalerTaint = "ToBeDeletedByClusterAutoscaler";

kube::NamespacedName name_of(const kube::ObjectMeta& meta) {
  return {.namespace_ = meta.namespace_, .name = meta.name};
}

// The Service a slice belongs to; empty = nobody's.
std::string owner_of(const kube::EndpointSlice& object) {
  const auto& labels = object.metadata.labels;
  if (labels.contains(kube::label::kHeadless)) return {};
  const auto found = labels.find(kube::label::kServiceName);
  return found == labels.end() ? std::string() : found->second;
}

}  // namespace

Node from_kube(const kube::Node& object) {
  Node out{.known = true, .leaving = object.metadata.deletion_timestamp.has_value()};
  if (const auto zone = object.metadata.labels.find(kube::label::kTopologyZone);
      zone != object.metadata.labels.end()) {
    out.zone = zone->second;
  }
  for (const std::string_view type : {"InternalIP", "ExternalIP"}) {
    for (const kube::NodeAddress& address : object.addresses) {
      if (address.type != type) continue;
      if (auto ip = IpAddress::parse_sloppy(address.address)) out.addresses.push_back(*ip);
    }
  }
  for (const std::string& text : object.pod_cidrs) {
    if (auto prefix = IpPrefix::parse_sloppy(text)) out.pod_cidrs.push_back(*prefix);
  }
  for (const kube::Taint& taint : object.taints) out.leaving |= taint.key == kAutoscalerTaint;
  return out;
}

void Model::put(const kube::Service& object) {
  const kube::NamespacedName name = name_of(object.metadata);
  std::optional<Service> derived = from_kube(object);
  const auto found = records_.find(name);
  if (found == records_.end() && !derived) return;
  ServiceRecord& record = found == records_.end() ? records_[name] : found->second;
  if (record.service == derived) return;
  record.service = std::move(derived);
  ++counts_.service_changes;
  dirty_.insert(name);
  drop_if_empty(name);
}

void Model::remove_service(const kube::NamespacedName& name) {
  const auto found = records_.find(name);
  if (found == records_.end() || !found->second.service) return;
  found->second.service.reset();
  ++counts_.service_changes;
  dirty_.insert(name);
  drop_if_empty(name);
}

void Model::put(const kube::EndpointSlice& object) {
  const kube::NamespacedName slice_name = name_of(object.metadata);
  const std::string owner = owner_of(object);
  if (const auto old = slice_owner_.find(slice_name);
      old != slice_owner_.end() && old->second != owner) {
    const std::string former = std::exchange(old->second, {});
    slice_owner_.erase(old);
    drop_slice(former, slice_name);
  }
  if (owner.empty() || object.address_type == kube::AddressType::Fqdn) return;

  Slice derived = slice_from_kube(object);
  const kube::NamespacedName service{.namespace_ = slice_name.namespace_, .name = owner};
  auto& slices = records_[service].slices;
  const auto [place, is_new] = slices.try_emplace(slice_name.name);
  if (!is_new && place->second == derived) return;
  place->second = std::move(derived);
  slice_owner_[slice_name] = owner;
  ++counts_.slice_changes;
  dirty_.insert(service);
}

void Model::remove_slice(const kube::NamespacedName& name) {
  const auto found = slice_owner_.find(name);
  if (found == slice_owner_.end()) return;
  const std::string owner = std::move(found->second);
  slice_owner_.erase(found);
  drop_slice(owner, name);
}

void Model::drop_slice(const std::string& owner, const kube::NamespacedName& slice) {
  const kube::NamespacedName service{.namespace_ = slice.namespace_, .name = owner};
  const auto record = records_.find(service);
  if (record == records_.end() || record->second.slices.erase(slice.name) == 0) return;
  ++counts_.slice_changes;
  dirty_.insert(service);
  drop_if_empty(service);
}

void Model::drop_if_empty(const kube::NamespacedName& name) {
  const auto found = records_.find(name);
  if (found != records_.end() && !found->second.service && found->second.slices.empty()) {
    records_.erase(found);
  }
}

const ServiceRecord* Model::find(const kube::NamespacedName& name) const {
  const auto found = records_.find(name);
  return found == records_.end() ? nullptr : &found->second;
}

void Model::mark_all_dirty() {
  for (const auto& [name, record] : records_) dirty_.insert(name);
}

Slice Model::slice_from_kube(const kube::EndpointSlice& object) {
  Slice out{.family = object.address_type == kube::AddressType::IPv4 ? IpFamily::V4 : IpFamily::V6};
  for (const kube::EndpointPort& port : object.ports) {
    // No name: not for proxies. No number: "all ports", which no proxy implements.
    if (!port.name || !port.port || *port.port <= 0 || *port.port > 65535) continue;
    out.ports.push_back({.name = *port.name,
                         .protocol = port.protocol,
                         .port = Port{static_cast<std::uint16_t>(*port.port)}});
  }
  out.endpoints.reserve(object.endpoints.size());
  for (const kube::Endpoint& endpoint : object.endpoints) {
    if (endpoint.addresses.empty()) continue;  // the others are fungible with the first
    const auto address = IpAddress::parse_sloppy(endpoint.addresses.front());
    if (!address || address->family() != out.family) continue;
    out.endpoints.push_back(endpoint_from_kube(endpoint, *address));
  }
  return out;
}

Endpoint Model::endpoint_from_kube(const kube::Endpoint& object, const IpAddress& address) {
  return {
      .address = address,
      .ready = object.ready.value_or(true),
      .serving = object.serving.value_or(true),
      .terminating = object.terminating.value_or(false),
      .node = texts_.intern(object.node_name.value_or("")),
      .hints = intern_hints(object),
  };
}

HintsId Model::intern_hints(const kube::Endpoint& object) {
  if (object.zone_hints.empty() && object.node_hints.empty()) return HintsId{0};
  Hints hints;
  for (const std::string& zone : object.zone_hints) hints.zones.push_back(texts_.intern(zone));
  for (const std::string& node : object.node_hints) hints.nodes.push_back(texts_.intern(node));
  std::ranges::sort(hints.zones);
  std::ranges::sort(hints.nodes);
  const auto [place, is_new] = hints_ids_.try_emplace(hints, static_cast<HintsId>(hints_.size()));
  if (is_new) hints_.push_back(std::move(hints));
  return place->second;
}

}  // namespace fairlead::model
