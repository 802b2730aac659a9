#include "proxy/config.hpp"

#include <algorithm>
#include <array>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "base/version.hpp"

namespace fairlead::proxy {
namespace {

// Collects "KubeProxyConfiguration.field: value: reason".
class Findings {
 public:
  template <class T>
  void add(std::string_view field, const T& value, std::string_view reason) {
    list_.push_back(fmt::format("KubeProxyConfiguration.{}: {}: {}", field, value, reason));
  }
  template <class T>
  void expect(bool holds, std::string_view field, const T& value, std::string_view reason) {
    if (!holds) add(field, value, reason);
  }
  void expect_not_negative(std::string_view field, Duration value) {
    expect(value >= Duration{0}, field, format_duration(value), "must not be negative");
  }
  void expect_not_negative(std::string_view field, std::int32_t value) {
    expect(value >= 0, field, value, "must not be negative");
  }
  std::vector<std::string> take() { return std::move(list_); }

 private:
  std::vector<std::string> list_;
};

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", text); }

void check_periods(Findings& out, std::string_view section, Duration sync, Duration min_sync) {
  const std::string sync_field = fmt::format("{}.syncPeriod", section);
  const std::string min_field = fmt::format("{}.minSyncPeriod", section);
  out.expect(sync > Duration{0}, sync_field, format_duration(sync), "must be greater than 0");
  out.expect_not_negative(min_field, min_sync);
  out.expect(min_sync <= sync, min_field, format_duration(min_sync),
             fmt::format("must not exceed syncPeriod, {}", format_duration(sync)));
}

void check_bit(Findings& out, std::string_view field, std::int32_t bit) {
  out.expect(bit >= 0 && bit <= 31, field, bit, "must be within 0 to 31");
}

void check_socket(Findings& out, std::string_view field, const std::string& value) {
  if (value.empty()) return;  // no server
  out.expect(SocketAddress::parse(value).has_value(), field, quoted(value), "must be IP:port");
}

void check_cluster_cidr(Findings& out, const std::string& value) {
  if (value.empty()) return;
  const auto parts = split(value, ',');
  std::vector<IpFamily> families;
  for (const std::string_view part : parts) {
    const auto prefix = IpPrefix::parse_sloppy(part);
    if (!prefix) return out.add("clusterCIDR", quoted(value), prefix.error().message);
    families.push_back(prefix->family());
  }
  if (parts.size() > 2 || (parts.size() == 2 && families[0] == families[1])) {
    out.add("clusterCIDR", quoted(value), "must be one CIDR, or one of each family");
  }
}

void check_node_port_addresses(Findings& out, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (value == "primary") {
      out.expect(values.size() == 1, "nodePortAddresses", quoted(value), "must stand alone");
    } else if (const auto prefix = IpPrefix::parse_sloppy(value); !prefix) {
      out.add("nodePortAddresses", quoted(value), "must be a CIDR, or the word primary alone");
    }
  }
}

void check_conntrack(Findings& out, const ConntrackSection& c) {
  out.expect_not_negative("conntrack.maxPerCore", c.max_per_core);
  out.expect_not_negative("conntrack.min", c.min);
  out.expect_not_negative("conntrack.tcpEstablishedTimeout", c.tcp_established_timeout);
  out.expect_not_negative("conntrack.tcpCloseWaitTimeout", c.tcp_close_wait_timeout);
  out.expect_not_negative("conntrack.udpTimeout", c.udp_timeout);
  out.expect_not_negative("conntrack.udpStreamTimeout", c.udp_stream_timeout);
}

constexpr std::string_view kModes[] = {"", "auto", "nftables", "iptables", "ipvs", "userspace"};
constexpr std::string_view kChoices[] = {"roundRobin", "leastConnections", "randomOfTwo"};
constexpr std::string_view kLocalModes[] = {"ClusterCIDR", "NodeCIDR", "BridgeInterface",
                                            "InterfaceNamePrefix"};

// The only release whose hidden metrics may be asked for.
std::string previous_minor() {
  return fmt::format("{}.{}", kKubernetesMajor, parse_int(kKubernetesMinor).value_or(1) - 1);
}

void check_detect_local(Findings& out, const Config& c) {
  const std::string& mode = c.detect_local_mode;
  out.expect(mode.empty() || std::ranges::find(kLocalModes, mode) != std::end(kLocalModes),
             "detectLocalMode", quoted(mode),
             "must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix");
  if (mode == "BridgeInterface" && c.detect_local.bridge_interface.empty()) {
    out.add("detectLocal.bridgeInterface", "\"\"",
            "is needed with detectLocalMode BridgeInterface");
  }
  if (mode == "InterfaceNamePrefix" && c.detect_local.interface_name_prefix.empty()) {
    out.add("detectLocal.interfaceNamePrefix", "\"\"",
            "is needed with detectLocalMode InterfaceNamePrefix");
  }
}

}  // namespace

std::vector<std::string> validate(const Config& c) {
  Findings out;
  check_bit(out, "iptables.masqueradeBit", c.iptables.masquerade_bit);
  check_bit(out, "nftables.masqueradeBit", c.nftables.masquerade_bit);
  check_periods(out, "iptables", c.iptables.sync_period, c.iptables.min_sync_period);
  if (c.mode != "iptables" && c.mode != "ipvs" && c.mode != "userspace") {
    check_periods(out, "nftables", c.nftables.sync_period, c.nftables.min_sync_period);
  }
  if (c.mode == "ipvs" || c.mode == "auto") {
    check_periods(out, "ipvs", c.ipvs.sync_period, c.ipvs.min_sync_period);
    out.expect_not_negative("ipvs.tcpTimeout", c.ipvs.tcp_timeout);
    out.expect_not_negative("ipvs.tcpFinTimeout", c.ipvs.tcp_fin_timeout);
    out.expect_not_negative("ipvs.udpTimeout", c.ipvs.udp_timeout);
    for (const std::string& cidr : c.ipvs.exclude_cidrs) {
      out.expect(IpPrefix::parse_sloppy(cidr).has_value(), "ipvs.excludeCIDRs", quoted(cidr),
                 "must be a CIDR");
    }
  }
  out.expect(c.userspace.way_in == "rules" || c.userspace.way_in == "addresses", "userspace.wayIn",
             quoted(c.userspace.way_in), "must be rules or addresses");
  out.expect(!c.userspace.transparent || c.userspace.way_in == "rules", "userspace.transparent",
             "true", "needs userspace.wayIn rules: answers are brought back by a rule");
  out.expect(std::ranges::find(kChoices, c.userspace.choice) != std::end(kChoices),
             "userspace.choice", quoted(c.userspace.choice),
             "must be roundRobin, leastConnections or randomOfTwo");
  out.expect_not_negative("userspace.maxConnections", c.userspace.max_connections);
  out.expect_not_negative("userspace.maxFlows", c.userspace.max_flows);
  out.expect(c.userspace.drain_timeout >= Duration{0}, "userspace.drainTimeout",
             format_duration(c.userspace.drain_timeout), "must not be negative");
  out.expect(c.userspace.udp_timeout > Duration{0}, "userspace.udpTimeout",
             format_duration(c.userspace.udp_timeout), "must be greater than 0");
  check_conntrack(out, c.conntrack);
  out.expect(std::ranges::find(kModes, c.mode) != std::end(kModes), "mode", quoted(c.mode),
             "must be auto, nftables, iptables, ipvs or userspace");
  out.expect(c.client_connection.qps >= 0, "clientConnection.qps", c.client_connection.qps,
             "must not be negative");
  out.expect_not_negative("clientConnection.burst", c.client_connection.burst);
  out.expect(c.oom_score_adj >= -1000 && c.oom_score_adj <= 1000, "oomScoreAdj", c.oom_score_adj,
             "must be within -1000 to 1000");
  out.expect(c.config_sync_period > Duration{0}, "configSyncPeriod",
             format_duration(c.config_sync_period), "must be greater than 0");
  out.expect(IpAddress::parse_sloppy(c.bind_address).has_value(), "bindAddress",
             quoted(c.bind_address), "must be an IP address");
  check_socket(out, "healthzBindAddress", c.healthz_bind_address);
  check_socket(out, "metricsBindAddress", c.metrics_bind_address);
  check_cluster_cidr(out, c.cluster_cidr);
  check_node_port_addresses(out, c.node_port_addresses);
  check_detect_local(out, c);
  const std::string& hidden = c.show_hidden_metrics_for_version;
  out.expect(hidden.empty() || hidden == previous_minor(), "showHiddenMetricsForVersion",
             quoted(hidden), fmt::format("must be absent or \"{}\"", previous_minor()));
  out.expect(c.logging.format == "text" || c.logging.format == "json", "logging.format",
             quoted(c.logging.format), "must be text or json");
  return out.take();
}

Result<std::string> effective_mode(const Config& config) {
  if (config.mode.empty()) return std::string("nftables");
  if (std::ranges::find(kModes, config.mode) != std::end(kModes)) return config.mode;
  return make_error(ErrorCode::Unsupported,
                    "proxy mode \"{}\": there is none of this name; there are nftables "
                    "(--proxy-mode=nftables, or leave it out), iptables, ipvs, userspace and auto",
                    config.mode);
}

bool localhost_node_ports(const Config& config) {
  if (config.mode != "iptables" || !config.iptables.localhost_node_ports) return false;
  const auto covers_loopback = [](const std::string& text) {
    const auto cidr = IpPrefix::parse_sloppy(text);
    return cidr && (cidr->contains(IpAddress::loopback(IpFamily::V4)) ||
                    IpPrefix(IpAddress::loopback(IpFamily::V4), 8).contains(*cidr));
  };
  return config.node_port_addresses.empty() ||
         std::ranges::any_of(config.node_port_addresses, covers_loopback);
}

LocalMode local_mode(const Config& config) {
  for (std::size_t i = 0; i < std::size(kLocalModes); ++i) {
    if (config.detect_local_mode == kLocalModes[i]) return static_cast<LocalMode>(i);
  }
  return LocalMode::ClusterCidr;
}

std::vector<IpPrefix> parse_cidrs(std::string_view list) {
  std::vector<IpPrefix> out;
  if (list.empty()) return out;
  for (const std::string_view part : split(list, ',')) {
    if (const auto prefix = IpPrefix::parse_sloppy(part)) out.push_back(*prefix);
  }
  return out;
}

namespace {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

class JsonWriter {
 public:
  template <class T>
  void field(std::string_view name, const T& value) {
    out_ += fmt::format("{}{}:{}", separator(), json_string(name), text(value));
  }
  template <class F>
  void section(std::string_view name, F fields) {
    out_ += fmt::format("{}{}:{{", separator(), json_string(name));
    first_ = true;
    fields();
    out_ += '}';
    first_ = false;
  }
  const std::string& out() const { return out_; }

 private:
  std::string_view separator() { return std::exchange(first_, false) ? "" : ","; }
  static std::string text(const std::string& value) { return json_string(value); }
  static std::string text(bool value) { return value ? "true" : "false"; }
  static std::string text(std::int32_t value) { return fmt::format("{}", value); }
  static std::string text(double value) { return fmt::format("{}", value); }
  static std::string text(Duration value) { return json_string(format_duration(value)); }
  static std::string text(const std::vector<std::string>& values) {
    std::string out;
    for (const std::string& v : values) out += (out.empty() ? "" : ",") + json_string(v);
    return '[' + out + ']';
  }
  static std::string text(const std::map<std::string, bool>& values) {
    std::string out;
    for (const auto& [key, v] : values) {
      out += fmt::format("{}{}:{}", out.empty() ? "" : ",", json_string(key), v);
    }
    return '{' + out + '}';
  }

  std::string out_;
  bool first_ = true;
};

}  // namespace

std::string to_json(const Config& config) {
  JsonWriter writer;
  writer.field("kind", std::string("KubeProxyConfiguration"));
  writer.field("apiVersion", std::string("kubeproxy.config.k8s.io/v1alpha1"));
  for_each_field(config, writer);
  return '{' + writer.out() + '}';
}

}  // namespace fairlead::proxy
