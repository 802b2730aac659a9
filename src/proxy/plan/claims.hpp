// Who gets an address and port that several Services name. External IPs are free text in a Service,
// so two may claim one place, and the kernel's tables hold one entry for it; left to the tables,
// the winner would be chance and the loser silent.
// The rule: ClusterIP before node port before load-balancer IP before external IP, then the smaller
// key. It looks only at the claims, never at their order in time, so every node decides alike.
// Owner: plan::Compiler.
#pragma once

#include <set>
#include <unordered_map>

#include "kube/meta.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

// An entry of the kernel's tables: only one service port can have it.
struct Place {
  IpAddress address;  // any() of the family for node ports
  Port port{};
  Protocol protocol = Protocol::Tcp;
  auto operator<=>(const Place&) const = default;
};
Place place_of(const PlanKey& key, const Frontend& frontend);
kube::NamespacedName service_of(const PlanKey& key);

struct Bid {
  int rank = 0;  // of the frontend's kind
  PlanKey key;
  auto operator<=>(const Bid&) const = default;  // the smallest wins
};
Bid bid_of(const PlanKey& key, FrontendKind kind);

// The plan with every contested place left to its winner; from scratch.
Plan without_conflicts(Plan plan);

class Claims {
 public:
  // True: `key` has the place now. False: it waits for it. `key` must stay where it is until it has
  // released its places (ours are keys of a std::map).
  bool bid(const PlanKey& key, const Frontend& frontend);
  void release(const PlanKey& key, const Place& place);  // no-op unless it has it
  std::set<Place> stop_waiting(const PlanKey& key);      // what it waited for
  const PlanKey& owner(const Place& place) const { return *owners_.at(place).key; }

  // Services that lost or can win a place by the calls above: they must bid again.
  std::set<kube::NamespacedName> take_disturbed() { return std::exchange(disturbed_, {}); }

 private:
  struct PlaceHash {
    std::size_t operator()(const Place& place) const noexcept {
      return std::hash<SocketAddress>{}({.address = place.address, .port = place.port}) * 31 +
             static_cast<std::size_t>(place.protocol);
    }
  };
  struct Owner {
    FrontendKind kind = FrontendKind::ClusterIp;
    const PlanKey* key = nullptr;
  };

  std::unordered_map<Place, Owner, PlaceHash> owners_;
  // Conflicts are rare: these two are nearly always empty.
  std::map<Place, std::set<Bid>> waiting_;
  std::map<PlanKey, std::set<Place>> waits_for_;
  std::set<kube::NamespacedName> disturbed_;
};

}  // namespace fairlead::plan
