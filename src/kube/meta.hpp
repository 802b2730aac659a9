// Metadata common to all Kubernetes objects, as plain values. Only fields some part of Fairlead
// reads or writes are here: these structs serve clients (proxy, controllers, lab). The API server
// keeps whole documents instead, so that nothing a user stored is lost.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"

namespace fairlead::kube {

using StringMap = std::map<std::string, std::string>;

struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool block_owner_deletion = false;
  bool operator==(const OwnerReference&) const = default;
};

struct ObjectMeta {
  std::string name;
  std::string generate_name;
  std::string namespace_;  // empty for cluster-scoped kinds
  std::string uid;
  std::string resource_version;
  std::optional<WallTime> creation_timestamp;
  std::optional<WallTime> deletion_timestamp;
  std::optional<std::int64_t> deletion_grace_period_seconds;
  StringMap labels;
  StringMap annotations;
  std::vector<OwnerReference> owner_references;
  std::vector<std::string> finalizers;
  bool operator==(const ObjectMeta&) const = default;
};

// "namespace/name", or "name" for cluster-scoped objects: the key of caches and queues.
std::string object_key(const ObjectMeta& meta);

struct NamespacedName {
  std::string namespace_;
  std::string name;
  std::string to_string() const { return namespace_.empty() ? name : namespace_ + "/" + name; }
  auto operator<=>(const NamespacedName&) const = default;
};

namespace label {
inline constexpr char kServiceName[] = "kubernetes.io/service-name";
inline constexpr char kServiceProxyName[] = "service.kubernetes.io/service-proxy-name";
inline constexpr char kHeadless[] = "service.kubernetes.io/headless";
inline constexpr char kManagedBy[] = "endpointslice.kubernetes.io/managed-by";
inline constexpr char kTopologyZone[] = "topology.kubernetes.io/zone";
inline constexpr char kHostname[] = "kubernetes.io/hostname";
}  // namespace label

}  // namespace fairlead::kube
