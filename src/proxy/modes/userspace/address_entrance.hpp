// The way in without rules: the services' addresses are on a device of the node, so that packets to
// them are the node's own and meet the sockets that are bound to them. What nobody listens at the
// kernel refuses; addresses of the service ranges that no service has are routed to the device,
// which sends them nowhere.
//
// The device is a dummy or, where the kernel has none, a bridge without ports.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "base/ip.hpp"
#include "proxy/modes/userspace/entrance.hpp"

namespace fairlead::userspace {

inline constexpr std::string_view kDevice = "fairlead0";

class AddressEntrance final : public Entrance {
 public:
  // An address that connections go on at stays until a change after their end.
  using InUse = std::function<std::set<IpAddress>()>;
  explicit AddressEntrance(InUse in_use) : in_use_(std::move(in_use)) {}

  // Leaves the device there. Forbidden: it may not make one. Unsupported: the kernel has neither
  // kind.
  static Result<void> try_it();

  Result<plan::ApplyStats> program(const plan::Plan& plan) override;
  Result<plan::ApplyStats> change(const plan::PlanDelta& delta) override;
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override;
  Result<void> remove() override;

 private:
  // Adds `missing` and removes `surplus`, after the changes of `lines`.
  Result<plan::ApplyStats> bring(std::string lines, const std::set<IpAddress>& missing,
                                 const std::set<IpAddress>& surplus);
  std::string removals(const std::set<IpAddress>& surplus);

  InUse in_use_;
  std::map<IpAddress, std::size_t> wanted_;  // with how many frontends
  std::vector<IpPrefix> ranges_;             // of services, that lead to the device
  std::set<IpAddress> lingering_;            // in use, and no service's any more
};

// In the calling thread's network namespace; whether there was one.
Result<bool> remove_device();

// The addresses of services in a plan that have to be the node's; not those of node ports.
std::vector<IpAddress> addresses_of(const plan::ServicePlan& plan);

}  // namespace fairlead::userspace
