// What the forwarder receives at: listening sockets and UDP sockets, several of which share a port,
// one for each loop (SO_REUSEPORT). Makes them; whom they belong to is the Forwarder's business.
#pragma once

#include <linux/filter.h>

#include <map>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "io/fd.hpp"
#include "proxy/modes/userspace/service.hpp"
#include "proxy/modes/userspace/source.hpp"

namespace fairlead::userspace {

// A few ports in a row. One would not do: two connections of a client from one of its ports to two
// services would be the same connection, once both are redirected. The kernel takes the first port
// at which they differ.
struct PortRange {
  static constexpr std::uint16_t kPorts = 8;
  Port first{};
  Port last() const { return Port{static_cast<std::uint16_t>(number(first) + kPorts - 1)}; }
};

struct TcpPorts {
  PortRange pool, short_cut;
};

// Which connections a listening socket is for: those that rules lead to it, or those of the place
// it is bound to.
struct TcpEntry {
  IpFamily family = IpFamily::V4;
  bool short_cut = false;
  Port port{};
  std::optional<IpAddress> address{};  // of a place
  auto operator<=>(const TcpEntry&) const = default;
};

// Which sockets a service port's datagrams are for; likewise. A redirected datagram does not tell
// by which frontend it came: those that say different things of their clients' addresses have
// different sockets, where such addresses may be kept.
struct UdpEntry {
  plan::PlanKey key;
  PoolKind pool = PoolKind::Cluster;
  std::optional<SourceRule> source{};
  std::optional<SocketAddress> place{};
  auto operator<=>(const UdpEntry&) const = default;
};

// All that a forwarder receives at, to be passed to another process; several share a port.
struct Sockets {
  std::map<TcpEntry, std::vector<io::UniqueFd>> tcp;
  std::map<UdpEntry, std::vector<io::UniqueFd>> udp;
};

// Which pool the clients in general of a frontend are led to; nothing when they are turned away.
std::optional<PoolKind> pool_of(const plan::Frontend& frontend);
// The UDP sockets a plan needs, told apart by `source` as well.
std::vector<UdpEntry> udp_entries(const plan::ServicePlan& plan);

// A classic BPF program that says how much of a packet a socket gets, 0 = it is dropped
// (SO_ATTACH_FILTER, socket(7)). Of a listening socket it is asked about the first packet already.
using Filter = std::vector<sock_filter>;
// In place of a former one; an empty one lets everything through.
void attach_filter(int socket, const Filter& filter);

std::vector<TcpEntry> entries_of(IpFamily family, bool short_cut, PortRange range);
// A range of ports that nobody has, at every address, with a listening socket at each.
struct FreshRange {
  PortRange ports;
  std::map<TcpEntry, std::vector<io::UniqueFd>> sockets;
};
Result<FreshRange> fresh_range(IpFamily family, bool short_cut);
// Adds to `sockets`, which are at `address`, until there are `count`. Port 0: any free one. The
// address need not be the node's yet.
Result<void> add_sockets(std::vector<io::UniqueFd>& sockets, int type, std::size_t count,
                         SocketAddress address, const Filter& filter = {});
Result<Port> port_of(const io::UniqueFd& socket);

}  // namespace fairlead::userspace
