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
#include "proxy/modes/userspace/sockets.hpp"

namespace fairlead::userspace {

class Loop;

struct ForwarderConfig {
  unsigned loops = 0;  // 0 = one a CPU we may run on
  Choice choice = Choice::RoundRobin;
  std::size_t most_connections = 0;  // above it new ones are refused; 0 = what descriptors allow
  std::size_t most_flows = 0;        // of UDP; as above, and at most half of the descriptors
  std::chrono::milliseconds udp_idle{250};
  std::vector<IpFamily> families;
};

// What each service port has done since it began; for metrics.
struct ServiceTotals {
  plan::PlanKey key;
  std::map<plan::Backend, EndpointCount> endpoints;
  std::uint64_t opened = 0, closed = 0, refused = 0, retries = 0, bytes_in = 0, bytes_out = 0;
};

class Forwarder {
 public:
  // Threads start in the caller's network namespace. Sockets of a process that served before are
  // used where they fit. Nothing is taken from any before begin(). Exhausted: the limit of open
  // files is too low to be of use.
  static Result<std::unique_ptr<Forwarder>> create(ForwarderConfig config, Sockets inherited = {});
  void begin();
  ~Forwarder();  // ends all connections
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // Changes, as of plan::diff. An error leaves the services named before it changed.
  Result<void> apply(const std::vector<plan::ServiceChange>& changes);

  TcpPorts tcp_ports(IpFamily family) const { return tcp_ports_.at(family); }
  std::optional<Port> udp_port(const UdpEntry& entry) const;

  const Budget& budget() const { return *budget_; }
  std::vector<ServiceTotals> totals() const;
  // For another process; taking from them goes on.
  Sockets copies();
  // Nothing new is taken from the sockets from now on; what has begun goes on.
  void let_go();
  // The same; true when the last connection and the last flow have ended before `deadline`.
  bool drain(std::chrono::steady_clock::time_point deadline);

 private:
  Forwarder(ForwarderConfig config, Limits limits);
  Result<void> start();
  Result<void> listen(IpFamily family);
  std::optional<PortRange> inherited_range(IpFamily family, bool short_cut) const;
  Result<std::vector<io::UniqueFd>> udp_sockets(const UdpEntry& entry);
  Result<void> open_udp(const std::shared_ptr<Service>& service);
  void close_udp(const plan::PlanKey& key, const std::vector<UdpEntry>& kept);
  template <class Work>
  void on_all_loops(Work work);

  ForwarderConfig config_;
  std::unique_ptr<Budget> budget_;
  Sockets inherited_;  // not used yet
  std::vector<std::unique_ptr<Loop>> loops_;
  std::map<IpFamily, TcpPorts> tcp_ports_;
  struct UdpSockets {
    Port port{};
    std::size_t count = 0;
  };
  std::map<UdpEntry, UdpSockets> udp_ports_;
  std::map<plan::PlanKey, std::shared_ptr<Service>> services_;
};

}  // namespace fairlead::userspace
