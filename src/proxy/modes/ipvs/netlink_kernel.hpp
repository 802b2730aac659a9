// One network namespace's IPVS, ipsets, dummy device and iptables: sockets and tools made in the
// calling thread's namespace, to which they belong whoever uses them later. Owner: IpvsMode.
// Thread rule: one caller at a time.
#pragma once

#include <memory>

#include "io/fd.hpp"
#include "io/netns.hpp"
#include "proxy/modes/iptables/tools.hpp"
#include "proxy/modes/ipvs/kernel.hpp"
#include "proxy/modes/ipvs/messages.hpp"
#include "proxy/modes/ipvs/wire.hpp"

namespace fairlead::ipvs {

struct KernelConfig {
  std::string scheduler = "rr";  // must be there
  bool strict_arp = false;
  // Whole seconds; zero keeps the kernel's value.
  std::chrono::seconds tcp_timeout{0}, tcp_fin_timeout{0}, udp_timeout{0};
};

class NetlinkKernel final : public Kernel {
 public:
  // Unsupported, in words, when this kernel has no IPVS, no ipset or not the scheduler; Forbidden
  // without CAP_NET_ADMIN. Sets the sysctls the mode needs.
  static Result<std::unique_ptr<NetlinkKernel>> create(const KernelConfig& config);
  // The same without setting or asking anything; knows no schedulers.
  static Result<std::unique_ptr<NetlinkKernel>> open();
  // As open(), taking for granted that all schedulers are there.
  static Result<std::unique_ptr<NetlinkKernel>> open_to_read(const std::string& scheduler);

  Result<bool> has_device();
  // Of those that only kube-proxy has; true: there were some.
  Result<bool> remove_sets_of_kube_proxy(IpFamily family);

  const std::set<std::string>& schedulers() const override { return schedulers_; }
  Result<std::set<IpAddress>> interface_addresses() override;
  Result<plan::ApplyStats> make_scaffold(IpFamily family) override;
  Result<void> remove_sets(IpFamily family) override;
  Result<void> remove_device() override;
  Result<Reading> read(IpFamily family) override;
  Result<DestinationList> destinations(const ServerKey& server) override;
  Result<std::vector<TrafficSample>> server_traffic() override;
  Result<std::vector<TrafficSample>> destination_traffic(const ServerKey& server) override;
  Result<plan::ApplyStats> commit(const Operations& operations) override;
  std::string_view rules_variant() const override { return to_string(parts_.tools->variant()); }
  Result<std::string> saved_rules(IpFamily family) override;
  Result<plan::ApplyStats> restore_rules(IpFamily family, const std::string& text) override;
  int wake_fd() const override { return parts_.wake.get(); }
  Result<Wake> woken() override;
  Result<void> set_timer(std::chrono::seconds from_now) override;

 private:
  struct Parts {
    std::uint16_t family_id = 0;  // of IPVS in generic netlink
    Channel ipvs, sets, routes;
    io::NetlinkSocket listener;
    io::UniqueFd timer, wake;
    std::unique_ptr<iptables::Tools> tools;
    io::NetNamespace network;
  };
  explicit NetlinkKernel(Parts parts) : parts_(std::move(parts)) {}

  Result<void> probe_schedulers(const std::string& wanted);
  Result<void> set_timeouts_of(const KernelConfig& config);
  Result<std::vector<ListedServer>> list(IpFamily family);
  Result<int> device_index();
  Result<std::set<SetEntry>> entries(std::string_view name, SetId shape, IpFamily family);
  Result<std::set<ServerKey>> of_kube_proxy(const std::vector<ListedServer>& servers,
                                            IpFamily family);
  Result<void> reshape_set(SetId set, IpFamily family);
  Result<plan::ApplyStats> execute(Channel& channel, std::span<const Operation> operations,
                                   int device);

  Parts parts_;
  std::set<std::string> schedulers_;
};

}  // namespace fairlead::ipvs
