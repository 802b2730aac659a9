// Locality: whether a client is this node or one of its pods, asked of the kernel where no rule has
// told (the way in without rules, and whose address to keep). By the plan's detector: the address
// itself, or the interface by which the routes lead to it, which is taken for the one it came by.
//
// Thread rule: any thread; each question opens a socket of its own in the calling thread's network
// namespace, and costs a few system calls. Asked only for frontends with a short cut.
#pragma once

#include "proxy/plan/plan.hpp"

namespace fairlead::userspace {

class Locality {
 public:
  explicit Locality(plan::LocalDetector detector) : detector_(std::move(detector)) {}
  bool is_local(const IpAddress& client) const;
  bool is_pod(const IpAddress& client) const;

 private:
  plan::LocalDetector detector_;
};

// One of this network namespace's own addresses.
bool is_own_address(const IpAddress& address);
// The name of the interface by which packets leave for `address`; empty: there is no route.
std::string interface_to(const IpAddress& address);

}  // namespace fairlead::userspace
