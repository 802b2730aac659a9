// Compares what the kernel has with what a renderer says it should have. Reads the whole table
// back, so it is for audits and tests, never for the way of a change.
#pragma once

#include <string>
#include <vector>

#include "proxy/modes/nftables/kernel.hpp"
#include "proxy/modes/nftables/render.hpp"

namespace fairlead::nftables {

// Differences in words, at most `limit`. What the kernel has learnt (affinity) is not compared.
// Elements are only looked at when all rules are right, because reading them takes as long as the
// cluster is large, and without its rules a node serves nobody.
Result<std::vector<std::string>> audit(Kernel& kernel, Renderer& renderer, const plan::Plan& plan,
                                       std::size_t limit);

// The same for a table that another process keeps: where it has put the backends and which numbers
// it has given is its business, and so are chains nobody is sent to any more.
Result<std::vector<std::string>> audit_of_another(Kernel& kernel, IpFamily family,
                                                  const plan::Plan& plan, std::size_t limit);

}  // namespace fairlead::nftables
