#include "proxy/servers.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "io/socket.hpp"

namespace fairlead::proxy {
namespace {

constexpr std::chrono::milliseconds kFirstPause{250};
constexpr std::chrono::seconds kServerPause{5};
constexpr std::chrono::seconds kHealthCheckPause{30};

// Both functions are the server's, which outlives its exchanges.
io::Task<void> answer(io::HttpExchange& exchange, const Responder& responder,
                      const Preparation& prepare) {
  if (prepare) co_await prepare(exchange.request());
  io::HttpResponse response = responder(exchange.request());
  // A probe that went away meanwhile is no news.
  (void)co_await exchange.respond(std::move(response));
}

// 0.0.0.0 means every address to those who configure it, of both families.
SocketAddress widened(const SocketAddress& address) {
  if (address.address != IpAddress::any(IpFamily::V4)) return address;
  return {.address = IpAddress::any(IpFamily::V6), .port = address.port};
}

Result<io::UniqueFd> listen_wide(const SocketAddress& address) {
  auto listener = io::listen_tcp(widened(address), {.dual = true});
  if (listener || listener.error().code != ErrorCode::Unsupported) return listener;
  return io::listen_tcp(address);  // a host without IPv6
}

Result<std::unique_ptr<io::HttpServer>> serve(io::Executor executor, io::UniqueFd listener,
                                              std::string name, Responder responder,
                                              Preparation prepare) {
  FAIRLEAD_TRY(server, io::HttpServer::create(
                           std::move(executor),
                           {.listener = std::move(listener),
                            .handler =
                                [responder = std::move(responder),
                                 prepare = std::move(prepare)](io::HttpExchange& exchange) {
                                  return answer(exchange, responder, prepare);
                                },
                            .limits = {.body_bytes = 64 * 1024, .connections = 256},
                            .name = std::move(name)}));
  server->start();
  return std::move(server);
}

}  // namespace

Result<std::unique_ptr<io::HttpServer>> start_server(io::Executor executor,
                                                     const SocketAddress& address, bool dual,
                                                     std::string name, Responder responder,
                                                     Preparation prepare) {
  FAIRLEAD_TRY(listener, dual ? listen_wide(address) : io::listen_tcp(address, {.dual = false}));
  return serve(std::move(executor), std::move(listener), std::move(name), std::move(responder),
               std::move(prepare));
}

Duration FailedTries::pause(Duration most) const {
  Duration out = kFirstPause;
  for (unsigned i = 1; i < count_ && out < most; ++i) out *= 2;
  return std::min(out, most);
}

Result<void> RetryingServer::try_start() {
  FAIRLEAD_TRY(address, SocketAddress::parse(config_.address));
  FAIRLEAD_TRY(server, start_server(config_.executor, address, true, config_.name,
                                    config_.responder, config_.prepare));
  server_ = std::move(server);
  return {};
}

io::Task<void> RetryingServer::run() {
  FailedTries failed;
  while (true) {
    const auto started = try_start();
    if (started) co_return;
    failed.add();
    const Error error = started.error().with_context(config_.name + " server");
    if (config_.hard_fail) {
      config_.on_fatal(error);
      co_return;
    }
    const Duration pause = failed.pause(kServerPause);
    if (failed.is_complaint()) {
      log::error("Cannot start server, trying again", {{"server", config_.name},
                                                       {"address", config_.address},
                                                       {"err", error},
                                                       {"in", format_duration(pause)}});
    }
    if (!co_await io::sleep_for(pause)) co_return;
  }
}

io::Task<void> RetryingServer::close() {
  if (server_) co_await server_->close();
  server_.reset();
}

std::optional<SocketAddress> RetryingServer::local_address() const {
  if (!server_) return std::nullopt;
  return server_->local_address();
}

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
      if (found == wanted_.end()) return not_found();
      return service_health_response({.service = found->second.service,
                                      .local_endpoints = found->second.local_endpoints,
                                      .healthy = config_.healthy()});
    };
    auto server = start_server(config_.executor, address, false, "service health check", respond);
    if (server) {
      servers_.emplace(address, *std::move(server));
      failed_.erase(address);
      continue;
    }
    const kube::NamespacedName& service = wanted_.at(address).service;
    FailedTries& failed = failed_[address];
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
