// Forwarder: the data path of userspace mode. One event loop and thread a core, each with its own
// listening sockets (SO_REUSEPORT), which the kernel spreads connections over.
//
// TCP connections of all services arrive at two ranges of ports a family: one for the pool a
// frontend leads to, one for clients that take the short cut to the cluster pool (this node and its
// pods, past a Local policy); which service is meant is told by the address they were sent to
// (SO_ORIGINAL_DST). Datagrams lose that address when they are redirected, so each UDP service port
// has sockets of its own.
//
// Owner: UserspaceMode, on the proxy's worker thread; apply() returns when all loops work by the
// new plans. Connections outlive the change of a plan, and the end of their service. Not here: how
// packets get to the ports (entry_rules).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "proxy/modes/userspace/budget.hpp"
#include "proxy/modes/userspace/service.hpp"

namespace fairlead::userspace {

struct ForwarderConfig {
  unsigned loops = 0;  // 0 = one a CPU we may run on
  Choice choice = Choice::RoundRobin;
  std::size_t most_connections = 0;  // above it new ones are refused; 0 = what descriptors allow
  std::size_t most_flows = 0;        // of UDP; as above, and at most half of the descriptors
  std::chrono::milliseconds udp_idle{250};
  std::vector<IpFamily> families;
};

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

// Which sockets a frontend's datagrams are for.
struct UdpEntry {
  plan::PlanKey key;
  PoolKind pool = PoolKind::Cluster;
  auto operator<=>(const UdpEntry&) const = default;
};

// What each service port has done since it began; for metrics.
struct ServiceTotals {
  plan::PlanKey key;
  std::map<plan::Backend, EndpointCount> endpoints;
  std::uint64_t opened = 0, closed = 0, refused = 0, retries = 0, bytes_in = 0, bytes_out = 0;
};

class Forwarder {
 public:
  // Threads start in the caller's network namespace. Exhausted: the limit of open files is too low
  // to be of use.
  static Result<std::unique_ptr<Forwarder>> create(ForwarderConfig config);
  ~Forwarder();  // ends all connections
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // Changes, as of plan::diff. An error leaves the services named before it changed.
  Result<void> apply(const std::vector<plan::ServiceChange>& changes);

  TcpPorts tcp_ports(IpFamily family) const { return tcp_ports_.at(family); }
  std::optional<Port> udp_port(const UdpEntry& entry) const;

  const Budget& budget() const { return *budget_; }
  std::vector<ServiceTotals> totals() const;
  // No new connections from now on; true when the last one has ended before `deadline`.
  bool drain(std::chrono::steady_clock::time_point deadline);

 private:
  class Loop;
  struct Route;
  Forwarder(ForwarderConfig config, Limits limits);
  Result<void> start();
  Result<void> listen(IpFamily family);
  Result<void> open_udp(const std::shared_ptr<Service>& service);
  void close_udp(const plan::PlanKey& key, const std::vector<UdpEntry>& kept);
  template <class Work>
  void on_all_loops(Work work);

  ForwarderConfig config_;
  std::unique_ptr<Budget> budget_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::map<IpFamily, TcpPorts> tcp_ports_;
  std::map<UdpEntry, Port> udp_ports_;
  std::map<plan::PlanKey, std::shared_ptr<Service>> services_;
};

// Which pool the clients in general of a frontend are led to; nothing when they are turned away.
std::optional<PoolKind> pool_of(const plan::Frontend& frontend);
// The UDP sockets a plan needs.
std::vector<UdpEntry> udp_entries(const plan::ServicePlan& plan);

}  // namespace fairlead::userspace
