// Which mode a configuration means, made in the calling thread's network namespace.
#include "proxy/modes/iptables/iptables_mode.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::proxy {
namespace {

iptables::Config iptables_config(const Config& config) {
  return {.localhost_node_ports = config.iptables.localhost_node_ports,
          .canary_interval =
              std::chrono::duration_cast<std::chrono::milliseconds>(config.iptables.sync_period)};
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> make_mode(const Config& config) {
  FAIRLEAD_TRY(name, effective_mode(config));
  auto mode = name == "iptables" ? iptables::create(iptables_config(config)) : nftables::create({});
  if (!mode) return mode.error().with_context(fmt::format("open proxy mode {}", name));
  return mode;
}

}  // namespace fairlead::proxy
