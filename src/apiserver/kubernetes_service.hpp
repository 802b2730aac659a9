// Service default/kubernetes, its EndpointSlice and its Endpoints: how pods find the API servers
// (spec 4.8).
//
// Where several servers share a store, each keeps a key "/registry/masterleases/ADDRESS" fresh; the
// other two list those whose key was written lately. "Lately" is by each observer's own clock, from
// when it saw the key change, so that clocks need not agree. A server that ends takes its key
// along; one that was killed drops out after kExpiry.
//
// Owned by the ApiServer; loop thread only.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>

#include "apiserver/registry.hpp"
#include "base/clock.hpp"
#include "base/ip.hpp"

namespace fairlead::apiserver {

class KubernetesService {
 public:
  static constexpr auto kPeriod = std::chrono::seconds(10);
  static constexpr auto kExpiry = std::chrono::seconds(35);  // three renewals may fail

  struct Config {
    IpPrefix service_cidr;    // the Service has its first address
    SocketAddress advertise;  // where pods reach this server
    bool alone = true;        // nobody else has this store
  };
  KubernetesService(Registry& registry, const Clock& clock, Config config)
      : registry_(registry), clock_(clock), config_(config) {}

  // Makes the Service where it lacks, and its endpoints say who serves.
  io::Task<Result<void>> reconcile();
  // The same again and again, until cancelled.
  io::Task<void> run();
  // This server serves no longer.
  io::Task<void> leave();

 private:
  struct Seen {
    Revision revision = 0;
    MonoTime since;
  };
  io::Task<Result<std::set<IpAddress>>> servers();
  io::Task<Result<void>> renew();
  io::Task<Result<void>> write(Resource* resource, Document object);
  io::Task<Result<void>> write_addresses(std::set<IpAddress> addresses);
  std::string own_key() const;

  Registry& registry_;
  const Clock& clock_;
  Config config_;
  std::map<std::string, Seen> seen_;  // by key
};

}  // namespace fairlead::apiserver
