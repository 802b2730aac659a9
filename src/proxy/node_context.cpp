#include "proxy/node_context.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/text.hpp"
#include "io/interfaces.hpp"

namespace fairlead::proxy {
namespace {

struct NodeIps {
  std::map<IpFamily, IpAddress> by_family;
  IpFamily primary = IpFamily::V4;
};

// The first address of each family of the Node object; a bind address that is not a wildcard
// replaces its family's and decides the primary family.
NodeIps node_ips(const Config& config, const model::Node& node) {
  NodeIps out;
  if (!node.addresses.empty()) out.primary = node.addresses.front().family();
  for (const IpAddress& address : node.addresses) {
    out.by_family.try_emplace(address.family(), address);
  }
  if (const auto bind = IpAddress::parse_sloppy(config.bind_address);
      bind && !bind->is_unspecified()) {
    out.by_family.insert_or_assign(bind->family(), *bind);
    out.primary = bind->family();
  }
  return out;
}

std::optional<IpPrefix> first_of_family(const std::vector<IpPrefix>& all, IpFamily family) {
  const auto found = std::ranges::find(all, family, &IpPrefix::family);
  if (found == all.end()) return std::nullopt;
  return *found;
}

plan::LocalDetector detector_of(const Config& config, const model::Node& node, IpFamily family) {
  switch (local_mode(config)) {
    case LocalMode::ClusterCidr:
      return {.source_prefix = first_of_family(parse_cidrs(config.cluster_cidr), family)};
    case LocalMode::NodeCidr:
      return {.source_prefix = first_of_family(node.pod_cidrs, family)};
    case LocalMode::BridgeInterface:
      return {.interface_name = config.detect_local.bridge_interface};
    case LocalMode::InterfaceNamePrefix:
      return {.interface_prefix = config.detect_local.interface_name_prefix};
  }
  return {};
}

// Without a setting, nftables answers on the node's IPs, the older modes on every address.
bool wants_primary(const Config& config) {
  const bool older_mode = config.mode == "iptables" || config.mode == "ipvs";
  return (config.node_port_addresses.empty() && !older_mode) ||
         config.node_port_addresses == std::vector<std::string>{"primary"};
}

// The interface addresses inside the configured CIDRs; nothing = every local address, which is also
// what a family without a CIDR gets (spec/kube-proxy 4.8).
std::optional<std::vector<IpAddress>> addresses_in_cidrs(const Config& config,
                                                         const HostFacts& host, IpFamily family) {
  std::vector<IpPrefix> cidrs;
  for (const std::string& text : config.node_port_addresses) {
    const auto cidr = IpPrefix::parse_sloppy(text);
    if (!cidr || cidr->family() != family) continue;
    if (cidr->length() == 0) return std::nullopt;
    cidrs.push_back(*cidr);
  }
  if (cidrs.empty()) return std::nullopt;
  std::vector<IpAddress> out;
  for (const IpAddress& address : host.interface_addresses) {
    const auto holds = [&](const IpPrefix& cidr) { return cidr.contains(address); };
    const bool usable =
        !address.is_loopback() || (family == IpFamily::V4 && localhost_node_ports(config));
    if (usable && std::ranges::any_of(cidrs, holds)) out.push_back(address);
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

std::optional<std::vector<IpAddress>> node_port_addresses(const Config& config,
                                                          const HostFacts& host, const NodeIps& ips,
                                                          IpFamily family) {
  if (!wants_primary(config)) return addresses_in_cidrs(config, host, family);
  const auto mine = ips.by_family.find(family);
  if (mine == ips.by_family.end() || mine->second.is_loopback()) return std::nullopt;
  return std::vector{mine->second};
}

// Whether `cidrs` are given, but none of a family that the host has.
bool all_of_missing_family(const std::vector<IpPrefix>& cidrs, const HostFacts& host) {
  return !cidrs.empty() && std::ranges::none_of(cidrs, [&](const IpPrefix& cidr) {
    return std::ranges::find(host.families, cidr.family()) != host.families.end();
  });
}

std::vector<IpPrefix> parse_all(const std::vector<std::string>& texts) {
  std::vector<IpPrefix> out;
  for (const std::string& text : texts) {
    if (const auto prefix = IpPrefix::parse_sloppy(text)) out.push_back(*prefix);
  }
  return out;
}

struct MasqueradeSettings {
  bool all = false;
  std::int32_t bit = 14;
};

// Mode ipvs has none of its own (spec/kube-proxy 1.3).
MasqueradeSettings masquerade_settings(const Config& config) {
  if (config.mode == "iptables" || config.mode == "ipvs")
    return {.all = config.iptables.masquerade_all, .bit = config.iptables.masquerade_bit};
  return {.all = config.nftables.masquerade_all, .bit = config.nftables.masquerade_bit};
}

}  // namespace

Result<NodeSettings> node_settings(const Config& config, const HostFacts& host,
                                   const model::Node& node) {
  const NodeIps ips = node_ips(config, node);
  if (local_mode(config) == LocalMode::ClusterCidr &&
      all_of_missing_family(parse_cidrs(config.cluster_cidr), host)) {
    return make_error(ErrorCode::Invalid,
                      "clusterCIDR: \"{}\" has no CIDR of a family that this host supports",
                      config.cluster_cidr);
  }
  if (local_mode(config) == LocalMode::NodeCidr && all_of_missing_family(node.pod_cidrs, host)) {
    return make_error(ErrorCode::Invalid,
                      "the Node's podCIDRs have none of a family that this host supports");
  }
  const MasqueradeSettings masquerade = masquerade_settings(config);
  NodeSettings out{
      .context = {.name = host.node_name, .zone = node.zone, .addresses = ips.by_family},
      .primary = ips.primary};
  for (const IpFamily family : host.families) {
    out.context.families[family] =
        plan::NodePlan{.detector = detector_of(config, node, family),
                       .masquerade_all = masquerade.all,
                       .masquerade_mark = 1U << static_cast<unsigned>(masquerade.bit),
                       .node_port_addresses = node_port_addresses(config, host, ips, family)};
  }
  if (wants_primary(config) && ips.by_family.empty()) {
    out.warnings.emplace_back(
        "The node's IP is not known: node ports answer on every address of this host until it is");
  }
  if (all_of_missing_family(parse_all(config.node_port_addresses), host)) {
    out.warnings.emplace_back(
        "nodePortAddresses has no CIDR of a family that this host supports: node ports answer on "
        "every address");
  }
  const auto cluster_cidrs = parse_cidrs(config.cluster_cidr);
  if (local_mode(config) == LocalMode::ClusterCidr && !cluster_cidrs.empty() &&
      !first_of_family(cluster_cidrs, ips.primary)) {
    out.warnings.push_back(
        fmt::format("clusterCIDR has no {} CIDR, but that is the node's primary family",
                    to_string(ips.primary)));
  }
  if (local_mode(config) == LocalMode::ClusterCidr && config.cluster_cidr.empty()) {
    out.warnings.emplace_back(
        "No cluster CIDR: pods cannot be told from other clients, so traffic to cluster IPs is not "
        "masqueraded");
  }
  return out;
}

std::vector<IpPrefix> service_ranges(const std::map<std::string, std::vector<std::string>>& known,
                                     IpFamily family) {
  std::set<IpPrefix> out;
  for (const auto& [name, cidrs] : known) {
    for (const std::string& text : cidrs) {
      const auto prefix = IpPrefix::parse(text);
      if (prefix && prefix->family() == family) out.insert(*prefix);
    }
  }
  return {out.begin(), out.end()};
}

Result<std::string> node_name(const Config& config, std::string_view host_name) {
  const std::string_view wanted =
      config.hostname_override.empty() ? host_name : std::string_view(config.hostname_override);
  std::string out = to_lower_ascii(trim(wanted));
  if (out.empty()) return make_error(ErrorCode::Invalid, "the node's name is empty");
  return out;
}

Result<std::string> host_name() {
  char buffer[256] = {};
  if (gethostname(buffer, sizeof buffer - 1) != 0) return errno_error(errno, "read the host name");
  return std::string(buffer);
}

Result<std::vector<IpAddress>> interface_addresses() {
  FAIRLEAD_TRY(all, io::interface_addresses());
  std::vector<IpAddress> out;
  for (const io::InterfaceAddress& one : all) out.push_back(one.address);
  return out;
}

std::vector<IpFamily> supported_families() {
  std::ifstream present("/proc/net/if_inet6");
  std::ifstream disabled("/proc/sys/net/ipv6/conf/all/disable_ipv6");
  int off = 0;
  if (!present || (disabled >> off && off != 0)) return {IpFamily::V4};
  return {IpFamily::V4, IpFamily::V6};
}

}  // namespace fairlead::proxy
