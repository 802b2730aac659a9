// The addresses of a network namespace's interfaces, as the kernel lists them now (getifaddrs(3)).
// One call is one answer: nobody is told of changes here.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::io {

struct InterfaceAddress {
  std::string interface;
  IpAddress address;
};
// Of the calling thread's namespace; loopback and link-local ones included.
Result<std::vector<InterfaceAddress>> interface_addresses();

}  // namespace fairlead::io
