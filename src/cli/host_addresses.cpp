#include "cli/host_addresses.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <optional>

#include "io/sockaddr.hpp"
#include "io/socket.hpp"

namespace fairlead::cli {
namespace {

std::optional<IpAddress> outward_address(const SocketAddress& world) {
  const auto to = io::to_kernel(world);
  const io::UniqueFd socket(
      ::socket(world.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), to.get(), to.size) != 0) return std::nullopt;
  const auto mine = io::local_address(socket);
  return mine ? std::optional(mine->address) : std::nullopt;
}

}  // namespace

// Documentation addresses (RFC 5737, RFC 3849) stand for the world.
std::vector<IpAddress> host_addresses() {
  std::vector<IpAddress> out;
  constexpr Port kDiscard{9};
  for (const char* world : {"192.0.2.1", "2001:db8::1"}) {
    const auto parsed = IpAddress::parse(world);
    check(parsed.has_value(), "a literal address");
    if (const auto mine = outward_address({.address = *parsed, .port = kDiscard}))
      out.push_back(*mine);
  }
  return out;
}

}  // namespace fairlead::cli
