// fairlead-apiserver: the API server as a program of its own.
#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "apiserver/server.hpp"
#include "base/log.hpp"
#include "cli/apiserver_flags.hpp"
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

io::Task<Result<void>> serve(ApiServer* server, std::string kubeconfig_path) {
  FAIRLEAD_CO_CHECK(co_await server->start());
  const auto addresses = server->addresses();
  const std::string url = fmt::format("https://{}", io::reachable(addresses.front()));
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

Result<void> run(const cli::ApiServerFlags& flags) {
  FAIRLEAD_TRY(config, cli::server_config(flags));
  io::asio::io_context loop(1);
  FAIRLEAD_TRY(server, ApiServer::create(loop.get_executor(), std::move(config)));
  Result<void> outcome;
  io::asio::co_spawn(loop, serve_and_close(server.get(), cli::kubeconfig_path(flags)),
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
  fairlead::cli::ApiServerFlags flags;
  CLI::App app(
      "The Kubernetes API server of Fairlead: Services, EndpointSlices, Pods, Nodes and Namespaces "
      "on SQLite.");
  fairlead::cli::describe(app, flags);
  app.footer(fairlead::kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", wrong.what());
    return 2;
  }
  flags.http = app.count("--http-port") > 0;
  fairlead::cli::configure_log(flags);
  if (const auto done = fairlead::run(flags); !done) {
    fmt::print(stderr, "fairlead-apiserver: {}\n", done.error());
    return 1;
  }
  return 0;
}
