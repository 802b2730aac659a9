// The userspace mode: the Forwarder moves the bytes, an Entrance leads them to it: a few nftables
// rules, or the services' addresses on a device of the node.
//
// Order of a change: sockets and endpoints first, then what leads to them; what goes is taken from
// that first. A change of endpoints touches the kernel not at all. What ends with this object: the
// sockets and the connections; the rules or addresses stay and lead to closed ports until the next
// process replaces them, so that nothing is sent past them meanwhile.
//
// The first programming takes over from a process that serves here already, with its sockets, and
// that one learns it by successor_fd().
//
// Backends see the node's address as the client. SCTP is not forwarded.
// Thread rule: as plan::Mode; create() in the network namespace that is to be served.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "proxy/modes/userspace/entrance.hpp"
#include "proxy/modes/userspace/entry_rules.hpp"
#include "proxy/modes/userspace/handover.hpp"
#include "proxy/modes/userspace/home_thread.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::userspace {

struct Config {
  WayIn way_in = WayIn::Rules;
  Choice choice = Choice::RoundRobin;
  std::chrono::milliseconds udp_idle{250};
  bool transparent = false;  // endpoints see the client where the plan and the routes allow it
  std::size_t most_connections = 0;        // 0 = what the limit of open files allows
  std::size_t most_flows = 0;              // as above, and at most half of it
  unsigned loops = 0;                      // 0 = one a CPU
  std::chrono::milliseconds drain{5'000};  // what connections get to end in when the mode ends
};

// Unsupported: what `transparent` asks for. NotFound: no nft, or no kind of device for addresses.
// Forbidden: it may not program this namespace. In words.
Result<std::unique_ptr<plan::Mode>> create(const Config& config);

class UserspaceMode final : public plan::Mode, private Ports {
 public:
  static Result<std::unique_ptr<UserspaceMode>> create(const Config& config);
  // Takes no new connections, gives those there are their time to end, then ends them.
  ~UserspaceMode() override;

  std::string_view name() const override { return "userspace"; }
  Result<plan::ApplyStats> apply_full(const plan::Plan& plan) override {
    return home_->run([&] { return replace(plan); });
  }
  Result<plan::ApplyStats> apply(const plan::Plan& plan, const plan::PlanDelta& delta) override {
    return home_->run([&] { return change(plan, delta); });
  }
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override {
    return home_->run([&] { return compare(plan, limit); });
  }
  int tamper_fd() const override { return -1; }
  int successor_fd() const override { return succeeded_.get(); }
  Result<bool> tampered() override { return false; }
  std::vector<Port> udp_ports(const plan::PlanKey& key) const override {
    return home_->run(
        [&] { return forwarder_ ? forwarder_->udp_ports(key) : std::vector<Port>{}; });
  }
  bool counts_traffic() const override { return true; }
  Result<std::vector<plan::Traffic>> traffic(const plan::Plan& plan) override;
  Result<void> cleanup() override {
    return home_->run([this] { return remove(); });
  }

 private:
  UserspaceMode(const Config& config, std::unique_ptr<HomeThread> home, io::UniqueFd succeeded);

  TcpPorts tcp(IpFamily family) const override { return forwarder_->tcp_ports(family); }
  std::optional<Port> udp(const UdpEntry& entry) const override {
    return forwarder_->udp_port(entry);
  }
  enum class Tenure : std::uint8_t { Ours, HandingOver, Over };
  void set_tenure(Tenure tenure);
  Sockets share_sockets();
  void yield();
  // All of these run on the home thread.
  Result<plan::ApplyStats> begin(const plan::Plan& plan);
  Result<plan::ApplyStats> program(const plan::Plan& plan);
  Result<void> may_change() const;
  void offer_handover();
  Result<void> remove_other_entrance();
  void say_what_is_unbound();
  Result<plan::ApplyStats> replace(const plan::Plan& plan);
  Result<plan::ApplyStats> change(const plan::Plan& plan, const plan::PlanDelta& delta);
  Result<std::vector<std::string>> compare(const plan::Plan& plan, std::size_t limit);
  Result<void> remove();
  Result<void> serve(const std::vector<plan::ServiceChange>& changes);
  Result<void> retire(const std::vector<plan::ServiceChange>& changes);

  Config config_;
  std::unique_ptr<HomeThread> home_;
  io::UniqueFd succeeded_;                // readable once another process serves
  std::unique_ptr<Entrance> entrance_;    // by the way in that was asked for
  std::unique_ptr<Forwarder> forwarder_;  // from the first programming on
  std::unique_ptr<Handover> handover_;
  Tenure tenure_ = Tenure::Ours;
  std::set<std::string> said_;                            // places that somebody else has
  std::map<plan::PlanKey, plan::ServicePlanPtr> served_;  // by the forwarder
};

}  // namespace fairlead::userspace
