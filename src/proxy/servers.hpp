// The proxy's HTTP servers on health-check node ports (spec/kube-proxy 9.2). Loop thread. They know
// nothing of the sync but what they are given.
//
// An address that cannot be had is tried again when the owner is told to.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "io/status_server.hpp"
#include "proxy/health.hpp"

namespace fairlead::proxy {

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
  std::map<SocketAddress, io::FailedTries> failed_;
};

// Where health checks listen: every node-port address of each family, or all addresses.
std::map<SocketAddress, HealthCheckServers::Wanted> wanted_health_checks(
    const std::map<kube::NamespacedName, plan::HealthCheck>& checks, const plan::Plan& plan);

}  // namespace fairlead::proxy
