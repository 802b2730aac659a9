// ServiceCIDRs (KEP-1880): which ranges cluster IPs may come from, and what keeps a range from
// going while addresses of it are in use.
//
// A range counts while its ServiceCIDR is not being deleted and is not said to be unready. The
// ranges of the server's own configuration stand in for the ServiceCIDR "kubernetes" until that
// is there. An allocation reads the ServiceCIDR it takes an address from, so its transaction holds
// only while that is unchanged: once a ServiceCIDR is being deleted no server gives out of it, and
// what was given before is in the caches that the keeper waits for.
#pragma once

#include <vector>

#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "apiserver/strategy.hpp"
#include "base/clock.hpp"
#include "base/ip.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kDefaultServiceCidr = "kubernetes";
inline constexpr std::string_view kServiceCidrFinalizer =
    "networking.k8s.io/service-cidr-finalizer";

ResourceInfo service_cidr_info();
// What every new ServiceCIDR has from its first moment: the finalizer and condition Ready.
void mark_ready(Document& service_cidr, WallTime now);

// Where addresses of the transaction may come from: `configured` first, then by the ServiceCIDRs'
// names.
std::vector<IpPrefix> usable_service_ranges(Transaction& transaction,
                                            const std::vector<IpPrefix>& configured);

// Makes the ServiceCIDR "kubernetes", marks those that are not, lets go of those that are being
// deleted and no longer needed. A task of the ApiServer on its loop; several servers do it side by
// side.
class ServiceCidrKeeper {
 public:
  // `configured`: one or two ranges, of different families. All must outlive the keeper.
  ServiceCidrKeeper(Registry& registry, const Clock& clock, io::Executor executor,
                    std::vector<IpPrefix> configured);

  // ServiceCIDR "kubernetes" has what is configured: made when it is not there, given the second
  // family when it lacks that. One that says something else is left alone, and told of.
  io::Task<Result<void>> make_default();
  io::Task<void> run();     // until cancelled
  io::Task<bool> settle();  // what there is to do now; false: some of it has to be tried again
  void changed(const Resource& resource, const StoreEvent& event);

 private:
  io::Task<bool> mark(ObjectPtr service_cidr);
  io::Task<bool> let_go(ObjectPtr service_cidr);
  io::Task<bool> say_in_use(ObjectPtr service_cidr);
  bool in_use(const CachedObject& service_cidr) const;

  Registry& registry_;
  const Clock& clock_;
  const std::vector<IpPrefix> configured_;
  Resource& cidrs_;
  Resource& addresses_;
  ObjectWriter writer_;
  io::Event changed_;
  bool waiting_ = false;  // for addresses to be given back
  bool told_ = false;     // that the configuration says something else
};

}  // namespace fairlead::apiserver
