#include "proxy/servers.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace fairlead::proxy {
namespace {

constexpr std::chrono::seconds kHealthCheckPause{30};

}  // namespace

io::Task<void> HealthCheckServers::reconcile(std::map<SocketAddress, Wanted> wanted) {
  wanted_ = std::move(wanted);
  for (auto it = servers_.begin(); it != servers_.end();) {
    if (wanted_.contains(it->first)) {
      ++it;
      continue;
    }
    const auto server = std::move(it->second);
    it = servers_.erase(it);
    co_await server->close();
  }
  for (const auto& [address, unused] : wanted_) {
    if (servers_.contains(address)) continue;
    const auto respond = [this, where = address](const io::HttpRequest&) {
      const auto found = wanted_.find(where);
      if (found == wanted_.end()) return io::not_found_response();
      return service_health_response({.service = found->second.service,
                                      .local_endpoints = found->second.local_endpoints,
                                      .healthy = config_.healthy()});
    };
    auto server =
        io::start_responder(config_.executor, address, false, "service health check", respond);
    if (server) {
      servers_.emplace(address, *std::move(server));
      failed_.erase(address);
      continue;
    }
    const kube::NamespacedName& service = wanted_.at(address).service;
    io::FailedTries& failed = failed_[address];
    failed.add();
    if (failed.is_first_complaint()) {
      log::error("Cannot serve a service's health checks, trying again",
                 {{"service", service.to_string()}, {"err", server.error()}});
    }
    if (failed.is_complaint() && config_.on_failure) config_.on_failure(service, server.error());
  }
  std::erase_if(failed_, [&](const auto& entry) { return !wanted_.contains(entry.first); });
}

std::optional<Duration> HealthCheckServers::retry_in() const {
  std::optional<Duration> out;
  for (const auto& [address, failed] : failed_) {
    const Duration pause = failed.pause(kHealthCheckPause);
    out = out ? std::min(*out, pause) : pause;
  }
  return out;
}

io::Task<void> HealthCheckServers::close() { co_await reconcile({}); }

std::map<SocketAddress, HealthCheckServers::Wanted> wanted_health_checks(
    const std::map<kube::NamespacedName, plan::HealthCheck>& checks, const plan::Plan& plan) {
  std::map<SocketAddress, HealthCheckServers::Wanted> out;
  for (const auto& [service, check] : checks) {
    for (const auto& [family, count] : check.local_endpoints) {
      const auto node = plan.nodes.find(family);
      if (node == plan.nodes.end()) continue;
      const auto addresses =
          node->second.node_port_addresses.value_or(std::vector{IpAddress::any(family)});
      for (const IpAddress& address : addresses) {
        out.emplace(SocketAddress{.address = address, .port = check.port},
                    HealthCheckServers::Wanted{.service = service, .local_endpoints = count});
      }
    }
  }
  return out;
}

}  // namespace fairlead::proxy
