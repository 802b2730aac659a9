// Forwarder: the data path of userspace mode. One event loop and thread a core, each with its own
// listening sockets (SO_REUSEPORT), which the kernel spreads connections over.
//
// By rules, TCP connections of all services arrive at two ranges of ports a family: one for the
// pool a frontend leads to, one for clients that take the short cut to the cluster pool (this node
// and its pods, past a Local policy); which service is meant is told by the address they were sent
// to (SO_ORIGINAL_DST). Datagrams lose that address when they are redirected, so each UDP service
// port has sockets of its own. Without rules there are sockets at each place (places.hpp).
//
// Owner: UserspaceMode, on its home thread; apply() returns when all loops work by the new plans.
// Connections outlive the change of a plan, and the end of their service. Not here: how packets get
// to the sockets (Entrance).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "proxy/modes/userspace/budget.hpp"
#include "proxy/modes/userspace/places.hpp"
#include "proxy/modes/userspace/service.hpp"
#include "proxy/modes/userspace/sockets.hpp"

namespace fairlead::userspace {

class Loop;

// What brings connections and datagrams to the forwarder's sockets.
enum class WayIn : std::uint8_t {
  Rules,   // they are redirected
  Places,  // the sockets are where the clients want to go: the frontends' addresses and ports
};

struct ForwarderConfig {
  WayIn way_in = WayIn::Rules;
  unsigned loops = 0;  // 0 = one a CPU we may run on
  Choice choice = Choice::RoundRobin;
  std::size_t most_connections = 0;  // above it new ones are refused; 0 = what descriptors allow
  std::size_t most_flows = 0;        // of UDP; as above, and at most half of the descriptors
  std::chrono::milliseconds udp_idle{250};
  bool keep_sources = false;  // where the plan does, and answers pass here; of WayIn::Rules
  std::vector<IpFamily> families;
};

// What each service port has done since it began; for metrics.
struct ServiceTotals {
  plan::PlanKey key;
  std::map<plan::Backend, EndpointCount> endpoints;
  std::uint64_t opened = 0, closed = 0, refused = 0, retries = 0, bytes_in = 0, bytes_out = 0;
  std::array<std::uint64_t, ServiceCounters::kConnectBuckets> connect_ms{};
  std::uint64_t connect_ns = 0;
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

  // Before apply(). For WayIn::Places and where sources are kept. What is there already changes
  // only with its service.
  void set_nodes(const std::map<IpFamily, plan::NodePlan>& nodes);
  // Changes, as of plan::diff. An error leaves the services named before it changed.
  Result<void> apply(const std::vector<plan::ServiceChange>& changes);
  // Places that are somebody else's: where, and why. They are tried again with each apply().
  const std::map<std::string, Error>& unbound() const { return unbound_; }

  TcpPorts tcp_ports(IpFamily family) const { return tcp_ports_.at(family); }
  std::optional<Port> udp_port(const UdpEntry& entry) const;
  std::vector<Port> udp_ports(const plan::PlanKey& key) const;  // all of a service port

  const Budget& budget() const { return *budget_; }
  std::vector<ServiceTotals> totals() const;
  // That clients of connections went to.
  std::set<IpAddress> addresses_in_use();
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
  Result<std::vector<io::UniqueFd>> complete(std::vector<io::UniqueFd> inherited, int type,
                                             SocketAddress at, const Filter& filter);
  template <class Give>
  void hand_out(std::vector<io::UniqueFd>& sockets, Give give);
  Result<void> open_udp(const UdpEntry& entry, const Way& way, const Filter& filter);
  Result<void> open_redirected(const std::vector<plan::ServiceChange>& changes);
  void bind_places(const std::vector<plan::ServiceChange>& changes);
  Result<std::size_t> listen_at(const TcpEntry& entry, const Filter& filter);
  Result<void> open_place(const plan::PlanKey& key, const SocketAddress& at,
                          const Treatment& treatment);
  void close_place(const plan::PlanKey& key, const SocketAddress& at);
  void close_udp(const UdpEntry& entry);
  UdpEntry merged(UdpEntry entry) const;
  std::vector<UdpEntry> udp_entries_of(const plan::PlanKey& key) const;
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
  std::map<UdpEntry, UdpSockets> udp_sockets_;
  std::map<plan::PlanKey, std::shared_ptr<Service>> services_;
  std::map<IpFamily, plan::NodePlan> nodes_;
  std::map<plan::PlanKey, std::map<SocketAddress, Treatment>> places_;  // that are open
  struct TcpPlace {
    plan::PlanKey owner;
    std::size_t sockets = 0;
  };
  std::map<SocketAddress, TcpPlace> tcp_places_;  // of those that are open
  std::map<plan::PlanKey, std::map<SocketAddress, Treatment>> unbound_places_;
  std::map<std::string, Error> unbound_;
};

}  // namespace fairlead::userspace
