#include "proxy/flags.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "proxy/config_file.hpp"

namespace fairlead::proxy {
namespace {

// Everything flags can say.
struct Parsed {
  Invocation invocation;
  bool help = false;
  std::string version;  // "", "true", "raw", "vX.Y.Z"
};

using Setter = std::function<Result<void>(Parsed&, const std::string&)>;

enum class Source : std::uint8_t {
  FileWins,  // ignored when there is a --config
  AlwaysOn,  // honoured on top of the file
};

struct Flag {
  std::string_view name;
  Setter set;
  std::string_view help;
  bool boolean = false;
  Source source = Source::FileWins;
  std::string_view note;  // logged when given: why it has no (full) effect
};

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

constexpr std::string_view kNoIptables =
    "belongs to the iptables mode, which this build does not have yet";
constexpr std::string_view kNoIpvs = "belongs to the ipvs mode, which this build does not have yet";
constexpr std::string_view kNoEffect = "is accepted and has no effect";
constexpr std::string_view kOurLogger =
    "is accepted and has no effect: lines are written at once, to stderr";

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
       .help = "remove all rules and exit",
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
      {.name = "proxy-mode", .set = FAIRLEAD_FIELD(mode), .help = "nftables (default)"},
      {.name = "masquerade-all",
       .set = [](Parsed& p, const std::string& text) -> Result<void> {
         FAIRLEAD_CHECK(parse_into(text, p.invocation.config.iptables.masquerade_all));
         p.invocation.config.nftables.masquerade_all = p.invocation.config.iptables.masquerade_all;
         return {};
       },
       .help = "masquerade all traffic to cluster IPs",
       .boolean = true},
      {.name = "iptables-masquerade-bit",
       .set = [](Parsed& p, const std::string& text) -> Result<void> {
         FAIRLEAD_CHECK(parse_into(text, p.invocation.config.iptables.masquerade_bit));
         p.invocation.config.nftables.masquerade_bit = p.invocation.config.iptables.masquerade_bit;
         return {};
       },
       .help = "bit of the packet mark, 0-31"},
      {.name = "iptables-localhost-nodeports",
       .set = FAIRLEAD_FIELD(iptables.localhost_node_ports),
       .boolean = true,
       .note = kNoIptables},
      {.name = "iptables-sync-period",
       .set = [](Parsed& p, const std::string& text) -> Result<void> {
         FAIRLEAD_CHECK(parse_into(text, p.invocation.config.iptables.sync_period));
         p.invocation.config.nftables.sync_period = p.invocation.config.iptables.sync_period;
         return {};
       },
       .help = "time between audits of the kernel's rules, and before a retry"},
      {.name = "iptables-min-sync-period",
       .set = [](Parsed& p, const std::string& text) -> Result<void> {
         FAIRLEAD_CHECK(parse_into(text, p.invocation.config.iptables.min_sync_period));
         p.invocation.config.nftables.min_sync_period =
             p.invocation.config.iptables.min_sync_period;
         return {};
       },
       .help = "least time between two commits when changes storm; 0 = no limit"},
      {.name = "ipvs-sync-period", .set = FAIRLEAD_FIELD(ipvs.sync_period), .note = kNoIpvs},
      {.name = "ipvs-min-sync-period",
       .set = FAIRLEAD_FIELD(ipvs.min_sync_period),
       .note = kNoIpvs},
      {.name = "ipvs-scheduler", .set = FAIRLEAD_FIELD(ipvs.scheduler), .note = kNoIpvs},
      {.name = "ipvs-exclude-cidrs", .set = FAIRLEAD_FIELD(ipvs.exclude_cidrs), .note = kNoIpvs},
      {.name = "ipvs-strict-arp",
       .set = FAIRLEAD_FIELD(ipvs.strict_arp),
       .boolean = true,
       .note = kNoIpvs},
      {.name = "ipvs-tcp-timeout", .set = FAIRLEAD_FIELD(ipvs.tcp_timeout), .note = kNoIpvs},
      {.name = "ipvs-tcpfin-timeout", .set = FAIRLEAD_FIELD(ipvs.tcp_fin_timeout), .note = kNoIpvs},
      {.name = "ipvs-udp-timeout", .set = FAIRLEAD_FIELD(ipvs.udp_timeout), .note = kNoIpvs},
      {.name = "cleanup-ipvs", .set = accept, .boolean = true, .note = kNoEffect},
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
       .set = accept,
       .note = "belongs to the userspace mode, which this build does not have yet"},
  };
}
#undef FAIRLEAD_FIELD

std::vector<Flag> all_flags() {
  std::vector<Flag> out = own_flags();
  std::ranges::move(config_flags(), std::back_inserter(out));
  return out;
}

std::string usage(const std::vector<Flag>& flags) {
  std::string out =
      "fairlead-proxy makes this node's kernel send the traffic of Kubernetes Services to their "
      "endpoints.\nIt takes kube-proxy's flags and configuration file.\n\nUsage:\n  fairlead-proxy "
      "[flags]\n\nFlags (* holds on top of --config):\n";
  for (const Flag& flag : flags) {
    if (flag.help.empty()) continue;
    const std::string name = (flag.name.size() == 1 ? "-" : "--") + std::string(flag.name);
    out += fmt::format("  {}{:<36} {}\n", flag.source == Source::AlwaysOn ? '*' : ' ', name,
                       flag.help);
  }
  return out;
}

// ---- words --------------------------------------------------------------------------------------

struct Given {
  const Flag* flag = nullptr;
  std::string value;
};

const Flag* find_flag(const std::vector<Flag>& flags, std::string_view name) {
  std::string normal(name);
  std::ranges::replace(normal, '_', '-');
  if (normal == "h") normal = "help";
  const auto found = std::ranges::find(flags, normal, &Flag::name);
  return found == flags.end() ? nullptr : &*found;
}

// Splits one word into a flag's name and the value behind '=' (or behind "-v").
struct Word {
  std::string name;
  std::optional<std::string> value;
};
Result<Word> split_word(const std::string& word) {
  if (!word.starts_with('-') || word == "-" || word == "--") {
    return make_error(ErrorCode::Invalid, "\"{}\": fairlead-proxy takes no arguments, only flags",
                      word);
  }
  const bool is_long = word.starts_with("--");
  if (!is_long && word.size() > 2 && word[2] != '=') {
    return Word{.name = word.substr(1, 1), .value = word.substr(2)};
  }
  const std::string body = word.substr(is_long ? 2 : 1);
  const auto equals = body.find('=');
  if (equals == std::string::npos) return Word{.name = body};
  return Word{.name = body.substr(0, equals), .value = body.substr(equals + 1)};
}

Result<std::vector<Given>> split_words(const std::vector<Flag>& flags,
                                       const std::vector<std::string>& arguments) {
  std::vector<Given> out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    FAIRLEAD_TRY(word, split_word(arguments[i]));
    const Flag* flag = find_flag(flags, word.name);
    if (flag == nullptr) {
      return make_error(ErrorCode::Invalid, "unknown flag {}", arguments[i]);
    }
    if (!word.value && flag->boolean) word.value = "true";
    if (!word.value) {
      if (++i == arguments.size()) {
        return make_error(ErrorCode::Invalid, "flag --{} needs a value", flag->name);
      }
      word.value = arguments[i];
    }
    out.push_back({.flag = flag, .value = *std::move(word.value)});
  }
  return out;
}

Result<void> set_all(const std::vector<Given>& given, bool only_always_on, Parsed& parsed) {
  for (const Given& g : given) {
    if (only_always_on && g.flag->source != Source::AlwaysOn) continue;
    if (auto set = g.flag->set(parsed, g.value); !set) {
      return set.error().with_context(fmt::format("flag --{}", g.flag->name));
    }
  }
  return {};
}

Result<std::string> version_text(const std::string& wanted) {
  if (wanted == "true") return fmt::format("Kubernetes {}\n", kKubernetesVersion);
  if (wanted == "raw")
    return fmt::format("version.Info{{GitVersion:\"{}\"}}\n", kKubernetesVersion);
  if (wanted.starts_with('v')) return fmt::format("Kubernetes {}\n", wanted);
  return make_error(ErrorCode::Invalid, "flag --version: \"{}\" is not true, raw or vX.Y.Z",
                    wanted);
}

void note_flags(const std::vector<Given>& given, Invocation& invocation) {
  for (const Given& g : given) {
    if (!invocation.config_file.empty() && g.flag->source == Source::FileWins) {
      invocation.notes.push_back(
          fmt::format("flag --{} is overruled by the file of --config", g.flag->name));
    } else if (!g.flag->note.empty()) {
      invocation.notes.push_back(fmt::format("flag --{} {}", g.flag->name, g.flag->note));
    }
  }
}

bool given_blank_hostname(const std::vector<Given>& given) {
  return std::ranges::any_of(given, [](const Given& g) {
    return g.flag->name == "hostname-override" && !g.value.empty() && trim(g.value).empty();
  });
}

}  // namespace

Result<ParsedCommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  const std::vector<Flag> flags = all_flags();
  FAIRLEAD_TRY(given, split_words(flags, arguments));
  Parsed parsed;
  FAIRLEAD_CHECK(set_all(given, false, parsed));
  if (parsed.help) return ParsedCommandLine{.printout = Printout{usage(flags)}};
  if (!parsed.version.empty() && parsed.version != "false") {
    FAIRLEAD_TRY(text, version_text(parsed.version));
    return ParsedCommandLine{.printout = Printout{std::move(text)}};
  }
  if (given_blank_hostname(given)) {
    return make_error(ErrorCode::Invalid, "flag --hostname-override: only blanks");
  }
  if (!parsed.invocation.config_file.empty()) {
    FAIRLEAD_TRY(file, read_config_file(parsed.invocation.config_file));
    parsed.invocation.config = std::move(file.config);
    for (const std::string& complaint : file.complaints) {
      parsed.invocation.notes.push_back(
          fmt::format("{}: {}, ignored", parsed.invocation.config_file, complaint));
    }
    FAIRLEAD_CHECK(set_all(given, true, parsed));
  }
  note_flags(given, parsed.invocation);
  return ParsedCommandLine{.invocation = std::move(parsed.invocation)};
}

}  // namespace fairlead::proxy
