// The IPVS mode: the Plan as virtual servers of the kernel's load balancer, the addresses they
// answer on as a dummy device's, and who is masqueraded, dropped or sent a shorter way as entries
// of ipsets, to which a fixed set of iptables rules leads. A change costs what changed: the
// kernel's tables are read at the start, after a failure and by audits, never on the way of a
// change.
//
// A TCP endpoint that leaves keeps its connections: its weight becomes 0 until they have ended, and
// as long its virtual server stays, even when its service is gone.
// What is ours is written down in the kernel itself (the set of our servers, the device, the prefix
// of our marks and chains), so that a restarted proxy finds it and cleanup() takes nothing else.
// Two things differ from other modes, by IPVS's nature: a service's address is one of the node's
// own, so its other ports refuse where elsewhere packets would go their way; and a client's
// affinity lasts as long as it has connections, and its time after that.
//
// Owner: the proxy. Thread rule: as plan::Mode; create() must be called in the network namespace
// that is to be programmed.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "proxy/modes/ipvs/counters.hpp"
#include "proxy/modes/ipvs/kernel.hpp"
#include "proxy/modes/ipvs/netlink_kernel.hpp"
#include "proxy/modes/ipvs/render.hpp"
#include "proxy/modes/ipvs/rules.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::ipvs {

struct Config {
  std::string scheduler;  // as parse_scheduler() reads it
  // Servers and addresses there stay, unless a service wants or wanted them.
  std::vector<IpPrefix> exclude_cidrs;
  KernelConfig kernel;  // its scheduler is set from the one above
  // For verify() alone: nothing is set and no scheduler tried.
  bool read_only = false;
};

Result<std::unique_ptr<plan::Mode>> create(Config config);

// Removes what this mode, or kube-proxy's, left in the calling thread's network namespace; false:
// there was nothing. `in_use`: this mode runs, so only the sets go that kube-proxy alone has. Rules
// that speak of sets must be gone. A kernel that has not loaded IPVS has none.
// kube-proxy's own --cleanup flushes all of IPVS. Here a virtual server is kube-proxy's if its
// address is the dummy device's, if one of kube-proxy's sets names it, or if it is on an address of
// the node and one of kube-proxy's sets of node ports has its port; anybody else's stays.
Result<bool> remove_leftovers(bool in_use);

class IpvsMode final : public plan::Mode {
 public:
  struct Options {
    Scheduling scheduling;
    std::vector<IpPrefix> exclude_cidrs;
    const Clock* clock = &Clock::real();
  };
  IpvsMode(std::unique_ptr<Kernel> kernel, Options options)
      : kernel_(std::move(kernel)), options_(std::move(options)) {}

  std::string_view name() const override { return "ipvs"; }
  std::string_view variant() const override { return kernel_->rules_variant(); }
  Result<plan::ApplyStats> apply_full(const plan::Plan& plan) override;
  Result<plan::ApplyStats> apply(const plan::Plan& plan, const plan::PlanDelta& delta) override;
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override;
  int tamper_fd() const override { return kernel_->wake_fd(); }
  Result<bool> tampered() override;
  bool counts_traffic() const override { return true; }
  Result<std::vector<plan::Traffic>> traffic(const plan::Plan& plan) override;
  Result<void> cleanup() override;

 private:
  // What is the same for all services of a family, and what they share.
  struct FamilyState {
    plan::NodePlan node;
    std::vector<IpAddress> node_ports;
    // Servers of services' addresses that are the node's as well: no node port may take them.
    std::set<ServerKey> claimed;
    std::map<SetEntry, std::uint32_t> shared;  // how many service ports want it
  };
  struct Step {
    State before, after;
  };
  using SharedChange = std::map<SetEntry, std::int64_t>;

  Result<void> look_around(const plan::Plan& plan);
  Rendered render_service(const plan::ServicePlan& service);
  State render_all(const plan::Plan& plan, IpFamily family);
  State ours(const Reading& reading, const State& wanted) const;
  bool is_claim(const plan::ServiceChange& change) const;
  bool holds_address(const ServerKey& key) const;
  void add_orphans(IpFamily family, State& to);
  void adopt_orphan(const ServerKey& key, const Server& server,
                    const DestinationList& destinations);
  Result<void> keep_departing(Step& step, SharedChange& shared);
  void keep_leaving(Step& step) const;
  void count(const SharedChange& shared, Step& step);
  Result<plan::ApplyStats> apply_rules(IpFamily family);
  Result<plan::ApplyStats> apply_family(const plan::Plan& plan, IpFamily family);
  Result<plan::ApplyStats> let_go(const std::set<ServerKey>& servers);
  Result<void> remove_family(IpFamily family);
  Result<plan::ApplyStats> commit(const Operations& operations);

  std::unique_ptr<Kernel> kernel_;
  Options options_;
  Surroundings surroundings_;
  std::map<IpFamily, FamilyState> families_;
  Marks marks_;
  // Destinations of weight 0 that still have connections.
  std::map<ServerKey, std::set<Destination>> leaving_;
  // Servers that no service wants any more, there only for such destinations. Each holds its
  // address on the device.
  std::map<ServerKey, Server> orphans_;
  Counters counters_;
  bool in_step_ = false;  // the kernel has what was last applied
};

}  // namespace fairlead::ipvs
