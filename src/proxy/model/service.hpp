// What the proxy keeps of one Service and of one EndpointSlice: only what decides about packets, in
// few bytes. Derived once from the API objects (from_kube), compared as a whole to see whether an
// edit matters at all. Values; no pointers, no text that can be a number.
// Not here: which endpoints are chosen (plan/compile).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.hpp"
#include "kube/objects.hpp"
#include "proxy/model/interner.hpp"

namespace fairlead::model {

// Annotation of a Service: the scheduler that mode ipvs gives its virtual servers, "wrr" or with
// options "sh:port,fallback".
inline constexpr std::string_view kIpvsScheduler = "fairlead.io/ipvs-scheduler";

// Annotation of a Service: "v2" has mode userspace begin each TCP connection to an endpoint with
// that header of the PROXY protocol. Endpoints must expect it.
inline constexpr std::string_view kProxyProtocol = "fairlead.io/proxy-protocol";

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  Port port{};
  Port node_port{};  // 0 = none
  bool operator==(const ServicePort&) const = default;
};

// Addresses of one family.
struct ServiceAddresses {
  IpAddress cluster_ip;
  std::vector<IpAddress> external_ips;
  std::vector<IpAddress> load_balancer_ips;  // ingress of mode VIP
  std::vector<IpPrefix> source_ranges;       // empty = everybody
  bool operator==(const ServiceAddresses&) const = default;
};

struct Service {
  std::vector<ServicePort> ports;
  // A Service without a cluster IP of a family does not exist for that family.
  std::optional<ServiceAddresses> v4, v6;
  std::optional<std::chrono::seconds> affinity;  // ClientIP
  bool external_local = false;  // externalTrafficPolicy Local, and it has a meaning
  bool internal_local = false;
  Port health_check_node_port{};  // 0 = none
  std::string ipvs_scheduler;     // of the annotation kIpvsScheduler; empty = none
  bool proxy_protocol = false;    // the annotation kProxyProtocol says "v2"
  bool operator==(const Service&) const = default;

  const std::optional<ServiceAddresses>& addresses(IpFamily family) const {
    return family == IpFamily::V4 ? v4 : v6;
  }
};

// Nothing when the proxy has no business with it: headless, ExternalName, handled by another proxy,
// or without any usable cluster IP.
std::optional<Service> from_kube(const kube::Service& object);

// Names of the zones and nodes an endpoint is reserved for; endpoints share few distinct ones.
struct Hints {
  std::vector<TextId> zones, nodes;  // sorted
  auto operator<=>(const Hints&) const = default;
};
enum class HintsId : std::uint32_t {};  // 0 = no hints

struct Endpoint {
  IpAddress address;
  bool ready : 1 = true;
  bool serving : 1 = true;
  bool terminating : 1 = false;
  TextId node{};  // empty: not known, never local
  HintsId hints{};
  bool operator==(const Endpoint&) const = default;
};
static_assert(sizeof(Endpoint) <= 28, "100,000 of these are kept");

struct SlicePort {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  Port port{};
  bool operator==(const SlicePort&) const = default;
};

struct Slice {
  IpFamily family = IpFamily::V4;
  std::vector<SlicePort> ports;
  std::vector<Endpoint> endpoints;
  bool operator==(const Slice&) const = default;
};

}  // namespace fairlead::model
