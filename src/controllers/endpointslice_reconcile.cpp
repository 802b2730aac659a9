#include "controllers/endpointslice_reconcile.hpp"

#include <algorithm>
#include <ranges>
#include <set>
#include <tuple>

#include "controllers/target_port.hpp"
#include "controllers/topology_hints.hpp"
#include "kube/selector.hpp"

namespace fairlead::controllers {
namespace {

using kube::AddressType;
using kube::Endpoint;
using kube::EndpointPort;
using kube::EndpointSlice;
using kube::Pod;
using kube::Service;

using PortList = std::vector<EndpointPort>;  // sorted, so that equal sets compare equal

auto port_order(const EndpointPort& p) {
  return std::tie(p.name, p.protocol, p.port, p.app_protocol);
}
bool port_less(const EndpointPort& a, const EndpointPort& b) {
  return port_order(a) < port_order(b);
}

struct PortListLess {
  bool operator()(const PortList& a, const PortList& b) const {
    return std::ranges::lexicographical_compare(a, b, port_less);
  }
};

PortList sorted(PortList ports) {
  std::ranges::sort(ports, port_less);
  return ports;
}

// What makes two endpoints the same one in the eyes of a slice: later attributes may change in
// place.
struct Identity {
  std::vector<std::string> addresses;
  std::string hostname, target_namespace, target_name;
  auto operator<=>(const Identity&) const = default;
};

Identity identity_of(const Endpoint& endpoint) {
  Identity id{.addresses = endpoint.addresses, .hostname = endpoint.hostname.value_or("")};
  if (endpoint.target_ref) {
    id.target_namespace = endpoint.target_ref->namespace_;
    id.target_name = endpoint.target_ref->name;
  }
  return id;
}

using EndpointsByIdentity = std::map<Identity, Endpoint>;
using DesiredGroups = std::map<PortList, EndpointsByIdentity, PortListLess>;

AddressType address_type_of(IpFamily family) {
  return family == IpFamily::V4 ? AddressType::IPv4 : AddressType::IPv6;
}

std::vector<AddressType> wanted_types(const Service& service) {
  std::vector<AddressType> types;
  for (const IpFamily family : service.ip_families) types.push_back(address_type_of(family));
  if (types.empty()) {  // written before ipFamilies existed: the cluster IP tells
    const auto address = IpAddress::parse_sloppy(service.cluster_ip);
    types.push_back(address ? address_type_of(address->family()) : AddressType::IPv4);
  }
  return types;
}

std::vector<std::string> addresses_of(const Pod& pod, AddressType type) {
  const std::vector<std::string> single{pod.pod_ip};
  std::vector<std::string> out;
  for (const std::string& text : pod.pod_ips.empty() ? single : pod.pod_ips) {
    const auto address = IpAddress::parse_sloppy(text);
    if (address && address_type_of(address->family()) == type) out.push_back(address->to_string());
  }
  return out;
}

PortList ports_for(const Service& service, const Pod& pod) {
  PortList ports;
  for (const kube::ServicePort& port : service.ports) {
    if (const auto number = resolve_target_port(port, pod)) {
      ports.push_back({.name = port.name,
                       .protocol = port.protocol,
                       .port = number,
                       .app_protocol = port.app_protocol});
    }
  }
  return sorted(std::move(ports));
}

bool wants_hints(const Service& service, std::string_view one, std::string_view other) {
  return service.traffic_distribution &&
         (*service.traffic_distribution == one || *service.traffic_distribution == other);
}

void add_hints(const Service& service, Endpoint& endpoint) {
  if (!endpoint.ready.value_or(false) || wants_topology_hints(service)) return;
  const bool same_node = wants_hints(service, "PreferSameNode", "PreferSameNode");
  if (endpoint.zone && (same_node || wants_hints(service, "PreferSameZone", "PreferClose"))) {
    endpoint.zone_hints = {*endpoint.zone};
  }
  if (endpoint.node_name && same_node) endpoint.node_hints = {*endpoint.node_name};
}

Endpoint endpoint_for(const Service& service, const Pod& pod, std::vector<std::string> addresses,
                      const kube::Node* node) {
  Endpoint endpoint{.addresses = std::move(addresses)};
  const bool serving = kube::is_ready(pod);
  const bool terminating = pod.metadata.deletion_timestamp.has_value();
  endpoint.ready = service.publish_not_ready_addresses || (serving && !terminating);
  endpoint.serving = serving;
  endpoint.terminating = terminating;
  if (!pod.node_name.empty()) endpoint.node_name = pod.node_name;
  if (node != nullptr) {
    const auto zone = node->metadata.labels.find(kube::label::kTopologyZone);
    if (zone != node->metadata.labels.end()) endpoint.zone = zone->second;
  }
  if (!pod.hostname.empty() && pod.subdomain == service.metadata.name)
    endpoint.hostname = pod.hostname;
  endpoint.target_ref = kube::ObjectReference{.kind = "Pod",
                                              .namespace_ = pod.metadata.namespace_,
                                              .name = pod.metadata.name,
                                              .uid = pod.metadata.uid};
  add_hints(service, endpoint);
  return endpoint;
}

bool is_candidate(const Pod& pod) {
  return pod.phase != kube::PodPhase::Succeeded && pod.phase != kube::PodPhase::Failed &&
         (!pod.pod_ip.empty() || !pod.pod_ips.empty());
}

struct Desired {
  std::map<AddressType, DesiredGroups> by_type;
  std::set<std::string> missing_nodes;
};

Desired desired_endpoints(const EndpointSliceInput& input, const std::vector<AddressType>& types) {
  const auto selector = kube::LabelSelector::match_all(input.service.selector);
  Desired desired;
  for (const Pod* pod : input.pods) {
    if (!is_candidate(*pod) || !selector.matches(pod->metadata.labels)) continue;
    const auto node = input.nodes.find({.namespace_ = "", .name = pod->node_name});
    const bool node_missing = !pod->node_name.empty() && node == input.nodes.end();
    if (node_missing && !input.service.publish_not_ready_addresses) {
      desired.missing_nodes.insert(pod->node_name);
      continue;
    }
    for (const AddressType type : types) {
      auto addresses = addresses_of(*pod, type);
      if (addresses.empty()) continue;
      Endpoint endpoint = endpoint_for(input.service, *pod, std::move(addresses),
                                       node == input.nodes.end() ? nullptr : &node->second);
      Identity id = identity_of(endpoint);
      desired.by_type[type][ports_for(input.service, *pod)].insert_or_assign(std::move(id),
                                                                             std::move(endpoint));
    }
  }
  return desired;
}

// Hints by the CPU of zones, over all groups of ports at once. Answers why there are none; empty =
// there are.
std::string add_topology_hints(const Result<ZoneCpu>& cpu,
                               const std::vector<const EndpointSlice*>& existing,
                               DesiredGroups& groups) {
  if (!cpu) return cpu.error().message;
  std::map<Identity, std::string> hints;
  for (const EndpointSlice* slice : existing) {
    for (const Endpoint& endpoint : slice->endpoints) {
      if (endpoint.zone_hints.size() == 1)
        hints.emplace(identity_of(endpoint), endpoint.zone_hints.front());
    }
  }
  std::vector<Endpoint*> ready;
  std::vector<ZonedEndpoint> zoned;
  for (auto& [ports, endpoints] : groups) {
    for (auto& [id, endpoint] : endpoints) {
      if (!endpoint.ready.value_or(false)) continue;
      const auto hint = hints.find(id);
      ready.push_back(&endpoint);
      zoned.push_back(
          {.zone = endpoint.zone.value_or(""), .hint = hint == hints.end() ? "" : hint->second});
    }
  }
  const auto zones = allocate_hints(*cpu, zoned);
  if (!zones) return zones.error().message;
  for (std::size_t i = 0; i < ready.size(); ++i) ready[i]->zone_hints = {(*zones)[i]};
  return "";
}

bool is_reserved_label(std::string_view key) {
  return key == kube::label::kServiceName || key == kube::label::kManagedBy ||
         key == kube::label::kHeadless;
}

kube::StringMap labels_for(const Service& service) {
  kube::StringMap labels;
  for (const auto& [key, value] : service.metadata.labels) {
    if (!is_reserved_label(key)) labels[key] = value;
  }
  labels[kube::label::kServiceName] = service.metadata.name;
  labels[kube::label::kManagedBy] = kEndpointSliceManager;
  if (service.cluster_ip.empty() || service.cluster_ip == "None")
    labels[kube::label::kHeadless] = "";
  return labels;
}

bool is_owned_by(const EndpointSlice& slice, const Service& service) {
  return std::ranges::any_of(slice.metadata.owner_references,
                             [&](const kube::OwnerReference& owner) {
                               return owner.kind == "Service" && owner.uid == service.metadata.uid;
                             });
}

EndpointSlice new_slice(const Service& service, AddressType type, const PortList& ports) {
  EndpointSlice slice{.address_type = type, .ports = ports};
  slice.metadata.generate_name = service.metadata.name + "-";
  slice.metadata.namespace_ = service.metadata.namespace_;
  slice.metadata.labels = labels_for(service);
  slice.metadata.owner_references = {{.api_version = "v1",
                                      .kind = "Service",
                                      .name = service.metadata.name,
                                      .uid = service.metadata.uid,
                                      .controller = true,
                                      .block_owner_deletion = true}};
  return slice;
}

// One group's slices while they are being packed. `changed` slices are written anyway, so they are
// filled first.
struct Packing {
  std::vector<EndpointSlice> unchanged, changed, emptied, created;
};

// Step 1: what exists keeps what is still wanted, in place.
Packing keep_wanted(std::vector<const EndpointSlice*> existing, EndpointsByIdentity& wanted,
                    const kube::StringMap& labels) {
  Packing packing;
  for (const EndpointSlice* slice : existing) {
    EndpointSlice kept = *slice;
    kept.endpoints.clear();
    for (const Endpoint& endpoint : slice->endpoints) {
      const auto found = wanted.find(identity_of(endpoint));
      if (found == wanted.end()) continue;
      kept.endpoints.push_back(std::move(found->second));
      wanted.erase(found);
    }
    kept.metadata.labels = labels;
    const bool same =
        kept.endpoints == slice->endpoints && kept.metadata.labels == slice->metadata.labels;
    if (kept.endpoints.empty()) {
      packing.emptied.push_back(std::move(kept));
    } else {
      (same ? packing.unchanged : packing.changed).push_back(std::move(kept));
    }
  }
  return packing;
}

void fill(EndpointSlice& slice, EndpointsByIdentity& wanted, std::size_t max) {
  while (!wanted.empty() && slice.endpoints.size() < max) {
    slice.endpoints.push_back(std::move(wanted.begin()->second));
    wanted.erase(wanted.begin());
  }
}

// Steps 2 and 3: newcomers go into slices that are written anyway, fullest first; then into one
// unchanged slice that can take all of them; then into new slices.
void place_newcomers(Packing& packing, EndpointsByIdentity& wanted, const EndpointSlice& prototype,
                     std::size_t max) {
  std::ranges::sort(packing.changed, std::greater{},
                    [](const EndpointSlice& s) { return s.endpoints.size(); });
  for (EndpointSlice& slice : packing.changed) fill(slice, wanted, max);
  if (!wanted.empty() && wanted.size() < max) {
    auto best = packing.unchanged.end();
    for (auto it = packing.unchanged.begin(); it != packing.unchanged.end(); ++it) {
      const bool fits = it->endpoints.size() + wanted.size() <= max;
      if (fits &&
          (best == packing.unchanged.end() || it->endpoints.size() > best->endpoints.size()))
        best = it;
    }
    if (best != packing.unchanged.end()) {
      fill(*best, wanted, max);
      packing.changed.push_back(std::move(*best));
      packing.unchanged.erase(best);
    }
  }
  while (!wanted.empty()) {
    EndpointSlice slice = prototype;
    fill(slice, wanted, max);
    packing.created.push_back(std::move(slice));
  }
}

struct Collected {
  std::vector<EndpointSlice> create, update, remove;
  std::size_t kept = 0;  // slices of this address type that stay as they are
};

void pack_group(const EndpointSliceInput& input, AddressType type, const PortList& ports,
                EndpointsByIdentity wanted, std::vector<const EndpointSlice*> existing,
                Collected& out) {
  const EndpointSlice prototype = new_slice(input.service, type, ports);
  Packing packing = keep_wanted(std::move(existing), wanted, prototype.metadata.labels);
  place_newcomers(packing, wanted, prototype, input.max_endpoints);
  out.kept += packing.unchanged.size();
  std::ranges::move(packing.changed, std::back_inserter(out.update));
  std::ranges::move(packing.emptied, std::back_inserter(out.remove));
  std::ranges::move(packing.created, std::back_inserter(out.create));
}

// Step 4: an object to be deleted serves instead of one to be created (same owner, same address
// type).
void reuse_removed(Collected& out) {
  while (!out.create.empty() && !out.remove.empty()) {
    EndpointSlice reused = std::move(out.create.back());
    reused.metadata = std::move(out.remove.back().metadata);
    out.create.pop_back();
    out.remove.pop_back();
    out.update.push_back(std::move(reused));
  }
}

// A service without endpoints still has one empty slice per address type, which tells "none" from
// "not yet looked at".
void ensure_placeholder(const EndpointSliceInput& input, AddressType type, Collected& out) {
  if (out.kept + out.create.size() + out.update.size() > 0) return;
  const EndpointSlice placeholder = new_slice(input.service, type, {});
  const auto existing = std::ranges::find_if(out.remove, [&](const EndpointSlice& slice) {
    return slice.endpoints.empty() && slice.ports.empty();
  });
  if (existing == out.remove.end()) {
    out.create.push_back(placeholder);
    return;
  }
  out.update.push_back(std::move(*existing));
  out.remove.erase(existing);
}

std::map<PortList, std::vector<const EndpointSlice*>, PortListLess> grouped_by_ports(
    const std::vector<const EndpointSlice*>& slices) {
  std::map<PortList, std::vector<const EndpointSlice*>, PortListLess> groups;
  for (const EndpointSlice* slice : slices) groups[sorted(slice->ports)].push_back(slice);
  return groups;
}

Collected reconcile_type(const EndpointSliceInput& input, AddressType type, DesiredGroups desired,
                         const std::vector<const EndpointSlice*>& existing) {
  Collected out;
  auto groups = grouped_by_ports(existing);
  for (auto& [ports, slices] : groups) {
    const auto wanted = desired.find(ports);
    pack_group(input, type, ports,
               wanted == desired.end() ? EndpointsByIdentity{} : std::move(wanted->second), slices,
               out);
    if (wanted != desired.end()) desired.erase(wanted);
  }
  for (auto& [ports, wanted] : desired) pack_group(input, type, ports, std::move(wanted), {}, out);
  reuse_removed(out);
  ensure_placeholder(input, type, out);
  return out;
}

void stamp_trigger(EndpointSlice& slice, const std::optional<WallTime>& trigger) {
  if (trigger) {
    slice.metadata.annotations[kLastChangeTriggerTime] = format_rfc3339(*trigger);
  } else {
    slice.metadata.annotations.erase(kLastChangeTriggerTime);
  }
}

// An update that says what the server already has is no update.
bool says_something_new(const EndpointSlice& slice,
                        std::span<const EndpointSlice* const> existing) {
  return std::ranges::none_of(existing, [&](const EndpointSlice* old) {
    return old->metadata.uid == slice.metadata.uid &&
           old->metadata.labels == slice.metadata.labels && old->endpoints == slice.endpoints &&
           sorted(old->ports) == sorted(slice.ports);
  });
}

void append(const EndpointSliceInput& input, Collected collected, EndpointSliceWrites& writes) {
  for (EndpointSlice& slice : collected.create) {
    stamp_trigger(slice, input.trigger);
    writes.create.push_back(std::move(slice));
  }
  for (EndpointSlice& slice : collected.update) {
    if (!says_something_new(slice, input.slices)) continue;
    stamp_trigger(slice, input.trigger);
    writes.update.push_back(std::move(slice));
  }
  std::ranges::move(collected.remove, std::back_inserter(writes.remove));
}

}  // namespace

bool wants_endpoint_slices(const Service& service) {
  return service.type != kube::ServiceType::ExternalName && !service.selector.empty();
}

EndpointSliceWrites reconcile_endpoint_slices(const EndpointSliceInput& input) {
  EndpointSliceWrites writes;
  if (!wants_endpoint_slices(input.service) || input.service.metadata.deletion_timestamp)
    return writes;
  const std::vector<AddressType> types = wanted_types(input.service);
  std::map<AddressType, std::vector<const EndpointSlice*>> own;
  for (const EndpointSlice* slice : input.slices) {
    const auto manager = slice->metadata.labels.find(kube::label::kManagedBy);
    const bool ours =
        manager != slice->metadata.labels.end() && manager->second == kEndpointSliceManager;
    if (!ours || slice->metadata.deletion_timestamp) continue;
    const bool wanted = is_owned_by(*slice, input.service) &&
                        std::ranges::find(types, slice->address_type) != types.end();
    if (wanted) {
      own[slice->address_type].push_back(slice);
    } else {
      writes.remove.push_back(*slice);
    }
  }
  Desired desired = desired_endpoints(input, types);
  writes.missing_nodes.assign(desired.missing_nodes.begin(), desired.missing_nodes.end());
  if (wants_topology_hints(input.service)) {
    const auto cpu = zone_cpu(input.nodes);
    for (const AddressType type : types)
      writes.hints_refused[type] = add_topology_hints(cpu, own[type], desired.by_type[type]);
  }
  for (const AddressType type : types) {
    append(input, reconcile_type(input, type, std::move(desired.by_type[type]), own[type]), writes);
  }
  return writes;
}

}  // namespace fairlead::controllers
