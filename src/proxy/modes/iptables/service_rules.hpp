// The rules of one service port: its own chains, and its entries in the chains that all share.
#pragma once

#include <string>
#include <vector>

#include "proxy/modes/iptables/dispatch.hpp"
#include "proxy/modes/iptables/ruleset.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::iptables {

// How backends are written (decision record 8).
enum class Shape : bool {
  Chains,  // as kube-proxy: a chain for each endpoint, and comments that name it
  Large,   // no chains for endpoints, unless clients stick to them, and no such comments
};

// Entries for the shared chains. Those of one list exclude each other.
struct Listings {
  std::vector<Destination> services;           // nat KUBE-SERVICES
  Rules node_ports;                            // nat KUBE-NODEPORTS
  std::vector<Destination> refused_services;   // filter KUBE-SERVICES
  std::vector<Destination> refused_externals;  // filter KUBE-EXTERNAL-SERVICES, and
  Rules refused_node_ports;                    // behind them
  std::vector<Destination> firewalled;         // filter KUBE-PROXY-FIREWALL
  Rules health_checks;                         // filter KUBE-NODEPORTS
  bool operator==(const Listings&) const = default;

  void add(const Listings& other);
  // What is in one of filter's lists here and not in `other`.
  Listings filter_entries_missing_in(const Listings& other) const;
};

struct ServiceRules {
  Chains own;  // nat
  Listings listings;
};

ServiceRules service_rules(const plan::ServicePlan& service, const plan::NodePlan& node,
                           Shape shape);

std::string quoted_comment(std::string_view text);  // -m comment --comment "text"
// The target that tells a client at once.
std::string reject(Protocol protocol, IpFamily family);

}  // namespace fairlead::iptables
