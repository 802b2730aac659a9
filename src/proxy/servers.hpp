// The proxy's HTTP servers: health, metrics, and one per health-check node port
// (spec/kube-proxy 9.1-9.3). Loop thread. What they say comes from the callbacks of Sources; they
// know nothing of the sync.
// An address that cannot be bound is tried again every five seconds (health, metrics) or at the
// next reconcile (node ports), and said in the log; with hard_fail it ends the proxy instead.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "io/http.hpp"
#include "io/task.hpp"
#include "proxy/health.hpp"

namespace fairlead::proxy {

using Responder = std::function<io::HttpResponse(const io::HttpRequest&)>;
// Awaited before a request is answered; what it waits for must end. May be empty.
using Preparation = std::function<io::Task<void>(const io::HttpRequest&)>;

// A server that keeps trying to bind.
class RetryingServer {
 public:
  struct Config {
    io::Executor executor;
    std::string address;  // "IP:port"; a wildcard of IPv4 takes IPv6 as well
    std::string name;
    bool hard_fail = false;
    Responder responder;
    std::function<void(const Error&)> on_fatal;
    Preparation prepare;
  };
  explicit RetryingServer(Config config) : config_(std::move(config)) {}

  io::Task<void> run();    // until bound; to be spawned
  io::Task<void> close();  // after run() has ended
  std::optional<SocketAddress> local_address() const;

 private:
  Result<void> try_start();

  Config config_;
  std::unique_ptr<io::HttpServer> server_;
};

Result<std::unique_ptr<io::HttpServer>> start_server(io::Executor executor,
                                                     const SocketAddress& address, bool dual,
                                                     std::string name, Responder responder,
                                                     Preparation prepare = {});

// Servers on the healthCheckNodePorts of Services.
class HealthCheckServers {
 public:
  struct Config {
    io::Executor executor;
    std::function<bool()> healthy;
    std::function<void(const kube::NamespacedName&, const Error&)> on_failure;  // may be empty
  };
  explicit HealthCheckServers(Config config) : config_(std::move(config)) {}

  struct Wanted {
    kube::NamespacedName service;
    std::size_t local_endpoints = 0;
  };
  // Opens what is missing, closes what is not wanted, keeps the rest with new numbers. An address
  // that cannot be had is said once in the log, and each time to on_failure.
  io::Task<void> reconcile(std::map<SocketAddress, Wanted> wanted);
  io::Task<void> close();

 private:
  Config config_;
  std::map<SocketAddress, Wanted> wanted_;
  std::map<SocketAddress, std::unique_ptr<io::HttpServer>> servers_;
  std::set<SocketAddress> complained_;
};

// Where health checks listen: every node-port address of each family, or all addresses.
std::map<SocketAddress, HealthCheckServers::Wanted> wanted_health_checks(
    const std::map<kube::NamespacedName, plan::HealthCheck>& checks, const plan::Plan& plan);

}  // namespace fairlead::proxy
