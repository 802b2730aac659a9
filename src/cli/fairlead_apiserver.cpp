// fairlead-apiserver: the API server as a program of its own.
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "apiserver/etcd/etcd_store.hpp"
#include "apiserver/rbac_bootstrap.hpp"
#include "apiserver/server.hpp"
#include "base/log.hpp"
#include "cli/apiserver_flags.hpp"
#include "cli/host_addresses.hpp"
#include "io/socket.hpp"

namespace fairlead {
namespace {

using apiserver::ApiServer;

constexpr char kFooter[] =
    "Authorization: Roles, ClusterRoles and their bindings say who may do what; members of group "
    "system:masters may do\n"
    "everything, and the kubeconfig that is written is of that group. DATA-DIR/proxy.kubeconfig "
    "and controller.kubeconfig\n"
    "are for fairlead-proxy and fairlead-controller and allow what these need.\n"
    "Plain HTTP (--http-port) makes everyone who can reach it an administrator, which is why it is "
    "on loopback only.";

// For the programs that come as users of their own.
Result<void> write_program_kubeconfigs(const ApiServer& server, const std::string& url,
                                       const std::string& data_dir) {
  FAIRLEAD_TRY(proxy, server.kubeconfig(url, std::string(apiserver::kProxyUser), {}));
  FAIRLEAD_CHECK(apiserver::write_private_file(data_dir + "/proxy.kubeconfig", proxy));
  FAIRLEAD_TRY(controller, server.kubeconfig(url, std::string(apiserver::kControllerUser), {}));
  return apiserver::write_private_file(data_dir + "/controller.kubeconfig", controller);
}

io::Task<Result<void>> serve(ApiServer* server, const cli::ApiServerFlags* flags,
                             bool is_advertised) {
  FAIRLEAD_CO_CHECK(co_await server->start());
  const auto addresses = server->addresses();
  const std::string url = fmt::format("https://{}", io::reachable(addresses.front()));
  const std::string kubeconfig_path = cli::kubeconfig_path(*flags);
  FAIRLEAD_CO_CHECK(write_program_kubeconfigs(*server, url, flags->data_dir));
  FAIRLEAD_CO_TRY(kubeconfig, server->admin_kubeconfig(url));
  FAIRLEAD_CO_CHECK(apiserver::write_private_file(kubeconfig_path, kubeconfig));
  log::info("Serving", {{"url", url}, {"kubeconfig", kubeconfig_path}});
  if (addresses.size() > 1) log::info("Serving", {{"url", fmt::format("http://{}", addresses[1])}});
  if (!is_advertised) {
    log::info("Service default/kubernetes is not made: pods cannot reach this address",
              {{"bind-address", flags->bind_address}, {"advertise-address", ""}});
  }
  io::asio::signal_set signals(co_await io::asio::this_coro::executor, SIGINT, SIGTERM);
  const auto [failed, signal] = co_await signals.async_wait(io::kNoThrow);
  if (!failed) log::info("Stopping", {{"signal", signal}});
  co_return Result<void>();
}

io::Task<Result<void>> serve_and_close(ApiServer* server, const cli::ApiServerFlags* flags,
                                       bool is_advertised) {
  const Result<void> served = co_await serve(server, flags, is_advertised);
  co_await server->close();
  co_return served;
}

// Of fairlead-apiserver only: `fairlead up` is one machine with a store of its own.
struct EtcdFlags {
  std::vector<std::string> servers;
  std::string prefix = "/registry";
  std::string ca_file, cert_file, key_file;
};

void describe(CLI::App& app, EtcdFlags& flags) {
  app.add_option(
         "--etcd-servers", flags.servers,
         "keep objects in this etcd cluster instead of DATA-DIR/store.db: SCHEME://HOST:PORT "
         "of its members, separated by commas")
      ->delimiter(',');
  app.add_option("--etcd-prefix", flags.prefix, "path in etcd below which everything is kept")
      ->capture_default_str();
  app.add_option("--etcd-cafile", flags.ca_file, "PEM file: whom to trust to be etcd");
  auto* cert = app.add_option("--etcd-certfile", flags.cert_file,
                              "PEM file: the certificate to show to etcd");
  auto* key = app.add_option("--etcd-keyfile", flags.key_file, "PEM file: its key");
  cert->needs(key);
  key->needs(cert);
}

Result<std::string> read_pem(std::string_view flag, const std::string& path) {
  if (path.empty()) return std::string();
  auto text = apiserver::read_file(path);
  if (!text) return text.error().with_context(fmt::format("--{}", flag));
  return text;
}

Result<apiserver::EtcdConfig> etcd_config(const EtcdFlags& flags) {
  apiserver::EtcdConfig out{.endpoints = flags.servers, .prefix = flags.prefix};
  if (!out.prefix.ends_with('/')) out.prefix += '/';
  FAIRLEAD_TRY(ca, read_pem("etcd-cafile", flags.ca_file));
  FAIRLEAD_TRY(cert, read_pem("etcd-certfile", flags.cert_file));
  FAIRLEAD_TRY(key, read_pem("etcd-keyfile", flags.key_file));
  out.ca_pem = std::move(ca);
  out.certificate_pem = std::move(cert);
  out.key_pem = std::move(key);
  return out;
}

struct Flags {
  cli::ApiServerFlags server;
  EtcdFlags etcd;
};

io::Task<Result<void>> run_on(apiserver::Store* store, const cli::ApiServerFlags* flags) {
  FAIRLEAD_CO_TRY(config, cli::server_config(*flags, cli::host_addresses()));
  config.store = store;
  const bool is_advertised = config.advertise.has_value();
  const io::Executor loop = co_await io::asio::this_coro::executor;
  FAIRLEAD_CO_TRY(server, ApiServer::create(loop, std::move(config)));
  co_return co_await serve_and_close(server.get(), flags, is_advertised);
}

io::Task<Result<void>> run(const Flags* flags) {
  if (flags->etcd.servers.empty()) co_return co_await run_on(nullptr, &flags->server);
  FAIRLEAD_CO_TRY(etcd, etcd_config(flags->etcd));
  FAIRLEAD_CO_TRY(store, co_await apiserver::open_etcd_store(std::move(etcd)));
  const Result<void> done = co_await run_on(store.get(), &flags->server);
  co_await store->close();
  co_return done;
}

Result<void> run_to_end(const Flags& flags) {
  io::asio::io_context loop(1);
  Result<void> outcome;
  io::asio::co_spawn(loop, run(&flags),
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
      "on SQLite or etcd.");
  fairlead::cli::describe(app, flags.server);
  fairlead::describe(app, flags.etcd);
  app.footer(fairlead::kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", wrong.what());
    return 2;
  }
  flags.server.http = app.count("--http-port") > 0;
  fairlead::cli::configure_log(flags.server);
  if (const auto done = fairlead::run_to_end(flags); !done) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", done.error());
    return 1;
  }
  return 0;
}
