// Cluster IPs and node ports: which band a pick comes from, and reservations in the Service's own
// transaction, so that a crash can neither leak an address nor hand one out twice. A cluster IP is
// reserved by its IPAddress object, a node port by a key of its own (spec 4.5, 4.6; KEP-3070,
// KEP-3668).
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "apiserver/kinds.hpp"
#include "apiserver/service_networking.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

// A range cut in two: what users are expected to ask for by name, and what is handed out at random
// while it lasts. Offsets count usable values from 0.
struct Bands {
  std::uint64_t size = 0;          // usable values
  std::uint64_t dynamic_from = 0;  // the static band is before it
  bool operator==(const Bands&) const = default;
};
Bands cluster_ip_bands(const IpPrefix& cidr);  // usable: network+1 .. broadcast-1 (v4) or last (v6)
Bands node_port_bands(PortRange range);

// The first free offset: from a random start in the dynamic band with wrap-around, then in the
// static one. `random` answers a number below its argument. nullopt when all are taken.
std::optional<std::uint64_t> pick_free(const Bands& bands,
                                       const std::function<std::uint64_t(std::uint64_t)>& random,
                                       const std::function<bool(std::uint64_t)>& is_taken);

// What a Service has of them, as its spec says.
std::set<std::string> held_cluster_ips(const Document& service);
std::set<std::int64_t> held_node_ports(const Document& service);

// What stands in the store for one that is taken: an IPAddress, and a document that is no object.
inline constexpr std::string_view kManagedBy = "ipaddress.kubernetes.io/managed-by";
inline constexpr std::string_view kAllocatorName = "ipallocator.k8s.io";
inline constexpr std::string_view kNodePortPrefix = "/registry/ranges/servicenodeports/";
std::string canonical_address(const std::string& ip);  // one name an address, however it is spelled
Document address_reservation(const std::string& ip, std::string_view ns, std::string_view name);
std::string node_port_key(std::int64_t port);
Document node_port_reservation(std::string_view ns, std::string_view name);

class ServiceAllocator {
 public:
  ServiceAllocator(KindsConfig config, ResourceInfo ip_addresses, ResourceInfo services);

  // Fills in cluster IPs, node ports and the health-check node port of `service`, reserves what is
  // new and gives back what the update gave up. Both documents have their defaults.
  ApiResult<void> allocate(const RequestContext& context, Transaction& transaction,
                           const Document* old, Document& service) const;
  void release(Transaction& transaction, const Document& service) const;
  // Keys of everything that says it is that Service's.
  std::vector<std::string> reservations(Transaction& state, std::string_view ns,
                                        std::string_view name) const;

 private:
  struct Ports;
  ApiResult<void> allocate_cluster_ips(const RequestContext& context, Transaction& transaction,
                                       const Document* old, Document& service) const;
  ApiResult<std::string> pick_cluster_ip(const RequestContext& context, Transaction& transaction,
                                         const std::string& family, const Document& service) const;
  ApiResult<void> claim_cluster_ip(const RequestContext& context, Transaction& transaction,
                                   const std::string& ip, const Document& service) const;
  void reserve_cluster_ip(Transaction& transaction, const std::string& ip,
                          const Document& service) const;
  ApiResult<void> allocate_node_ports(const RequestContext& context, Transaction& transaction,
                                      const Document* old, Document& service) const;
  ApiResult<std::int64_t> pick_node_port(const Ports& ports, const RequestContext& context,
                                         Transaction& transaction) const;
  StatusError refused(const Document& service, FieldError error) const;
  std::string ip_key(const std::string& ip) const;

  KindsConfig config_;
  ResourceInfo ip_addresses_, services_;
};

}  // namespace fairlead::apiserver
