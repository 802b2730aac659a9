#include "controllers/endpoints_mirror.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace fairlead::controllers {
namespace {

using kube::AddressType;
using kube::Endpoint;
using kube::EndpointPort;
using kube::Endpoints;
using kube::EndpointSlice;

constexpr char kSkipMirror[] = "endpointslice.kubernetes.io/skip-mirror";
constexpr char kLeader[] = "control-plane.alpha.kubernetes.io/leader";
constexpr char kEndpointsManagedBy[] = "endpoints.kubernetes.io/managed-by";
constexpr char kLastApplied[] = "kubectl.kubernetes.io/last-applied-configuration";

using PortList = std::vector<EndpointPort>;

bool port_less(const EndpointPort& a, const EndpointPort& b) {
  return std::tie(a.name, a.protocol, a.port, a.app_protocol) <
         std::tie(b.name, b.protocol, b.port, b.app_protocol);
}
// A port without a name has the empty one in a slice, where absence means something else.
PortList sorted(PortList ports) {
  for (EndpointPort& port : ports) port.name = port.name.value_or("");
  std::ranges::sort(ports, port_less);
  return ports;
}

struct Group {
  AddressType type;
  PortList ports;
  bool operator<(const Group& other) const {
    if (type != other.type) return type < other.type;
    return std::ranges::lexicographical_compare(ports, other.ports, port_less);
  }
};
// What makes two endpoints the same one.
using Identity = std::tuple<std::string, std::string>;  // address, hostname
using Wanted = std::map<Group, std::map<Identity, Endpoint>>;

Identity identity_of(const Endpoint& endpoint) {
  return {endpoint.addresses.empty() ? "" : endpoint.addresses.front(),
          endpoint.hostname.value_or("")};
}

bool has_label(const kube::ObjectMeta& meta, const char* key, std::string_view value) {
  const auto found = meta.labels.find(key);
  return found != meta.labels.end() && found->second == value;
}

bool is_to_be_mirrored(const MirrorInput& input) {
  if (input.service == nullptr || input.endpoints == nullptr) return false;
  const kube::ObjectMeta& meta = input.endpoints->metadata;
  return input.service->selector.empty() && !input.service->metadata.deletion_timestamp &&
         !meta.deletion_timestamp && !has_label(meta, kSkipMirror, "true") &&
         !meta.labels.contains(kEndpointsManagedBy) && !meta.annotations.contains(kLeader);
}

Endpoint endpoint_of(const kube::EndpointAddress& from, const IpAddress& address, bool ready) {
  Endpoint out{.addresses = {address.to_string()}, .ready = ready, .node_name = from.node_name};
  if (!from.hostname.empty()) out.hostname = from.hostname;
  out.target_ref = from.target_ref;
  return out;
}

// What the Endpoints ask for, collected subset by subset.
class Collection {
 public:
  explicit Collection(std::size_t max_addresses) : max_addresses_(max_addresses) {}

  // Ready addresses first: an address that is in both lists is ready.
  void add(const kube::EndpointSubset& subset) {
    const PortList ports = sorted(subset.ports);
    std::size_t room = max_addresses_;
    room = add(subset.addresses, true, ports, room);
    add(subset.not_ready_addresses, false, ports, room);
  }
  Wanted take() { return std::move(wanted_); }
  std::vector<MirrorFinding> findings() const {
    std::vector<MirrorFinding> out;
    if (invalid_ > 0)
      out.push_back({.reason = "InvalidIPAddress",
                     .note = fmt::format("{} addresses are none, the first is \"{}\"", invalid_,
                                         first_invalid_)});
    if (left_out_ > 0)
      out.push_back({.reason = "TooManyAddressesToMirror",
                     .note = fmt::format("{} addresses of a subset are mirrored, {} are left out",
                                         max_addresses_, left_out_)});
    return out;
  }

 private:
  // Answers the room that is left; what is no address takes none.
  std::size_t add(const std::vector<kube::EndpointAddress>& addresses, bool ready,
                  const PortList& ports, std::size_t room) {
    for (const kube::EndpointAddress& from : addresses) {
      const auto address = IpAddress::parse_sloppy(from.ip);
      if (!address) {
        if (invalid_++ == 0) first_invalid_ = from.ip;
        continue;
      }
      if (room == 0) {
        ++left_out_;
        continue;
      }
      --room;
      const AddressType type = address->is_v4() ? AddressType::IPv4 : AddressType::IPv6;
      Endpoint endpoint = endpoint_of(from, *address, ready);
      const Identity id = identity_of(endpoint);
      wanted_[{.type = type, .ports = ports}].try_emplace(id, std::move(endpoint));
    }
    return room;
  }

  std::size_t max_addresses_;
  Wanted wanted_;
  std::size_t invalid_ = 0, left_out_ = 0;
  std::string first_invalid_;
};

EndpointSlice prototype_of(const Endpoints& endpoints) {
  EndpointSlice out;
  const kube::ObjectMeta& from = endpoints.metadata;
  out.metadata.generate_name = from.name + "-";
  out.metadata.namespace_ = from.namespace_;
  out.metadata.labels = from.labels;
  out.metadata.labels[kube::label::kServiceName] = from.name;
  out.metadata.labels[kube::label::kManagedBy] = kMirroringManager;
  out.metadata.annotations = from.annotations;
  out.metadata.annotations.erase(kLastChangeTriggerTime);
  out.metadata.annotations.erase(kLastApplied);
  out.metadata.owner_references = {{.api_version = "v1",
                                    .kind = "Endpoints",
                                    .name = from.name,
                                    .uid = from.uid,
                                    .controller = true,
                                    .block_owner_deletion = true}};
  return out;
}

bool says_the_same(const EndpointSlice& a, const EndpointSlice& b) {
  return a.endpoints == b.endpoints && a.metadata.labels == b.metadata.labels &&
         a.metadata.annotations == b.metadata.annotations;
}

void fill(EndpointSlice& slice, std::map<Identity, Endpoint>& wanted, std::size_t max) {
  while (!wanted.empty() && slice.endpoints.size() < max)
    slice.endpoints.push_back(std::move(wanted.extract(wanted.begin()).mapped()));
}

// What exists keeps its endpoints in place, newcomers fill it up, the rest goes into new slices.
void pack(const EndpointSlice& prototype, const std::vector<const EndpointSlice*>& existing,
          std::map<Identity, Endpoint> wanted, std::size_t max, EndpointSliceWrites& writes) {
  std::vector<EndpointSlice> kept;
  for (const EndpointSlice* slice : existing) {
    EndpointSlice& copy = kept.emplace_back(*slice);
    copy.endpoints.clear();
    copy.metadata.labels = prototype.metadata.labels;
    copy.metadata.annotations = prototype.metadata.annotations;
    for (const Endpoint& endpoint : slice->endpoints) {
      auto node = wanted.extract(identity_of(endpoint));
      if (!node.empty()) copy.endpoints.push_back(std::move(node.mapped()));
    }
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    fill(kept[i], wanted, max);
    if (kept[i].endpoints.empty()) {
      writes.remove.push_back(std::move(kept[i]));
    } else if (!says_the_same(kept[i], *existing[i])) {
      writes.update.push_back(std::move(kept[i]));
    }
  }
  while (!wanted.empty()) fill(writes.create.emplace_back(prototype), wanted, max);
}

}  // namespace

bool is_mirrored(const EndpointSlice& slice) {
  return has_label(slice.metadata, kube::label::kManagedBy, kMirroringManager);
}

MirrorOutcome mirror_endpoints(const MirrorInput& input) {
  MirrorOutcome out;
  const bool wanted_at_all = is_to_be_mirrored(input);
  Collection asked(input.max_addresses);
  if (wanted_at_all) {
    for (const kube::EndpointSubset& subset : input.endpoints->subsets) asked.add(subset);
  }
  Wanted wanted = asked.take();
  out.findings = asked.findings();
  std::map<Group, std::vector<const EndpointSlice*>> existing;
  for (const EndpointSlice* slice : input.slices) {
    if (!is_mirrored(*slice) || slice->metadata.deletion_timestamp) continue;
    const bool ours = wanted_at_all && !slice->metadata.owner_references.empty() &&
                      slice->metadata.owner_references.front().uid == input.endpoints->metadata.uid;
    if (ours) {
      existing[{.type = slice->address_type, .ports = sorted(slice->ports)}].push_back(slice);
    } else {
      out.writes.remove.push_back(*slice);
    }
  }
  if (!wanted_at_all) return out;
  for (const auto& [group, slices] : existing) wanted.try_emplace(group);
  for (auto& [group, endpoints] : wanted) {
    EndpointSlice prototype = prototype_of(*input.endpoints);
    prototype.address_type = group.type;
    prototype.ports = group.ports;
    const auto found = existing.find(group);
    pack(prototype, found == existing.end() ? std::vector<const EndpointSlice*>{} : found->second,
         std::move(endpoints), input.max_addresses, out.writes);
  }
  return out;
}

}  // namespace fairlead::controllers
