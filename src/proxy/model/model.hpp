// What the cluster says, as far as this node's proxy needs it: Services, EndpointSlices and our
// Node, in a compact form, and which Services changed since somebody last asked.
//
// Owner: the proxy's loop; not thread-safe. Pure: no I/O, no clock.
// Invariants: a Service and its slices live in one record, found by the Service's name; a slice
// belongs to the Service named by its label, nothing else (ownerReferences are not read). A change
// that leaves the derived values equal marks nothing dirty, so re-delivered and irrelevant updates
// cost a comparison. An endpoint that moves between two slices of a Service is seen in the union of
// both; the caller takes the dirty names only after a batch of events, so it never sees half a move
// that arrived whole.
// Not here: choosing endpoints and policies (plan/compile), watching (proxy/).
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <unordered_map>

#include "kube/meta.hpp"
#include "proxy/model/service.hpp"

namespace fairlead::model {

struct ServiceRecord {
  std::optional<Service> service;       // absent: only slices are known so far, or not ours
  std::map<std::string, Slice> slices;  // by slice name
};

// What this node's Node object says. Absent object: everything empty.
struct Node {
  bool known = false;
  std::string zone;
  std::vector<IpAddress> addresses;  // InternalIP in listed order, then ExternalIP
  std::vector<IpPrefix> pod_cidrs;
  bool leaving = false;  // being deleted, or tainted by the cluster autoscaler
  bool operator==(const Node&) const = default;
};
Node from_kube(const kube::Node& object);

struct Counts {
  std::uint64_t service_changes = 0;  // that altered something derived
  std::uint64_t slice_changes = 0;
};

class Model {
 public:
  // Add or update; the reflectors do not tell these apart after a re-list either.
  void put(const kube::Service& object);
  void put(const kube::EndpointSlice& object);
  void put(const kube::Node& object) { node_ = from_kube(object); }

  void remove_service(const kube::NamespacedName& name);
  void remove_slice(const kube::NamespacedName& name);
  void remove_node() { node_ = Node{}; }

  const ServiceRecord* find(const kube::NamespacedName& name) const;
  const Node& node() const { return node_; }
  const Hints& hints(HintsId id) const { return hints_[static_cast<std::uint32_t>(id)]; }
  TextId intern(std::string_view text) { return texts_.intern(text); }
  std::string_view text(TextId id) const { return texts_.text(id); }

  // Names whose derived values changed since the last take_dirty(), including those now gone.
  const std::set<kube::NamespacedName>& dirty() const { return dirty_; }
  std::set<kube::NamespacedName> take_dirty() { return std::exchange(dirty_, {}); }
  void mark_dirty(const kube::NamespacedName& name) { dirty_.insert(name); }
  void mark_all_dirty();

  const Counts& counts() const { return counts_; }
  std::size_t service_count() const { return records_.size(); }

  // Calls visit(name, record) for every Service known by object or by slice, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [name, record] : records_) visit(name, record);
  }

 private:
  struct NameHash {
    std::size_t operator()(const kube::NamespacedName& name) const noexcept {
      const std::hash<std::string_view> hash;
      return hash(name.namespace_) * 31 + hash(name.name);
    }
  };

  Slice slice_from_kube(const kube::EndpointSlice& object);
  Endpoint endpoint_from_kube(const kube::Endpoint& object, const IpAddress& address);
  HintsId intern_hints(const kube::Endpoint& object);
  void drop_slice(const std::string& owner, const kube::NamespacedName& slice);
  void drop_if_empty(const kube::NamespacedName& name);

  Interner texts_;
  std::vector<Hints> hints_{Hints{}};
  std::map<Hints, HintsId> hints_ids_{{Hints{}, HintsId{0}}};
  std::unordered_map<kube::NamespacedName, ServiceRecord, NameHash> records_;
  std::unordered_map<kube::NamespacedName, std::string, NameHash> slice_owner_;  // -> service name
  std::set<kube::NamespacedName> dirty_;
  Node node_;
  Counts counts_;
};

}  // namespace fairlead::model
