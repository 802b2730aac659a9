// The parts of a Service that decide about addresses, as a value: type, cluster IPs, families,
// policy (spec 4.3, 4.4). Pure rules over values; reservations are made in service_allocation.hpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apiserver/status.hpp"
#include "base/ip.hpp"

namespace fairlead::apiserver {

struct ServiceNetworking {
  std::string type;
  bool has_selector = false;
  std::string cluster_ip;
  std::vector<std::string> cluster_ips;
  std::vector<std::string> ip_families;
  std::string ip_family_policy;

  bool is_external_name() const { return type == "ExternalName"; }
  bool is_headless() const;
  bool needs_cluster_ip() const { return !is_external_name() && !is_headless(); }
  bool operator==(const ServiceNetworking&) const = default;
};

// Has clients outside of the cluster's own addresses: node ports or external IPs.
bool is_externally_accessible(const Document& service);

ServiceNetworking read_networking(const Document& service);
void write_networking(const ServiceNetworking& networking, Document& service);

// What an update leaves out of clusterIP and clusterIPs is what it was (4.3, 4.7).
void carry_cluster_ips(const Document& old, Document& service);

// clusterIP <-> clusterIPs (4.3), what was left out included.
void link_cluster_ips(ServiceNetworking& wanted, const ServiceNetworking* old);

// Fills in policy and families; an error is what the user is told. `configured` are the cluster's
// families, primary first.
FieldErrors resolve_families(ServiceNetworking& wanted, const ServiceNetworking* old,
                             const std::vector<IpFamily>& configured);

// Structure of the three lists (4.8, block B).
FieldErrors validate_networking(const ServiceNetworking& networking);

}  // namespace fairlead::apiserver
