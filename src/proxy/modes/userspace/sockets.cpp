#include "proxy/modes/userspace/sockets.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <set>

#include "io/sockaddr.hpp"

namespace fairlead::userspace {
namespace {

constexpr int kBacklog = 4096;

// A socket that shares its place with those of the other loops.
Result<io::UniqueFd> shared_socket(int type, const SocketAddress& at, const Filter& filter = {}) {
  const io::KernelAddress address = io::to_kernel(at);
  io::UniqueFd out(socket(address.storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out) return errno_error(errno, "make a socket");
  const int yes = 1;
  setsockopt(out.get(), SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
  setsockopt(out.get(), SOL_IP, IP_FREEBIND, &yes, sizeof yes);
  // Connections that are accepted inherit it.
  if (type == SOCK_STREAM) setsockopt(out.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (!at.address.is_v4()) setsockopt(out.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  if (!filter.empty()) attach_filter(out.get(), filter);
  if (bind(out.get(), address.get(), address.size) != 0) {
    return errno_error(errno, fmt::format("bind {}", at));
  }
  return out;
}

}  // namespace

std::optional<PoolKind> pool_of(const plan::Frontend& frontend) {
  switch (frontend.target) {
    case plan::Target::ClusterPool:
      return PoolKind::Cluster;
    case plan::Target::LocalPool:
      return PoolKind::Local;
    case plan::Target::Reject:
    case plan::Target::Drop:
      return std::nullopt;
  }
  return std::nullopt;
}

std::vector<UdpEntry> udp_entries(const plan::ServicePlan& plan) {
  std::set<UdpEntry> out;
  if (plan.key.service_port.protocol != Protocol::Udp) return {};
  for (const plan::Frontend& frontend : plan.frontends) {
    const SourceRule source = source_rule(frontend);
    const auto add = [&](PoolKind pool) {
      out.insert({.key = plan.key, .pool = pool, .source = source});
    };
    if (const auto pool = pool_of(frontend)) add(*pool);
    if (frontend.short_circuit) add(PoolKind::Cluster);
  }
  return {out.begin(), out.end()};
}

Result<Port> port_of(const io::UniqueFd& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return errno_error(errno, "getsockname");
  }
  FAIRLEAD_TRY(bound, io::from_kernel(address));
  return bound.port;
}

Result<void> add_sockets(std::vector<io::UniqueFd>& sockets, int type, std::size_t count,
                         SocketAddress address, const Filter& filter) {
  while (sockets.size() < count) {
    FAIRLEAD_TRY(socket, shared_socket(type, address, filter));
    if (type == SOCK_STREAM && listen(socket.get(), kBacklog) != 0) {
      return errno_error(errno, fmt::format("listen at {}", address));
    }
    if (number(address.port) == 0) {
      FAIRLEAD_TRY(given, port_of(socket));
      address.port = given;
    }
    sockets.push_back(std::move(socket));
  }
  return {};
}

void attach_filter(int socket, const Filter& filter) {
  if (filter.empty()) {
    const int none = 0;
    setsockopt(socket, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
    return;
  }
  Filter copy = filter;
  const sock_fprog program{.len = static_cast<unsigned short>(copy.size()), .filter = copy.data()};
  setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

std::vector<TcpEntry> entries_of(IpFamily family, bool short_cut, PortRange range) {
  std::vector<TcpEntry> out;
  for (std::uint16_t i = 0; i < PortRange::kPorts; ++i) {
    out.push_back({.family = family,
                   .short_cut = short_cut,
                   .port = Port{static_cast<std::uint16_t>(number(range.first) + i)}});
  }
  return out;
}

// Where the kernel finds one free port there are others after it, as a rule.
Result<FreshRange> fresh_range(IpFamily family, bool short_cut) {
  constexpr int kAttempts = 64;
  const IpAddress any = IpAddress::any(family);
  Error last;
  for (int i = 0; i < kAttempts; ++i) {
    FAIRLEAD_TRY(free, shared_socket(SOCK_STREAM, {.address = any, .port = Port{0}}));
    FAIRLEAD_TRY(first, port_of(free));
    if (number(first) > 65535 - PortRange::kPorts) continue;
    free.reset();
    FreshRange out{.ports = {.first = first}, .sockets = {}};
    Result<void> done;
    for (const TcpEntry& entry : entries_of(family, short_cut, out.ports)) {
      done = add_sockets(out.sockets[entry], SOCK_STREAM, 1, {.address = any, .port = entry.port});
      if (!done) break;
    }
    if (done) return out;
    last = done.error();
  }
  return last.with_context(fmt::format("find {} free ports in a row", PortRange::kPorts));
}

}  // namespace fairlead::userspace
