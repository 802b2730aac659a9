#include "cli/apiserver_flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "base/log.hpp"
#include "base/text.hpp"
#include "io/socket.hpp"

namespace fairlead::cli {
namespace {

using apiserver::ApiServer;

Result<std::vector<IpPrefix>> parse_cidrs(const std::string& text) {
  std::vector<IpPrefix> out;
  for (const std::string_view part : split(text, ',')) {
    auto cidr = IpPrefix::parse(trim(part));
    if (!cidr) return flag_error("service-cluster-ip-range", cidr.error());
    out.push_back(*cidr);
  }
  return out;
}

Result<apiserver::PortRange> parse_port_range(const std::string& text) {
  const auto parts = split(text, '-');
  const auto refuse = [&text] {
    return make_error(ErrorCode::Invalid,
                      "--service-node-port-range: \"{}\" is not FIRST-LAST within 1-65535", text);
  };
  if (parts.size() != 2) return refuse();
  const auto first = parse_port(trim(parts[0]));
  const auto last = parse_port(trim(parts[1]));
  if (!first || !last || *first > *last) return refuse();
  return apiserver::PortRange{.first = number(*first), .last = number(*last)};
}

// Pods have a loopback of their own.
bool means_us_to_pods(const IpAddress& address) {
  return !address.is_unspecified() && !address.is_loopback() && !address.is_link_local();
}

Result<std::chrono::nanoseconds> parse_event_ttl(const std::string& text) {
  const auto parsed = parse_duration(text);
  if (!parsed) return flag_error("event-ttl", parsed.error());
  if (*parsed <= std::chrono::nanoseconds::zero()) {
    return make_error(ErrorCode::Invalid, "--event-ttl: {} is no time that Events could be kept",
                      text);
  }
  return *parsed;
}

// Where pods find this server, if that can be known: what is said, what it is bound to, or the
// first address of this machine that is of the Services' family.
Result<std::optional<IpAddress>> advertised_address(const ApiServerFlags& flags,
                                                    const IpAddress& bind, IpFamily family,
                                                    const std::vector<IpAddress>& host) {
  if (flags.advertise_address.empty()) {
    if (means_us_to_pods(bind)) return std::optional(bind);
    if (!bind.is_unspecified()) return std::optional<IpAddress>();
    const auto found = std::ranges::find_if(host, [family](const IpAddress& address) {
      return address.family() == family && means_us_to_pods(address);
    });
    return found == host.end() ? std::nullopt : std::optional(*found);
  }
  auto address = IpAddress::parse(flags.advertise_address);
  if (!address) return flag_error("advertise-address", address.error());
  if (!means_us_to_pods(*address)) {
    return make_error(ErrorCode::Invalid,
                      "--advertise-address: {} cannot be reached from pods: it is unspecified, "
                      "loopback or link-local",
                      *address);
  }
  return std::optional(*address);
}

Result<void> add_names(apiserver::Pki::Names& names, const std::vector<std::string>& san) {
  for (const std::string& name : san) {
    if (auto address = IpAddress::parse(name)) {
      names.addresses.push_back(*address);
    } else if (is_dns1123_subdomain(name)) {
      names.dns_names.push_back(name);
    } else {
      return make_error(ErrorCode::Invalid,
                        "--tls-san: \"{}\" is neither an address nor a DNS name", name);
    }
  }
  return {};
}

Result<void> listen(ApiServer::Config& config, const ApiServerFlags& flags, const IpAddress& bind) {
  auto secure = io::listen_tcp({.address = bind, .port = Port{flags.secure_port}});
  if (!secure) return flag_error("secure-port", secure.error());
  config.listeners.push_back({.socket = *std::move(secure), .tls = true});
  if (!flags.http) return {};
  auto plain =
      io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = Port{flags.http_port}});
  if (!plain) return flag_error("http-port", plain.error());
  config.listeners.push_back({.socket = *std::move(plain), .tls = false});
  return {};
}

}  // namespace

void describe(CLI::App& app, ApiServerFlags& flags) {
  app.add_option("--data-dir", flags.data_dir, "store, CA and admin.kubeconfig are kept here")
      ->capture_default_str();
  app.add_option("--bind-address", flags.bind_address, "address to serve HTTPS on")
      ->capture_default_str();
  app.add_option("--secure-port", flags.secure_port,
                 "port to serve HTTPS on; 0 lets the kernel choose")
      ->capture_default_str();
  app.add_option("--http-port", flags.http_port,
                 "also serve plain HTTP, on 127.0.0.1 only; 0 lets the kernel choose");
  app.add_option("--service-cluster-ip-range", flags.service_cidr,
                 "one CIDR, or two of different families separated by a comma; the first is the "
                 "default family")
      ->capture_default_str();
  app.add_option("--service-node-port-range", flags.node_ports, "FIRST-LAST")
      ->capture_default_str();
  app.add_option("--event-ttl", flags.event_ttl, "how long Events are kept after their last write")
      ->capture_default_str();
  describe(app, flags.security);
  app.add_option(
      "--advertise-address", flags.advertise_address,
      "address at which pods reach this server (default: --bind-address, or if that is unspecified "
      "the address of the default route's interface)");
  app.add_option("--tls-san", flags.san, "further names or addresses of the server certificate");
  app.add_option(
      "--write-kubeconfig", flags.kubeconfig,
      "where the administrator's kubeconfig is written (default: DATA-DIR/admin.kubeconfig)");
  app.add_option("--logging-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("-v,--v", flags.verbosity, "log verbosity; 3 logs requests")
      ->capture_default_str();
}

void configure_log(const ApiServerFlags& flags) {
  log::configure({.format = flags.log_format == "json" ? log::Format::Json : log::Format::Text,
                  .verbosity = flags.verbosity});
}

std::string kubeconfig_path(const ApiServerFlags& flags) {
  return flags.kubeconfig.empty() ? flags.data_dir + "/admin.kubeconfig" : flags.kubeconfig;
}

Result<ApiServer::Config> server_config(const ApiServerFlags& flags,
                                        const std::vector<IpAddress>& host) {
  auto bind = IpAddress::parse(flags.bind_address);
  if (!bind) return flag_error("bind-address", bind.error());
  ApiServer::Config config;
  FAIRLEAD_TRY(cidrs, parse_cidrs(flags.service_cidr));
  FAIRLEAD_TRY(ports, parse_port_range(flags.node_ports));
  config.kinds = {.service_cidrs = std::move(cidrs), .node_ports = ports};
  FAIRLEAD_TRY(event_lifetime, parse_event_ttl(flags.event_ttl));
  config.event_lifetime = event_lifetime;
  FAIRLEAD_CHECK(apply(flags.security, config));
  config.data_directory = flags.data_dir;
  FAIRLEAD_CHECK(add_names(config.names, flags.san));
  const IpFamily family = config.kinds.service_cidrs.front().address().family();
  FAIRLEAD_TRY(advertise, advertised_address(flags, *bind, family, host));
  FAIRLEAD_CHECK(listen(config, flags, *bind));
  if (!advertise) return config;
  config.names.addresses.push_back(*advertise);
  FAIRLEAD_TRY(bound, io::local_address(config.listeners.front().socket));
  config.advertise = SocketAddress{.address = *advertise, .port = bound.port};
  return config;
}

}  // namespace fairlead::cli
