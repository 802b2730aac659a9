// The proxy's HTTP servers: health, metrics, and one per health-check node port
// (spec/kube-proxy 9.1-9.3). Loop thread. What they say comes from the callbacks of Sources; they
// know nothing of the sync.
// An address that cannot be bound is tried again, soon at first and then every five seconds
// (health, metrics) or when the owner is told to (node ports); with hard_fail it ends the proxy
// instead. The first failures are no complaint: at an upgrade the process before this one holds its
// addresses for another moment.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.hpp"
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

// How often an address was tried in vain, and what follows from it.
class FailedTries {
 public:
  void add() { ++count_; }
  // 250 ms, doubled with each try, `most` at last.
  Duration pause(Duration most) const;
  // It lasts longer than a change of processes does.
  bool is_complaint() const { return count_ > 2; }
  bool is_first_complaint() const { return count_ == 3; }

 private:
  unsigned count_ = 0;
};

// Servers on the healthCheckNodePorts of Services.
class HealthCheckServers {
 public:
  struct Config {
    io::Executor executor;
    std::function<bool()> healthy;
    // An address that cannot be had, each time it is tried but for the first ones; may be empty.
    std::function<void(const kube::NamespacedName&, const Error&)> on_failure;
  };
  explicit HealthCheckServers(Config config) : config_(std::move(config)) {}

  struct Wanted {
    kube::NamespacedName service;
    std::size_t local_endpoints = 0;
  };
  // Opens what is missing, closes what is not wanted, keeps the rest with new numbers. An address
  // that cannot be had is said once in the log.
  io::Task<void> reconcile(std::map<SocketAddress, Wanted> wanted);
  // When to reconcile again; nothing when all wanted ones serve.
  std::optional<Duration> retry_in() const;
  io::Task<void> close();

 private:
  Config config_;
  std::map<SocketAddress, Wanted> wanted_;
  std::map<SocketAddress, std::unique_ptr<io::HttpServer>> servers_;
  std::map<SocketAddress, FailedTries> failed_;
};

// Where health checks listen: every node-port address of each family, or all addresses.
std::map<SocketAddress, HealthCheckServers::Wanted> wanted_health_checks(
    const std::map<kube::NamespacedName, plan::HealthCheck>& checks, const plan::Plan& plan);

}  // namespace fairlead::proxy
