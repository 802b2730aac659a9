// What the kernel has learnt about clients (ClientIP affinity) must not outlive the backend it is
// about: a client whose backend left was balanced anew, and would otherwise be torn from its new
// one when the old one returns. The learnt set is the only state that is not in the Plan, so this
// reads it back; it does so only when a backend of a service with affinity has left, and on full
// loads. Thread rule: as Kernel.
#pragma once

#include <set>

#include "proxy/modes/nftables/kernel.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::nftables {

// Tokens of the family's backends that the delta takes away.
std::set<std::uint32_t> departed(const plan::PlanDelta& delta, IpFamily family);
std::set<std::uint32_t> present(const plan::Plan& plan, IpFamily family);

// Deletes the pairs whose token is (or is not) among `tokens`.
enum class Forget : std::uint8_t { These, AllOthers };
Result<plan::ApplyStats> forget(Kernel& kernel, IpFamily family, Forget which,
                                const std::set<std::uint32_t>& tokens);

}  // namespace fairlead::nftables
