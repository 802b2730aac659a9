// The Plan: what the node's kernel must do for every service port, as a value. The compiler
// (compile.hpp) makes it from the model; every mode, `explain`, `render` and the tests read it, and
// none of them looks at a Service again.
//
// Shapes: a Plan holds one ServicePlan per (service port, IP family). A ServicePlan owns up to two
// pools of backends and the frontends that lead to them. All selection rules (ready /
// serving-terminating fall-back, traffic policies, topology hints; spec/kube-proxy 3) are already
// applied: a mode maps frontends to pools and nothing else.
//
// Invariants: backends of a pool are unique and ordered by the text "ip:port"; frontends are
// ordered; addresses are of the ServicePlan's family; a ServicePlan is immutable once published
// (shared_ptr<const>), so a delta can carry the old and the new one and cost nothing. Not here:
// kernel object names, marks, priorities (modes), watching and scheduling (proxy/).
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.hpp"

namespace fairlead::plan {

struct ServicePortName {
  std::string namespace_;
  std::string name;
  std::string port;  // may be empty (the only port of a service)
  Protocol protocol = Protocol::Tcp;

  std::string to_string() const;  // "ns/name:port" or "ns/name", as in kube-proxy's comments
  auto operator<=>(const ServicePortName&) const = default;
};

// Identity of a ServicePlan.
struct PlanKey {
  ServicePortName service_port;
  IpFamily family = IpFamily::V4;
  auto operator<=>(const PlanKey&) const = default;
};

struct Backend {
  IpAddress address;
  Port port{};
  bool local = false;  // runs on this node
  auto operator<=>(const Backend&) const = default;
};
using Pool = std::vector<Backend>;

enum class FrontendKind : std::uint8_t { ClusterIp, ExternalIp, LoadBalancerIp, NodePort };

// Where a connection of one class of clients goes.
enum class Target : std::uint8_t {
  ClusterPool,
  LocalPool,
  Reject,  // answer at once: TCP reset or ICMP port unreachable (clients see ECONNREFUSED)
  Drop,    // silence
};

// Whose source address is replaced by the node's on the way to the backend. Hairpin (a backend
// talking to itself through a service) is always masqueraded and not expressed here.
enum class Masquerade : std::uint8_t {
  Never,
  OffCluster,  // clients that the local detector does not know as pods (ClusterIP entry)
  Always,
};

struct Frontend {
  FrontendKind kind = FrontendKind::ClusterIp;
  IpAddress address;  // unspecified for NodePort: the node's own addresses (see
                      // NodePlan::node_port_addresses)
  Port port{};

  // For clients in general.
  Target target = Target::Reject;
  Masquerade masquerade = Masquerade::Never;

  // externalTrafficPolicy Local: pods of this node (never masqueraded) and the node itself (always
  // masqueraded) reach the cluster pool whatever `target` says. Without a local detector only the
  // node itself takes the short cut.
  bool short_circuit = false;

  // LoadBalancerIp only. Non-empty: other sources are dropped, before anything above (pods and node
  // included). Already holds the address itself where the node's IP is in a range.
  std::vector<IpPrefix> source_ranges;

  auto operator<=>(const Frontend&) const = default;
};

struct ServicePlan {
  PlanKey key;
  std::optional<std::chrono::seconds> affinity;  // ClientIP: sticky per client address until that
                                                 // long after its last new connection
  Pool cluster_pool;
  Pool local_pool;
  std::vector<Frontend> frontends;
  // Of the whole Service: where load balancers ask this node, which must let them.
  std::optional<Port> health_check_node_port;
  // As the Service's annotation has it, unchecked; empty: the node's choice. Other modes have no
  // choice of schedulers.
  std::string ipvs_scheduler;
  // Endpoints are told of the client by the PROXY protocol, version 2: in mode userspace, TCP.
  bool proxy_protocol = false;
  bool operator==(const ServicePlan&) const = default;
};
using ServicePlanPtr = std::shared_ptr<const ServicePlan>;

// How pod traffic of this node is told from the rest (--detect-local-mode). At most one is set for
// a family; none = no detector.
struct LocalDetector {
  std::optional<IpPrefix> source_prefix;  // ClusterCIDR, NodeCIDR
  std::string interface_name;             // BridgeInterface
  std::string interface_prefix;           // InterfaceNamePrefix
  bool implemented() const {
    return source_prefix.has_value() || !interface_name.empty() || !interface_prefix.empty();
  }
  bool operator==(const LocalDetector&) const = default;
};

// What is the same for all services of one family on this node.
struct NodePlan {
  LocalDetector detector;
  bool masquerade_all = false;
  std::uint32_t masquerade_mark = 0x4000;  // one bit
  // Addresses on which NodePorts answer; empty optional = every local address except loopback.
  std::optional<std::vector<IpAddress>> node_port_addresses;
  // Known service ranges: unallocated addresses in them are dropped, other ports of allocated
  // ClusterIPs rejected.
  std::vector<IpPrefix> service_cidrs;
  bool operator==(const NodePlan&) const = default;
};

struct Plan {
  std::map<IpFamily, NodePlan> nodes;  // one per family programmed; a missing family is not touched
  std::map<PlanKey, ServicePlanPtr> services;
};

// Difference between two Plans. Services whose ServicePlan did not change do not appear.
struct ServiceChange {
  ServicePlanPtr before;  // null: new
  ServicePlanPtr after;   // null: gone
};
struct PlanDelta {
  std::vector<IpFamily> nodes_changed;  // families whose NodePlan in `plan` is new
  std::vector<ServiceChange> services;  // ordered by key
  bool empty() const { return nodes_changed.empty() && services.empty(); }
};

PlanDelta diff(const Plan& before, const Plan& after);

}  // namespace fairlead::plan
