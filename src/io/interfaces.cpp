#include "io/interfaces.hpp"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cerrno>
#include <memory>

namespace fairlead::io {

Result<std::vector<InterfaceAddress>> interface_addresses() {
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return errno_error(errno, "list interface addresses");
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> list(raw, &freeifaddrs);
  std::vector<InterfaceAddress> out;
  const auto add = [&out](const ifaddrs& entry, const auto& address) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&address);
    out.push_back(
        {.interface = entry.ifa_name, .address = IpAddress::from_bytes({bytes, sizeof address})});
  };
  for (const ifaddrs* i = raw; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    if (i->ifa_addr->sa_family == AF_INET) {
      add(*i, reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr);
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      add(*i, reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr);
    }
  }
  return out;
}

}  // namespace fairlead::io
