// fairlead-apiserver: the API server as a program of its own.
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/server.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "io/socket.hpp"

namespace fairlead {
namespace {

using apiserver::ApiServer;

constexpr char kFooter[] =
    "Authorization: members of group system:masters may do everything; everyone else may read "
    "/version, /healthz and (when\n"
    "authenticated) discovery, and gets 403 for the rest. Finer rules are not offered yet.\n"
    "Plain HTTP (--http-port) makes everyone who can reach it an administrator, which is why it is "
    "on loopback only.";

struct Flags {
  std::string data_dir = "/var/lib/fairlead";
  std::string bind_address = "0.0.0.0";
  std::uint16_t secure_port = 6443;
  std::uint16_t http_port = 0;
  bool http = false;
  std::string service_cidr = "10.96.0.0/16";
  std::string node_ports = "30000-32767";
  std::string token_file;
  std::string advertise_address;
  std::string kubeconfig;
  std::vector<std::string> san;
  std::string log_format = "text";
  int verbosity = 0;
};

void describe(CLI::App& app, Flags& flags) {
  app.footer(kFooter);
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
  app.add_option("--token-auth-file", flags.token_file,
                 "lines of token,user,uid[,\"group1,group2\"]");
  app.add_option(
      "--advertise-address", flags.advertise_address,
      "address at which pods reach this server (default: --bind-address unless it is unspecified)");
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

// What was wrong with which flag.
Error flag_error(std::string_view flag, const Error& error) {
  return error.with_context(fmt::format("--{}", flag));
}

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

Result<std::vector<apiserver::TokenEntry>> read_tokens(const std::string& path) {
  if (path.empty()) return std::vector<apiserver::TokenEntry>();
  auto text = apiserver::read_file(path);
  if (!text) return flag_error("token-auth-file", text.error());
  auto tokens = apiserver::parse_token_file(*text);
  if (!tokens) return flag_error("token-auth-file", tokens.error().with_context(path));
  return tokens;
}

struct Plan {
  ApiServer::Config config;
  SocketAddress secure;
  std::string kubeconfig_path;
};

Result<Plan> plan_of(const Flags& flags) {
  Plan plan;
  auto bind = IpAddress::parse(flags.bind_address);
  if (!bind) return flag_error("bind-address", bind.error());
  plan.secure = {.address = *bind, .port = Port{flags.secure_port}};
  FAIRLEAD_TRY(cidrs, parse_cidrs(flags.service_cidr));
  FAIRLEAD_TRY(ports, parse_port_range(flags.node_ports));
  FAIRLEAD_TRY(tokens, read_tokens(flags.token_file));
  plan.config.kinds = {.service_cidrs = std::move(cidrs), .node_ports = ports};
  plan.config.tokens = std::move(tokens);
  plan.config.data_directory = flags.data_dir;
  for (const std::string& name : flags.san) {
    if (auto address = IpAddress::parse(name)) {
      plan.config.names.addresses.push_back(*address);
    } else if (is_dns1123_subdomain(name)) {
      plan.config.names.dns_names.push_back(name);
    } else {
      return make_error(ErrorCode::Invalid,
                        "--tls-san: \"{}\" is neither an address nor a DNS name", name);
    }
  }
  std::optional<IpAddress> advertise;
  if (!flags.advertise_address.empty()) {
    auto address = IpAddress::parse(flags.advertise_address);
    if (!address) return flag_error("advertise-address", address.error());
    advertise = *address;
  } else if (!bind->is_unspecified()) {
    advertise = *bind;
    plan.config.names.addresses.push_back(*bind);
  }
  if (advertise)
    plan.config.advertise = SocketAddress{.address = *advertise, .port = Port{flags.secure_port}};
  plan.kubeconfig_path =
      flags.kubeconfig.empty() ? flags.data_dir + "/admin.kubeconfig" : flags.kubeconfig;
  return plan;
}

// An address clients on this machine can use.
SocketAddress reachable(SocketAddress bound) {
  if (bound.address.is_unspecified()) bound.address = IpAddress::loopback(bound.address.family());
  return bound;
}

io::Task<Result<void>> serve(ApiServer* server, std::string kubeconfig_path) {
  FAIRLEAD_CO_CHECK(co_await server->start());
  const auto addresses = server->addresses();
  const std::string url = fmt::format("https://{}", reachable(addresses.front()));
  FAIRLEAD_CO_TRY(kubeconfig, server->admin_kubeconfig(url));
  FAIRLEAD_CO_CHECK(apiserver::write_private_file(kubeconfig_path, kubeconfig));
  log::info("Serving", {{"url", url}, {"kubeconfig", kubeconfig_path}});
  if (addresses.size() > 1) log::info("Serving", {{"url", fmt::format("http://{}", addresses[1])}});
  io::asio::signal_set signals(co_await io::asio::this_coro::executor, SIGINT, SIGTERM);
  const auto [failed, signal] = co_await signals.async_wait(io::kNoThrow);
  if (!failed) log::info("Stopping", {{"signal", signal}});
  co_return Result<void>();
}

io::Task<Result<void>> serve_and_close(ApiServer* server, std::string kubeconfig_path) {
  const Result<void> served = co_await serve(server, std::move(kubeconfig_path));
  co_await server->close();
  co_return served;
}

Result<void> run(const Flags& flags) {
  FAIRLEAD_TRY(plan, plan_of(flags));
  auto secure = io::listen_tcp(plan.secure);
  if (!secure) return flag_error("secure-port", secure.error());
  plan.config.listeners.push_back({.socket = *std::move(secure), .tls = true});
  if (flags.http) {
    auto plain = io::listen_tcp(
        {.address = IpAddress::loopback(IpFamily::V4), .port = Port{flags.http_port}});
    if (!plain) return flag_error("http-port", plain.error());
    plan.config.listeners.push_back({.socket = *std::move(plain), .tls = false});
  }
  if (plan.config.advertise && flags.secure_port == 0) {
    FAIRLEAD_TRY(bound, io::local_address(plan.config.listeners.front().socket));
    plan.config.advertise->port = bound.port;
  }
  io::asio::io_context loop(1);
  FAIRLEAD_TRY(server, ApiServer::create(loop.get_executor(), std::move(plan.config)));
  Result<void> outcome;
  io::asio::co_spawn(loop, serve_and_close(server.get(), plan.kubeconfig_path),
                     [&outcome](const std::exception_ptr& thrown, Result<void> result) {
                       check(!thrown, "our code does not throw");
                       outcome = std::move(result);
                     });
  loop.run();
  return outcome;
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  fairlead::Flags flags;
  CLI::App app(
      "The Kubernetes API server of Fairlead: Services, EndpointSlices, Pods, Nodes and Namespaces "
      "on SQLite.");
  fairlead::describe(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", wrong.what());
    return 2;
  }
  flags.http = app.count("--http-port") > 0;
  fairlead::log::configure({.format = flags.log_format == "json" ? fairlead::log::Format::Json
                                                                 : fairlead::log::Format::Text,
                            .verbosity = flags.verbosity});
  if (const auto done = fairlead::run(flags); !done) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", done.error());
    return 1;
  }
  return 0;
}
