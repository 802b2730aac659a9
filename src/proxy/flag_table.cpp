#include "proxy/flag_table.hpp"

#include <algorithm>
#include <iterator>
#include <map>

#include "base/clock.hpp"
#include "base/text.hpp"

namespace fairlead::proxy {
namespace {

using Setter = decltype(Flag::set);

// ---- values -------------------------------------------------------------------------------------

Result<void> parse_into(const std::string& text, std::string& out) {
  out = text;
  return {};
}
Result<void> parse_into(const std::string& text, bool& out) {
  for (const std::string_view yes : {"true", "t", "1", "T", "TRUE", "True"}) {
    if (text == yes) return out = true, Result<void>{};
  }
  for (const std::string_view no : {"false", "f", "0", "F", "FALSE", "False"}) {
    if (text == no) return out = false, Result<void>{};
  }
  return make_error(ErrorCode::Invalid, "\"{}\" is not true or false", text);
}
Result<void> parse_into(const std::string& text, std::int32_t& out) {
  const auto value = parse_int(text);
  if (!value || *value < INT32_MIN || *value > INT32_MAX) {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a 32-bit integer", text);
  }
  out = static_cast<std::int32_t>(*value);
  return {};
}
Result<void> parse_into(const std::string& text, double& out) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a number", text);
  }
  out = value;
  return {};
}
Result<void> parse_into(const std::string& text, Duration& out) {
  const auto value = parse_duration(text);
  if (!value) {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a duration such as 30s or 1h15m", text);
  }
  out = *value;
  return {};
}
Result<void> parse_into(const std::string& text, std::vector<std::string>& out) {
  if (text.empty()) return {};
  for (const std::string_view part : split(text, ',')) out.emplace_back(part);
  return {};
}
Result<void> parse_into(const std::string& text, std::map<std::string, bool>& out) {
  if (text.empty()) return {};
  for (const std::string_view part : split(text, ',')) {
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) {
      return make_error(ErrorCode::Invalid, "\"{}\" is not Name=true or Name=false", part);
    }
    bool value = false;
    FAIRLEAD_CHECK(parse_into(std::string(part.substr(equals + 1)), value));
    out[std::string(part.substr(0, equals))] = value;
  }
  return {};
}

// A flag for a field of Config, reached by `get`.
template <class Get>
Setter field(Get get) {
  return [get](Parsed& p, const std::string& text) {
    return parse_into(text, get(p.invocation.config));
  };
}
template <class Get, class GetToo>
Setter both(Get get, GetToo get_too) {
  return [get, get_too](Parsed& p, const std::string& text) -> Result<void> {
    FAIRLEAD_CHECK(parse_into(text, get(p.invocation.config)));
    get_too(p.invocation.config) = get(p.invocation.config);
    return {};
  };
}
template <class Get>
Setter own(Get get) {
  return [get](Parsed& p, const std::string& text) { return parse_into(text, get(p)); };
}
// "ip" or "ip:port"; empty turns the server off.
template <class Get>
Setter socket(Get get, unsigned default_port) {
  return [get, default_port](Parsed& p, const std::string& text) -> Result<void> {
    const auto ip = IpAddress::parse_sloppy(text);
    const Port port{static_cast<std::uint16_t>(default_port)};
    get(p.invocation.config) = ip ? SocketAddress{.address = *ip, .port = port}.to_string() : text;
    return {};
  };
}
// Deprecated --healthz-port, --metrics-port: 0 turns the server off.
template <class Get>
Setter only_port(Get get) {
  return [get](Parsed& p, const std::string& text) -> Result<void> {
    std::int32_t port = 0;
    FAIRLEAD_CHECK(parse_into(text, port));
    std::string& address = get(p.invocation.config);
    if (port == 0) return address.clear(), Result<void>{};
    if (port < 0 || port > 65535) {
      return make_error(ErrorCode::Invalid, "\"{}\" is not a port (0-65535)", text);
    }
    if (auto parsed = SocketAddress::parse(address)) {
      parsed->port = Port{static_cast<std::uint16_t>(port)};
      address = parsed->to_string();
    }
    return {};
  };
}
Result<void> accept(Parsed&, const std::string&) { return {}; }

constexpr std::string_view kNoEffect = "is accepted and has no effect";
constexpr std::string_view kOurLogger =
    "is accepted and has no effect: lines are written at once, to stderr";

// kube-proxy's flags of the iptables mode hold for the nftables mode as well.
#define FAIRLEAD_FIELD_OF_BOTH(member)                       \
  both([](Config& c) -> auto& { return c.iptables.member; }, \
       [](Config& c) -> auto& { return c.nftables.member; })
#define FAIRLEAD_FIELD(path) field([](Config& c) -> auto& { return c.path; })

std::vector<Flag> own_flags() {
  using enum Source;
  return {
      {.name = "config",
       .set = own([](Parsed& p) -> auto& { return p.invocation.config_file; }),
       .help = "configuration file; replaces all flags but those marked *",
       .source = AlwaysOn},
      {.name = "write-config-to",
       .set = own([](Parsed& p) -> auto& { return p.invocation.write_config_to; }),
       .help = "write the effective configuration to this file and exit",
       .source = AlwaysOn},
      {.name = "cleanup",
       .set = own([](Parsed& p) -> auto& { return p.invocation.cleanup; }),
       .help = "remove all rules of all modes, ours and kube-proxy's, and exit",
       .boolean = true,
       .source = AlwaysOn},
      {.name = "init-only",
       .set = own([](Parsed& p) -> auto& { return p.invocation.init_only; }),
       .help = "do the privileged set-up and exit",
       .boolean = true,
       .source = AlwaysOn},
      {.name = "version",
       .set = own([](Parsed& p) -> auto& { return p.version; }),
       .help = "print the version and exit",
       .boolean = true,
       .source = AlwaysOn},
      {.name = "help",
       .set = own([](Parsed& p) -> auto& { return p.help; }),
       .help = "print this text and exit",
       .boolean = true,
       .source = AlwaysOn},
      {.name = "master",
       .set = FAIRLEAD_FIELD(master),
       .help = "URL of the API server; replaces the kubeconfig's",
       .source = AlwaysOn},
      {.name = "hostname-override",
       .set = FAIRLEAD_FIELD(hostname_override),
       .help = "the node's name",
       .source = AlwaysOn},
      {.name = "v",
       .set = FAIRLEAD_FIELD(logging.verbosity),
       .help = "verbosity of the log",
       .source = AlwaysOn},
      {.name = "logging-format",
       .set = FAIRLEAD_FIELD(logging.format),
       .help = "text or json",
       .source = AlwaysOn},
      {.name = "log-flush-frequency",
       .set = FAIRLEAD_FIELD(logging.flush_frequency),
       .source = AlwaysOn,
       .note = kOurLogger},
      {.name = "vmodule",
       .set = accept,
       .source = AlwaysOn,
       .note = "is accepted and has no effect: verbosity is one number for all files"},
      {.name = "log-text-split-stream",
       .set = accept,
       .boolean = true,
       .source = AlwaysOn,
       .note = kOurLogger},
      {.name = "log-json-split-stream",
       .set = accept,
       .boolean = true,
       .source = AlwaysOn,
       .note = kOurLogger},
      {.name = "log-text-info-buffer-size", .set = accept, .source = AlwaysOn, .note = kOurLogger},
      {.name = "log-json-info-buffer-size", .set = accept, .source = AlwaysOn, .note = kOurLogger},
  };
}

// klog wrote files until Kubernetes 1.26.
std::vector<Flag> old_log_flags() {
  std::vector<Flag> out;
  for (const std::string_view name : {"add-dir-header", "alsologtostderr", "logtostderr",
                                      "one-output", "skip-headers", "skip-log-headers"}) {
    out.push_back({.name = name,
                   .set = accept,
                   .boolean = true,
                   .source = Source::AlwaysOn,
                   .note = kOurLogger});
  }
  for (const std::string_view name :
       {"log-backtrace-at", "log-dir", "log-file", "log-file-max-size", "stderrthreshold"}) {
    out.push_back({.name = name, .set = accept, .source = Source::AlwaysOn, .note = kOurLogger});
  }
  return out;
}

std::vector<Flag> config_flags() {
  return {
      {.name = "feature-gates",
       .set = FAIRLEAD_FIELD(feature_gates),
       .help = "Name=true,...",
       .note = "is accepted; no gate changes anything in this build"},
      {.name = "kubeconfig",
       .set = FAIRLEAD_FIELD(client_connection.kubeconfig),
       .help = "file with the API server and credentials; without it and --master, the in-cluster "
               "ones"},
      {.name = "kube-api-content-type",
       .set = FAIRLEAD_FIELD(client_connection.content_type),
       .note = "is accepted and has no effect: JSON is spoken"},
      {.name = "kube-api-qps",
       .set = FAIRLEAD_FIELD(client_connection.qps),
       .help = "requests a second to the API server"},
      {.name = "kube-api-burst",
       .set = FAIRLEAD_FIELD(client_connection.burst),
       .help = "requests at once"},
      {.name = "bind-address",
       .set = FAIRLEAD_FIELD(bind_address),
       .help = "overrides the node's IP and primary family"},
      {.name = "bind-address-hard-fail",
       .set = FAIRLEAD_FIELD(bind_address_hard_fail),
       .help = "exit when a server cannot bind",
       .boolean = true},
      {.name = "healthz-bind-address",
       .set = socket([](Config& c) -> auto& { return c.healthz_bind_address; }, 10256),
       .help = "IP or IP:port of the health server; empty = none"},
      {.name = "metrics-bind-address",
       .set = socket([](Config& c) -> auto& { return c.metrics_bind_address; }, 10249),
       .help = "IP or IP:port of the metrics server; empty = none"},
      {.name = "healthz-port",
       .set = only_port([](Config& c) -> auto& { return c.healthz_bind_address; }),
       .note = "is deprecated; use --healthz-bind-address"},
      {.name = "metrics-port",
       .set = only_port([](Config& c) -> auto& { return c.metrics_bind_address; }),
       .note = "is deprecated; use --metrics-bind-address"},
      {.name = "profiling",
       .set = FAIRLEAD_FIELD(enable_profiling),
       .boolean = true,
       .note = "is accepted and has no effect: there is no /debug/pprof"},
      {.name = "show-hidden-metrics-for-version",
       .set = FAIRLEAD_FIELD(show_hidden_metrics_for_version),
       .note = "is accepted and has no effect: no metric is hidden"},
      {.name = "proxy-mode",
       .set = FAIRLEAD_FIELD(mode),
       .help = "nftables (default), iptables, ipvs, userspace, or auto: the best that works here"},
      {.name = "masquerade-all",
       .set = FAIRLEAD_FIELD_OF_BOTH(masquerade_all),
       .help = "masquerade all traffic to cluster IPs",
       .boolean = true},
      {.name = "iptables-masquerade-bit",
       .set = FAIRLEAD_FIELD_OF_BOTH(masquerade_bit),
       .help = "bit of the packet mark, 0-31"},
      {.name = "iptables-localhost-nodeports",
       .set = FAIRLEAD_FIELD(iptables.localhost_node_ports),
       .help = "mode iptables: node ports answer on 127.0.0.0/8 too",
       .boolean = true},
      {.name = "iptables-sync-period",
       .set = FAIRLEAD_FIELD_OF_BOTH(sync_period),
       .help = "time between audits of the kernel's rules, and before a retry"},
      {.name = "iptables-min-sync-period",
       .set = FAIRLEAD_FIELD_OF_BOTH(min_sync_period),
       .help = "least time between two commits when changes storm; 0 = no limit"},
      {.name = "ipvs-sync-period",
       .set = FAIRLEAD_FIELD(ipvs.sync_period),
       .help = "mode ipvs: as --iptables-sync-period"},
      {.name = "ipvs-min-sync-period",
       .set = FAIRLEAD_FIELD(ipvs.min_sync_period),
       .help = "mode ipvs: as --iptables-min-sync-period"},
      {.name = "ipvs-scheduler",
       .set = FAIRLEAD_FIELD(ipvs.scheduler),
       .help = "mode ipvs: the kernel's name of one, such as rr (default), lc, sh, mh"},
      {.name = "ipvs-exclude-cidrs",
       .set = FAIRLEAD_FIELD(ipvs.exclude_cidrs),
       .help = "mode ipvs: virtual servers there are left alone"},
      {.name = "ipvs-strict-arp",
       .set = FAIRLEAD_FIELD(ipvs.strict_arp),
       .help = "mode ipvs: answer ARP for an address only on its own interface",
       .boolean = true},
      {.name = "ipvs-tcp-timeout",
       .set = FAIRLEAD_FIELD(ipvs.tcp_timeout),
       .help = "mode ipvs: of idle connections; 0 = leave it"},
      {.name = "ipvs-tcpfin-timeout",
       .set = FAIRLEAD_FIELD(ipvs.tcp_fin_timeout),
       .help = "mode ipvs: of connections after a FIN; 0 = leave it"},
      {.name = "ipvs-udp-timeout",
       .set = FAIRLEAD_FIELD(ipvs.udp_timeout),
       .help = "mode ipvs: of UDP flows; 0 = leave it"},
      {.name = "cleanup-ipvs",
       .set = accept,
       .boolean = true,
       .note = "is deprecated and has no effect: --cleanup removes what IPVS holds of ours"},
      {.name = "detect-local-mode",
       .set = FAIRLEAD_FIELD(detect_local_mode),
       .help = "ClusterCIDR (default), NodeCIDR, BridgeInterface or InterfaceNamePrefix"},
      {.name = "cluster-cidr",
       .set = FAIRLEAD_FIELD(cluster_cidr),
       .help = "addresses of the cluster's pods: a CIDR, or one of each family"},
      {.name = "pod-bridge-interface",
       .set = FAIRLEAD_FIELD(detect_local.bridge_interface),
       .help = "for detect-local-mode BridgeInterface"},
      {.name = "pod-interface-name-prefix",
       .set = FAIRLEAD_FIELD(detect_local.interface_name_prefix),
       .help = "for detect-local-mode InterfaceNamePrefix"},
      {.name = "nodeport-addresses",
       .set = FAIRLEAD_FIELD(node_port_addresses),
       .help = "CIDRs of the addresses that answer node ports, or primary"},
      {.name = "oom-score-adj", .set = FAIRLEAD_FIELD(oom_score_adj), .help = "-1000 to 1000"},
      {.name = "conntrack-max-per-core",
       .set = FAIRLEAD_FIELD(conntrack.max_per_core),
       .help = "0 = leave the kernel's limit"},
      {.name = "conntrack-min", .set = FAIRLEAD_FIELD(conntrack.min), .help = "least limit"},
      {.name = "conntrack-tcp-timeout-established",
       .set = FAIRLEAD_FIELD(conntrack.tcp_established_timeout),
       .help = "0 = leave it"},
      {.name = "conntrack-tcp-timeout-close-wait",
       .set = FAIRLEAD_FIELD(conntrack.tcp_close_wait_timeout),
       .help = "0 = leave it"},
      {.name = "conntrack-tcp-be-liberal",
       .set = FAIRLEAD_FIELD(conntrack.tcp_be_liberal),
       .help = "accept out-of-window TCP packets",
       .boolean = true},
      {.name = "conntrack-udp-timeout",
       .set = FAIRLEAD_FIELD(conntrack.udp_timeout),
       .help = "0 = leave it"},
      {.name = "conntrack-udp-timeout-stream",
       .set = FAIRLEAD_FIELD(conntrack.udp_stream_timeout),
       .help = "0 = leave it"},
      {.name = "config-sync-period",
       .set = FAIRLEAD_FIELD(config_sync_period),
       .note = "is accepted and has no effect: nothing is lost between the watch and the rules "
               "that a re-delivery would mend"},
      {.name = "proxy-port-range", .set = FAIRLEAD_FIELD(port_range), .note = kNoEffect},
      {.name = "boot-id-file", .set = accept, .note = kNoEffect},
      {.name = "machine-id-file", .set = accept, .note = kNoEffect},
      {.name = "udp-timeout",
       .set = FAIRLEAD_FIELD(userspace.udp_timeout),
       .note = "is of kube-proxy before 1.26; use --userspace-udp-timeout"},
      {.name = "userspace-way-in",
       .set = FAIRLEAD_FIELD(userspace.way_in),
       .help =
           "mode userspace: rules (default; nftables redirects), or addresses (the node has the "
           "services' addresses, no packet filter is needed)"},
      {.name = "userspace-transparent",
       .set = FAIRLEAD_FIELD(userspace.transparent),
       .help = "mode userspace: endpoints see the client's address where no masquerading is due",
       .boolean = true},
      {.name = "userspace-choice",
       .set = FAIRLEAD_FIELD(userspace.choice),
       .help = "mode userspace: roundRobin (default), leastConnections or randomOfTwo"},
      {.name = "userspace-max-connections",
       .set = FAIRLEAD_FIELD(userspace.max_connections),
       .help = "mode userspace: new ones are refused beyond; 0 = what open files allow"},
      {.name = "userspace-max-flows",
       .set = FAIRLEAD_FIELD(userspace.max_flows),
       .help = "mode userspace: of UDP; 0 = half of the open files"},
      {.name = "userspace-drain-timeout",
       .set = FAIRLEAD_FIELD(userspace.drain_timeout),
       .help = "mode userspace: what connections get to end in when the proxy ends"},
      {.name = "userspace-udp-timeout",
       .set = FAIRLEAD_FIELD(userspace.udp_timeout),
       .help = "mode userspace: of idle UDP flows"},
  };
}
#undef FAIRLEAD_FIELD
#undef FAIRLEAD_FIELD_OF_BOTH

}  // namespace

std::vector<Flag> all_flags() {
  std::vector<Flag> out = own_flags();
  std::ranges::move(old_log_flags(), std::back_inserter(out));
  std::ranges::move(config_flags(), std::back_inserter(out));
  return out;
}

}  // namespace fairlead::proxy
