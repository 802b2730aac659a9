// SocketAddress <-> the kernel's sockaddr. Pure conversions, used wherever a socket call needs or
// gives an address.
#pragma once

#include <sys/socket.h>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::io {

struct KernelAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

KernelAddress to_kernel(const SocketAddress& address);
// AF_INET or AF_INET6; an IPv4-mapped IPv6 address comes back as IPv4. Other families are
// Unsupported.
Result<SocketAddress> from_kernel(const sockaddr_storage& storage);

}  // namespace fairlead::io
