// The proxy's configuration as a value: KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)
// with kube-proxy's names, defaults and rules (spec/kube-proxy 1.2, 1.3, 1.6).
// for_each_field() names every field once; reading, writing and /configz all go through it, so a
// field cannot be read and not written. Pure; files are config_file.hpp's, flags are flags.hpp's.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/ip.hpp"

namespace fairlead::proxy {

using Duration = std::chrono::nanoseconds;

struct ClientConnection {
  std::string kubeconfig;
  std::string accept_content_types;
  std::string content_type = "application/vnd.kubernetes.protobuf";  // we speak JSON anyway
  double qps = 5;
  std::int32_t burst = 10;
  bool operator==(const ClientConnection&) const = default;
};

struct LoggingSection {
  std::string format = "text";
  Duration flush_frequency = std::chrono::seconds{5};
  std::int32_t verbosity = 0;
  bool operator==(const LoggingSection&) const = default;
};

struct IptablesSection {
  std::int32_t masquerade_bit = 14;
  bool masquerade_all = false;
  bool localhost_node_ports = true;
  Duration sync_period = std::chrono::seconds{30};
  Duration min_sync_period = std::chrono::seconds{1};
  bool operator==(const IptablesSection&) const = default;
};

struct IpvsSection {
  Duration sync_period = std::chrono::seconds{30};
  Duration min_sync_period{0};
  std::string scheduler;
  std::vector<std::string> exclude_cidrs;
  bool strict_arp = false;
  Duration tcp_timeout{0}, tcp_fin_timeout{0}, udp_timeout{0};
  bool operator==(const IpvsSection&) const = default;
};

struct NftablesSection {
  std::int32_t masquerade_bit = 14;
  bool masquerade_all = false;
  Duration sync_period = std::chrono::seconds{30};
  // kube-proxy's is 1 s, because each of its commits costs what the whole cluster costs. Ours costs
  // what changed, so this only gathers what one event of the cluster brings in several messages.
  Duration min_sync_period = std::chrono::milliseconds{10};
  bool operator==(const NftablesSection&) const = default;
};

// Ours: kube-proxy's mode of that name had none.
struct UserspaceSection {
  std::string way_in = "rules";                           // or addresses
  bool transparent = false;                               // keep clients' addresses
  std::string choice = "roundRobin";                      // or leastConnections, randomOfTwo
  std::int32_t max_connections = 0;                       // 0 = what the limit of open files allows
  std::int32_t max_flows = 0;                             // of UDP; 0 = half of the open files
  Duration udp_timeout = std::chrono::milliseconds{250};  // of idle flows
  Duration drain_timeout = std::chrono::seconds{5};       // for connections, when the proxy ends
  bool operator==(const UserspaceSection&) const = default;
};

struct DetectLocalSection {
  std::string bridge_interface;
  std::string interface_name_prefix;
  bool operator==(const DetectLocalSection&) const = default;
};

struct ConntrackSection {
  std::int32_t max_per_core = 32768;
  std::int32_t min = 131072;
  Duration tcp_established_timeout = std::chrono::hours{24};
  Duration tcp_close_wait_timeout = std::chrono::hours{1};
  bool tcp_be_liberal = false;
  Duration udp_timeout{0}, udp_stream_timeout{0};
  bool operator==(const ConntrackSection&) const = default;
};

struct Config {
  std::string bind_address = "0.0.0.0";
  std::string healthz_bind_address = "0.0.0.0:10256";    // empty = no server
  std::string metrics_bind_address = "127.0.0.1:10249";  // empty = no server
  bool bind_address_hard_fail = false;
  bool enable_profiling = false;
  std::string show_hidden_metrics_for_version;
  std::string hostname_override;
  ClientConnection client_connection;
  LoggingSection logging;
  std::map<std::string, bool> feature_gates;
  std::string mode;  // "" = nftables; "auto" = what mode_choice.hpp finds
  IptablesSection iptables;
  IpvsSection ipvs;
  NftablesSection nftables;
  UserspaceSection userspace;
  std::string detect_local_mode;  // "" = ClusterCIDR
  DetectLocalSection detect_local;
  std::string cluster_cidr;
  std::vector<std::string> node_port_addresses;
  std::int32_t oom_score_adj = -999;
  ConntrackSection conntrack;
  Duration config_sync_period = std::chrono::minutes{15};
  std::string port_range;
  std::string master;  // only a flag; not part of the file
  bool operator==(const Config&) const = default;
};

// Calls visitor.field(name, value) for every scalar, list and map, and visitor.section(name, f)
// around those of a section, in the order of the names. C is Config or const Config.
template <class C, class Visitor>
void for_each_field(C& c, Visitor& v) {
  v.field("bindAddress", c.bind_address);
  v.field("bindAddressHardFail", c.bind_address_hard_fail);
  v.section("clientConnection", [&] {
    v.field("acceptContentTypes", c.client_connection.accept_content_types);
    v.field("burst", c.client_connection.burst);
    v.field("contentType", c.client_connection.content_type);
    v.field("kubeconfig", c.client_connection.kubeconfig);
    v.field("qps", c.client_connection.qps);
  });
  v.field("clusterCIDR", c.cluster_cidr);
  v.field("configSyncPeriod", c.config_sync_period);
  v.section("conntrack", [&] {
    v.field("maxPerCore", c.conntrack.max_per_core);
    v.field("min", c.conntrack.min);
    v.field("tcpBeLiberal", c.conntrack.tcp_be_liberal);
    v.field("tcpCloseWaitTimeout", c.conntrack.tcp_close_wait_timeout);
    v.field("tcpEstablishedTimeout", c.conntrack.tcp_established_timeout);
    v.field("udpStreamTimeout", c.conntrack.udp_stream_timeout);
    v.field("udpTimeout", c.conntrack.udp_timeout);
  });
  v.section("detectLocal", [&] {
    v.field("bridgeInterface", c.detect_local.bridge_interface);
    v.field("interfaceNamePrefix", c.detect_local.interface_name_prefix);
  });
  v.field("detectLocalMode", c.detect_local_mode);
  v.field("enableProfiling", c.enable_profiling);
  v.field("featureGates", c.feature_gates);
  v.field("healthzBindAddress", c.healthz_bind_address);
  v.field("hostnameOverride", c.hostname_override);
  v.section("iptables", [&] {
    v.field("localhostNodePorts", c.iptables.localhost_node_ports);
    v.field("masqueradeAll", c.iptables.masquerade_all);
    v.field("masqueradeBit", c.iptables.masquerade_bit);
    v.field("minSyncPeriod", c.iptables.min_sync_period);
    v.field("syncPeriod", c.iptables.sync_period);
  });
  v.section("ipvs", [&] {
    v.field("excludeCIDRs", c.ipvs.exclude_cidrs);
    v.field("minSyncPeriod", c.ipvs.min_sync_period);
    v.field("scheduler", c.ipvs.scheduler);
    v.field("strictARP", c.ipvs.strict_arp);
    v.field("syncPeriod", c.ipvs.sync_period);
    v.field("tcpFinTimeout", c.ipvs.tcp_fin_timeout);
    v.field("tcpTimeout", c.ipvs.tcp_timeout);
    v.field("udpTimeout", c.ipvs.udp_timeout);
  });
  v.section("logging", [&] {
    v.field("flushFrequency", c.logging.flush_frequency);
    v.field("format", c.logging.format);
    v.field("verbosity", c.logging.verbosity);
  });
  v.field("metricsBindAddress", c.metrics_bind_address);
  v.field("mode", c.mode);
  v.section("nftables", [&] {
    v.field("masqueradeAll", c.nftables.masquerade_all);
    v.field("masqueradeBit", c.nftables.masquerade_bit);
    v.field("minSyncPeriod", c.nftables.min_sync_period);
    v.field("syncPeriod", c.nftables.sync_period);
  });
  v.field("nodePortAddresses", c.node_port_addresses);
  v.field("oomScoreAdj", c.oom_score_adj);
  v.field("portRange", c.port_range);
  v.field("showHiddenMetricsForVersion", c.show_hidden_metrics_for_version);
  v.section("userspace", [&] {
    v.field("wayIn", c.userspace.way_in);
    v.field("transparent", c.userspace.transparent);
    v.field("choice", c.userspace.choice);
    v.field("maxConnections", c.userspace.max_connections);
    v.field("maxFlows", c.userspace.max_flows);
    v.field("udpTimeout", c.userspace.udp_timeout);
    v.field("drainTimeout", c.userspace.drain_timeout);
  });
}

// Every violation, each "KubeProxyConfiguration.field: value: what is wrong"; empty = valid.
std::vector<std::string> validate(const Config& config);

// Whether node ports are to answer on 127.0.0.0/8: mode iptables, IPv4.
bool localhost_node_ports(const Config& config);

// The mode that runs, "auto" included, or Unsupported naming those there are.
Result<std::string> effective_mode(const Config& config);

enum class LocalMode : std::uint8_t {
  ClusterCidr,
  NodeCidr,
  BridgeInterface,
  InterfaceNamePrefix,
};
LocalMode local_mode(const Config& config);  // of a valid configuration

// "10.0.0.0/16,fd00::/48" and the like; all elements of a valid configuration parse.
std::vector<IpPrefix> parse_cidrs(std::string_view list);

// The JSON of /configz: the fields above with kind and apiVersion.
std::string to_json(const Config& config);

}  // namespace fairlead::proxy
