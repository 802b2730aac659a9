// The five kinds of the main job as C++ values: Service, EndpointSlice, Pod, Node, Namespace. Field
// names follow the API in snake_case; strings with a closed set of values become enums where the
// proxy decides by them. Absent and empty are told apart (optional) only where Kubernetes tells
// them apart.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.hpp"
#include "kube/meta.hpp"
#include "kube/quantity.hpp"

namespace fairlead::kube {

// ---- core/v1 Service
// -------------------------------------------------------------------------------------------
enum class ServiceType { ClusterIp, NodePort, LoadBalancer, ExternalName };
enum class TrafficPolicy { Cluster, Local };

using IntOrString = std::variant<std::int32_t, std::string>;

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  std::uint16_t port = 0;
  IntOrString target_port = 0;
  std::uint16_t node_port = 0;  // 0 = none
  std::optional<std::string> app_protocol;
  bool operator==(const ServicePort&) const = default;
};

struct LoadBalancerIngress {
  std::string ip;  // as written; may be empty (hostname only)
  std::string hostname;
  std::optional<std::string> ip_mode;  // "VIP", "Proxy"; absent = VIP
  bool operator==(const LoadBalancerIngress&) const = default;
};

struct Service {
  ObjectMeta metadata;
  ServiceType type = ServiceType::ClusterIp;
  std::vector<ServicePort> ports;
  StringMap selector;
  std::string cluster_ip;                // "", "None" or an address
  std::vector<std::string> cluster_ips;  // parallel to ip_families
  std::vector<IpFamily> ip_families;
  std::vector<std::string> external_ips;
  std::string external_name;
  std::string load_balancer_ip;
  std::string load_balancer_class;  // empty = the cluster's default implementation
  std::vector<std::string> load_balancer_source_ranges;
  bool client_ip_affinity = false;
  std::chrono::seconds affinity_timeout{10800};  // meaningful only with client_ip_affinity
  TrafficPolicy external_traffic_policy = TrafficPolicy::Cluster;
  TrafficPolicy internal_traffic_policy = TrafficPolicy::Cluster;
  std::uint16_t health_check_node_port = 0;
  bool publish_not_ready_addresses = false;
  std::optional<std::string> traffic_distribution;
  std::vector<LoadBalancerIngress> ingress;  // status.loadBalancer.ingress
  bool operator==(const Service&) const = default;
};

// ---- discovery.k8s.io/v1 EndpointSlice
// ---------------------------------------------------------------------------
enum class AddressType { IPv4, IPv6, Fqdn };
std::string_view to_string(AddressType type);

struct ObjectReference {
  std::string kind, namespace_, name, uid;
  bool operator==(const ObjectReference&) const = default;
};

struct Endpoint {
  std::vector<std::string> addresses;
  std::optional<bool> ready;        // absent = true
  std::optional<bool> serving;      // absent = true
  std::optional<bool> terminating;  // absent = false
  std::optional<std::string> hostname;
  std::optional<std::string> node_name;
  std::optional<std::string> zone;
  std::optional<ObjectReference> target_ref;
  std::vector<std::string> zone_hints;  // hints.forZones[].name
  std::vector<std::string> node_hints;  // hints.forNodes[].name
  bool operator==(const Endpoint&) const = default;
};

struct EndpointPort {
  std::optional<std::string> name;  // absent: port is ignored by proxies
  Protocol protocol = Protocol::Tcp;
  std::optional<std::int32_t> port;  // absent: all ports, ignored by proxies
  std::optional<std::string> app_protocol;
  bool operator==(const EndpointPort&) const = default;
};

struct EndpointSlice {
  ObjectMeta metadata;
  AddressType address_type = AddressType::IPv4;
  std::vector<Endpoint> endpoints;
  std::vector<EndpointPort> ports;
  bool operator==(const EndpointSlice&) const = default;
};

// ---- core/v1 Endpoints: what EndpointSlices have replaced
// ---------------------------------------------------------------------------
struct EndpointAddress {
  std::string ip, hostname;
  std::optional<std::string> node_name;
  std::optional<ObjectReference> target_ref;
  bool operator==(const EndpointAddress&) const = default;
};
struct EndpointSubset {
  std::vector<EndpointAddress> addresses, not_ready_addresses;
  std::vector<EndpointPort> ports;
  bool operator==(const EndpointSubset&) const = default;
};
struct Endpoints {
  ObjectMeta metadata;
  std::vector<EndpointSubset> subsets;
  bool operator==(const Endpoints&) const = default;
};

// ---- core/v1 Pod
// -------------------------------------------------------------------------------------------------
struct ContainerPort {
  std::string name;
  std::int32_t container_port = 0;
  Protocol protocol = Protocol::Tcp;
  bool operator==(const ContainerPort&) const = default;
};

struct EnvVar {
  std::string name, value;
  bool operator==(const EnvVar&) const = default;
};

struct Probe {
  struct TcpSocket {
    IntOrString port = 0;
    bool operator==(const TcpSocket&) const = default;
  };
  struct HttpGet {
    std::string path = "/";
    IntOrString port = 0;
    std::string scheme = "HTTP";
    std::vector<std::pair<std::string, std::string>> headers;
    bool operator==(const HttpGet&) const = default;
  };
  struct Exec {
    std::vector<std::string> command;
    bool operator==(const Exec&) const = default;
  };
  std::variant<std::monostate, TcpSocket, HttpGet, Exec> action;
  std::chrono::seconds initial_delay{0}, period{10}, timeout{1};
  int success_threshold = 1, failure_threshold = 3;
  bool operator==(const Probe&) const = default;
};

struct Container {
  std::string name, image;
  std::vector<std::string> command, args;
  std::string working_dir;
  std::vector<EnvVar> env;
  std::vector<ContainerPort> ports;
  std::optional<Probe> readiness_probe;
  std::optional<std::string> restart_policy;  // "Always" on an init container = sidecar
  bool operator==(const Container&) const = default;
};

enum class PodPhase { Pending, Running, Succeeded, Failed, Unknown };
std::string_view to_string(PodPhase phase);

struct Condition {
  std::string type, status, reason, message;  // status "True", "False", "Unknown"
  std::optional<WallTime> last_transition_time;
  bool operator==(const Condition&) const = default;
};

struct ContainerStatus {
  std::string name;
  bool ready = false;
  std::int32_t restart_count = 0;
  bool running = false;
  std::optional<int> exit_code;  // terminated
  std::string waiting_reason;    // waiting, e.g. "CrashLoopBackOff"
  bool operator==(const ContainerStatus&) const = default;
};

struct Pod {
  ObjectMeta metadata;
  std::string node_name;
  std::vector<Container> containers, init_containers;
  std::string restart_policy = "Always";
  std::string hostname, subdomain;
  bool host_network = false;
  std::optional<std::int64_t> termination_grace_period_seconds;
  PodPhase phase = PodPhase::Pending;
  std::string status_reason;  // "Evicted"
  std::string pod_ip, host_ip;
  std::vector<std::string> pod_ips;
  std::vector<Condition> conditions;
  std::vector<ContainerStatus> container_statuses;
  bool operator==(const Pod&) const = default;
};
bool is_ready(const Pod& pod);  // condition Ready is True

// ---- core/v1 Node, Namespace
// ---------------------------------------------------------------------------------------
struct NodeAddress {
  std::string type, address;  // "InternalIP", "ExternalIP", "Hostname"
  bool operator==(const NodeAddress&) const = default;
};
struct Taint {
  std::string key, value, effect;
  bool operator==(const Taint&) const = default;
};
struct Node {
  ObjectMeta metadata;
  std::vector<std::string> pod_cidrs;
  std::vector<Taint> taints;
  bool unschedulable = false;
  std::vector<NodeAddress> addresses;
  std::vector<Condition> conditions;
  std::optional<MilliCpu> allocatable_cpu;
  bool operator==(const Node&) const = default;
};
bool is_ready(const Node& node);  // condition Ready is True

struct Namespace {
  ObjectMeta metadata;
  std::string phase = "Active";
  bool operator==(const Namespace&) const = default;
};

// A range that cluster IPs are taken from (networking.k8s.io/v1, KEP-1880).
struct ServiceCidr {
  ObjectMeta metadata;
  std::vector<std::string> cidrs;
  bool operator==(const ServiceCidr&) const = default;
};

// ---- coordination.k8s.io/v1 Lease
// ---------------------------------------------------------------------------------------
struct Lease {
  ObjectMeta metadata;
  std::string holder_identity;  // empty = nobody
  std::chrono::seconds duration{0};
  std::optional<WallTime> acquire_time, renew_time;  // to the microsecond
  int transitions = 0;
  bool operator==(const Lease&) const = default;
};

}  // namespace fairlead::kube
