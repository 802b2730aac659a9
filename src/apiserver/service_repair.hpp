// ServiceRepair: what Services hold, held against what is reserved for them (spec 4.10).
//
// A write changes a Service and its reservations in one transaction, so of our own writes nothing
// is ever found. Others can do harm: somebody deletes or edits an IPAddress, an operator writes
// into the store or brings back a part of it. From then on an address or a node port might be given
// out twice, or never again.
//
// Everything is looked at before the server serves and every three minutes; an address at once when
// its IPAddress goes or speaks of somebody else. What one Service holds gets its reservation back,
// and what nobody holds is free again, an IPAddress only after a minute, for it may come before its
// Service. What two Services hold, or what is in no range, is left as it is: which Service has to
// give way is not for a machine to say. An Event at the Service tells of each.
//
// Owned by the ApiServer; loop thread only. Where several servers share a store each looks; a
// repair is a compare-and-swap of what was seen. Not here: reserving (ServiceAllocator).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/kinds.hpp"
#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

struct ReservationFault {
  enum class Of { ClusterIp, NodePort };
  enum class What { Missing, Leaked, Duplicate, OutOfRange, Invalid };
  Of of = Of::ClusterIp;
  What what = What::Missing;
  std::string value;     // "10.96.0.7", "30007"
  std::string ns, name;  // the Service; of a leak, the one the reservation speaks of
  auto operator<=>(const ReservationFault&) const = default;
};

class ServiceRepair {
 public:
  static constexpr auto kPeriod = std::chrono::minutes(3);
  static constexpr auto kMayPrecede = std::chrono::seconds(60);  // an IPAddress its Service

  // The registry and the clock must outlive it.
  ServiceRepair(Registry& registry, const Clock& clock, io::Executor executor,
                const KindsConfig& config);

  // Takes note of what is stored. Once, after Registry::load() and before changed().
  void load();
  void changed(const Resource& resource, const StoreEvent& event);  // of any resource

  // Looks at everything and mends what can be mended; what was found. An error leaves the rest for
  // the next time.
  io::Task<Result<std::vector<ReservationFault>>> repair();
  io::Task<void> run();  // until cancelled

  // What was found since the start, for the metrics.
  using Counts = std::map<std::pair<ReservationFault::Of, ReservationFault::What>, std::uint64_t>;
  const Counts& found() const { return found_; }

 private:
  // What an IPAddress says.
  struct Address {
    std::string service;    // "ns/name" of the Service it speaks of; empty: of something else
    bool managed = false;   // made for a Service, not by somebody for himself
    bool complete = false;  // its labels are as they have to be
    WallTime created;
  };
  struct Service {
    ObjectPtr object;
    std::set<std::string> cluster_ips;
    std::set<std::int64_t> node_ports;
  };
  struct Snapshot {
    std::map<std::string, Service, std::less<>> services;  // by "ns/name"
    std::vector<IpPrefix> ranges;
  };
  struct Finding {
    ReservationFault fault;
    ObjectPtr service;                     // null: it is gone
    std::optional<StoreTransaction> mend;  // none: people have to
  };
  using Findings = std::vector<Finding>;

  static Address read_address(const Document& address);
  static Service read_service(const ObjectPtr& object);
  ObjectPtr find_service(std::string_view owner) const;  // by "ns/name"
  io::Task<Snapshot> read_services();

  // Each adds what is wrong with one thing.
  void look_at_held_address(const Snapshot& all, const std::string& owner, const std::string& ip,
                            Findings& out) const;
  void look_at_held_port(const Snapshot& all, const std::string& owner, std::int64_t port,
                         Findings& out) const;
  void look_at_address(const Snapshot& all, const std::string& key, Findings& out) const;
  void look_at_port(const Snapshot& all, const std::string& key, Findings& out) const;
  io::Task<Findings> look(const Snapshot* all) const;

  StoreTransaction reserve_address(const CachedObject& service, const std::string& ip) const;
  StoreTransaction give_back(const std::string& owner, const ObjectPtr& service,
                             const std::string& key) const;
  io::Task<Result<void>> settle(Findings findings);
  io::Task<Result<void>> look_at_suspects();
  io::Task<void> tell(const Finding* finding);

  Registry& registry_;
  const Clock& clock_;
  KindsConfig config_;
  Resource& services_;
  Resource& ip_addresses_;
  Resource& events_;
  ObjectWriter writer_;
  std::map<std::string, Address, std::less<>> addresses_;  // by the IPAddress's key
  // Addresses whose IPAddress went or changed, and the Service it spoke of.
  std::vector<std::pair<std::string, std::string>> suspects_;
  io::Event suspected_;
  Counts found_;
};

}  // namespace fairlead::apiserver
