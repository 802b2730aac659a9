#include "io/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "io/sockaddr.hpp"

namespace fairlead::io {

KernelAddress to_kernel(const SocketAddress& address) {
  KernelAddress out;
  const auto bytes = address.address.bytes();
  const auto port = htons(number(address.port));
  if (address.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = port;
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&out.storage, &in, sizeof in);
    out.size = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = port;
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&out.storage, &in, sizeof in);
    out.size = sizeof in;
  }
  return out;
}

Result<SocketAddress> from_kernel(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
    return SocketAddress{.address = IpAddress::v4(bytes), .port = Port{ntohs(in.sin_port)}};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    const Port port{ntohs(in.sin6_port)};
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      const std::array<std::uint8_t, 4> v4{bytes[12], bytes[13], bytes[14], bytes[15]};
      return SocketAddress{.address = IpAddress::v4(v4), .port = port};
    }
    return SocketAddress{.address = IpAddress::v6(bytes), .port = port};
  }
  return make_error(ErrorCode::Unsupported, "address family {} is not an IP family",
                    storage.ss_family);
}

namespace {

Result<void> set_option(const UniqueFd& socket, int level, int name, int value,
                        std::string_view what) {
  if (::setsockopt(socket.get(), level, name, &value, sizeof value) != 0)
    return errno_error(errno, what);
  return {};
}

}  // namespace

Result<UniqueFd> listen_tcp(const SocketAddress& address, const ListenOptions& options) {
  const auto context = fmt::format("listen on {}", address);
  const int family = address.address.is_v4() ? AF_INET : AF_INET6;
  UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!socket) return errno_error(errno, context);
  FAIRLEAD_CHECK(set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1, context));
  if (family == AF_INET6) {
    const bool dual = options.dual && address.address.is_unspecified();
    FAIRLEAD_CHECK(set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, dual ? 0 : 1, context));
  }
  const auto kernel = to_kernel(address);
  if (::bind(socket.get(), kernel.get(), kernel.size) != 0) return errno_error(errno, context);
  if (::listen(socket.get(), options.backlog) != 0) return errno_error(errno, context);
  return socket;
}

Result<SocketAddress> local_address(const UniqueFd& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return errno_error(errno, "ask for the socket's address");
  }
  return from_kernel(storage);
}

SocketAddress reachable(SocketAddress bound) {
  if (bound.address.is_unspecified()) bound.address = IpAddress::loopback(bound.address.family());
  return bound;
}

void tune_connection(int socket) {
  const auto set = [socket](int level, int name, int value) {
    ::setsockopt(socket, level, name, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);          // seconds of silence before the first probe
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);         // seconds between probes
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);            // unanswered ones that end the connection
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);  // milliseconds for data of ours to be acknowledged
}

}  // namespace fairlead::io
