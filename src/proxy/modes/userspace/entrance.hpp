// Entrance: what the kernel is told so that clients reach the forwarder's sockets. Two kinds: rules
// that redirect (RuleEntrance), and addresses of the node (AddressEntrance), for kernels without a
// packet filter.
//
// Thread rule: the home thread; in the network namespace that is served.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "proxy/plan/mode.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::userspace {

class Entrance {
 public:
  virtual ~Entrance() = default;
  // As plan::Mode has them. The sockets are there before, and stay until after.
  virtual Result<plan::ApplyStats> program(const plan::Plan& plan) = 0;
  virtual Result<plan::ApplyStats> change(const plan::PlanDelta& delta) = 0;
  virtual Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) = 0;
  virtual Result<void> remove() = 0;
};

// Runs a tool with `input`; what it wrote to its standard output. NotFound, Forbidden: what it says
// of the kernel.
Result<std::string> run_tool(std::vector<std::string> argv, std::string_view input = {});

}  // namespace fairlead::userspace
