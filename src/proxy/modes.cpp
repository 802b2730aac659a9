// Which mode a configuration means, made in the calling thread's network namespace.
#include "proxy/modes/iptables/iptables_mode.hpp"
#include "proxy/modes/ipvs/ipvs_mode.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "proxy/modes/userspace/userspace_mode.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::proxy {
namespace {

iptables::Config iptables_config(const Config& config) {
  return {.localhost_node_ports = localhost_node_ports(config),
          .canary_interval =
              std::chrono::duration_cast<std::chrono::milliseconds>(config.iptables.sync_period)};
}

ipvs::Config ipvs_config(const Config& config, Purpose purpose) {
  const auto seconds = [](Duration d) {
    return std::chrono::duration_cast<std::chrono::seconds>(d);
  };
  ipvs::Config out{.scheduler = config.ipvs.scheduler,
                   .kernel = {.strict_arp = config.ipvs.strict_arp,
                              .tcp_timeout = seconds(config.ipvs.tcp_timeout),
                              .tcp_fin_timeout = seconds(config.ipvs.tcp_fin_timeout),
                              .udp_timeout = seconds(config.ipvs.udp_timeout)},
                   .read_only = purpose == Purpose::Verify};
  for (const std::string& text : config.ipvs.exclude_cidrs) {
    if (const auto cidr = IpPrefix::parse_sloppy(text)) out.exclude_cidrs.push_back(*cidr);
  }
  return out;
}

userspace::Config userspace_config(const Config& config) {
  const std::string& choice = config.userspace.choice;
  return {.way_in = config.userspace.way_in == "addresses" ? userspace::WayIn::Places
                                                           : userspace::WayIn::Rules,
          .choice = choice == "leastConnections" ? userspace::Choice::LeastConnections
                    : choice == "randomOfTwo"    ? userspace::Choice::RandomOfTwo
                                                 : userspace::Choice::RoundRobin,
          .udp_idle = std::chrono::ceil<std::chrono::milliseconds>(config.userspace.udp_timeout),
          .transparent = config.userspace.transparent,
          .most_connections = static_cast<std::size_t>(config.userspace.max_connections),
          .most_flows = static_cast<std::size_t>(config.userspace.max_flows),
          .drain = std::chrono::ceil<std::chrono::milliseconds>(config.userspace.drain_timeout)};
}

}  // namespace

Result<std::unique_ptr<plan::Mode>> make_mode(const Config& config, Purpose purpose) {
  FAIRLEAD_TRY(name, effective_mode(config));
  auto mode = name == "iptables"    ? iptables::create(iptables_config(config))
              : name == "ipvs"      ? ipvs::create(ipvs_config(config, purpose))
              : name == "userspace" ? userspace::create(userspace_config(config))
                                    : nftables::create({});
  if (!mode) return mode.error().with_context(fmt::format("open proxy mode {}", name));
  return mode;
}

}  // namespace fairlead::proxy
