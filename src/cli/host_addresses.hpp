// Under which addresses others find this machine.
#pragma once

#include <vector>

#include "base/ip.hpp"

namespace fairlead::cli {

// Of each family, IPv4 first, the address that the kernel would use towards the world: that of the
// default route's interface. Empty without such routes. Nothing is sent.
std::vector<IpAddress> host_addresses();

}  // namespace fairlead::cli
