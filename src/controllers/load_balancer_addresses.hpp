// Who has which load-balancer address: what a Service may have is decided here, the controller
// (load_balancer_controller.hpp) watches and writes. Pure: no clock, no I/O, the same calls give
// the same answers. Not thread-safe.
//
// Invariants: an address of the pools has one owner, or several that agreed to share it; a Service
// keeps what it has as long as it may; no Service is refused while an address of the pools would
// suit it.
//
// Sharing: Services of one namespace that carry the same sharing key may have one address while
// their ports differ (port and protocol) and they agree on where traffic goes: all with
// externalTrafficPolicy Cluster, or all Local with the same selector, since a node without
// endpoints of one must not draw the traffic of another. Namespaces do not share: a key is no
// secret, and the ports of an address are worth something.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "controllers/address_range.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

inline constexpr char kLoadBalancerClass[] = "fairlead.io/load-balancer";
// Addresses the Service asks for, separated by commas, at most one of each family; before
// spec.loadBalancerIP.
inline constexpr char kLoadBalancerAddresses[] = "fairlead.io/load-balancer-addresses";
inline constexpr char kLoadBalancerSharingKey[] = "fairlead.io/load-balancer-sharing-key";

// What one Service wants.
struct AddressWish {
  kube::NamespacedName service;
  std::vector<IpFamily> families;
  std::set<std::pair<Protocol, std::uint16_t>> ports;
  std::vector<IpAddress> asked;                   // at most one of each family; empty = any will do
  std::string sharing_key;                        // empty = alone
  std::optional<kube::StringMap> local_selector;  // externalTrafficPolicy Local
  std::vector<IpAddress> held;                    // what its status says
  bool operator==(const AddressWish&) const = default;
};

// Why a Service did not get all it wants, as the Event says it.
struct AddressRefusal {
  std::string reason, note;
  bool operator==(const AddressRefusal&) const = default;
};

// An error is the Service's: addresses it asks for that are none, or none of its families.
Result<AddressWish> address_wish_of(const kube::Service& service);

class LoadBalancerAddresses {
 public:
  // Ranges do not overlap.
  explicit LoadBalancerAddresses(const std::vector<AddressRange>& ranges);

  struct Answer {
    std::vector<IpAddress> addresses;  // in the order of the wish's families
    std::optional<AddressRefusal> refusal;
    bool changed = false;  // the wishes of others may be granted now
    bool operator==(const Answer&) const = default;
  };
  // What the Service has from now on. Asking again is free.
  Answer assign(const AddressWish& wish);
  // The same for one that had addresses before this book was opened: nothing new is given away, so
  // that everyone's old addresses can be noted before anyone gets another. Older Services first.
  void adopt(const AddressWish& wish);
  // Whether it had any.
  bool release(const kube::NamespacedName& service);

  std::vector<IpAddress> addresses_of(const kube::NamespacedName& service) const;

 private:
  struct Claim {
    AddressWish wish;
    std::vector<IpAddress> addresses;
  };
  struct Range {
    AddressRange range;
    IpAddress next;        // where the search for a free one begins
    std::size_t held = 0;  // addresses with owners
  };
  using Choice = std::variant<IpAddress, AddressRefusal>;

  Answer settle(const AddressWish& wish, bool may_take_new);
  Choice choose(const AddressWish& wish, IpFamily family, const std::vector<IpAddress>& before,
                bool may_take_new);
  std::optional<IpAddress> kept(const AddressWish& wish, IpFamily family,
                                const std::vector<IpAddress>& before) const;
  std::optional<IpAddress> shared(const AddressWish& wish, IpFamily family) const;
  std::optional<IpAddress> free_one(IpFamily family);
  Range* range_of(const IpAddress& address);
  bool in_pools(const IpAddress& address) const;
  const kube::NamespacedName* opponent(const AddressWish& wish, const IpAddress& address) const;
  void enter(Claim claim);
  Claim withdraw(const kube::NamespacedName& service);

  std::vector<Range> ranges_;
  std::map<kube::NamespacedName, Claim> claims_;  // with at least one address
  std::map<IpAddress, std::set<kube::NamespacedName>> owners_;
  std::map<std::pair<std::string, std::string>, std::set<kube::NamespacedName>>
      sharers_;  // by namespace and key
};

}  // namespace fairlead::controllers
