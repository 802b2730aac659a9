#include "io/status_server.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "io/socket.hpp"

namespace fairlead::io {
namespace {

using std::chrono::nanoseconds;

constexpr std::chrono::milliseconds kFirstPause{250};
constexpr std::chrono::seconds kLongestPause{5};

// Both functions are the server's, which outlives its exchanges.
Task<void> answer(HttpExchange& exchange, const Responder& responder, const Preparation& prepare) {
  if (prepare) co_await prepare(exchange.request());
  HttpResponse response = responder(exchange.request());
  // A probe that went away meanwhile is no news.
  (void)co_await exchange.respond(std::move(response));
}

// 0.0.0.0 means every address to those who configure it, of both families.
SocketAddress widened(const SocketAddress& address) {
  if (address.address != IpAddress::any(IpFamily::V4)) return address;
  return {.address = IpAddress::any(IpFamily::V6), .port = address.port};
}

Result<UniqueFd> listen_wide(const SocketAddress& address) {
  auto listener = listen_tcp(widened(address), {.dual = true});
  if (listener || listener.error().code != ErrorCode::Unsupported) return listener;
  return listen_tcp(address);  // a host without IPv6
}

Result<std::unique_ptr<HttpServer>> serve(Executor executor, UniqueFd listener, std::string name,
                                          Responder responder, Preparation prepare) {
  FAIRLEAD_TRY(
      server,
      HttpServer::create(
          std::move(executor),
          {.listener = std::move(listener),
           .handler = [responder = std::move(responder), prepare = std::move(prepare)](
                          HttpExchange& exchange) { return answer(exchange, responder, prepare); },
           .limits = {.body_bytes = 64 * 1024, .connections = 256},
           .name = std::move(name)}));
  server->start();
  return std::move(server);
}

}  // namespace

HttpResponse text_response(unsigned status, std::string body) {
  return {.status = status,
          .headers = {{.name = "Content-Type", .value = "text/plain; charset=utf-8"},
                      {.name = "X-Content-Type-Options", .value = "nosniff"}},
          .body = std::move(body)};
}

HttpResponse not_found_response() { return text_response(404, "404 page not found\n"); }

HttpResponse metrics_response(std::string text) {
  HttpResponse out = text_response(200, std::move(text));
  out.headers.front().value = "text/plain; version=0.0.4; charset=utf-8";
  return out;
}

Result<std::unique_ptr<HttpServer>> start_responder(Executor executor, const SocketAddress& address,
                                                    bool dual, std::string name,
                                                    Responder responder, Preparation prepare) {
  FAIRLEAD_TRY(listener, dual ? listen_wide(address) : listen_tcp(address, {.dual = false}));
  return serve(std::move(executor), std::move(listener), std::move(name), std::move(responder),
               std::move(prepare));
}

nanoseconds FailedTries::pause(nanoseconds most) const {
  nanoseconds out = kFirstPause;
  for (unsigned i = 1; i < count_ && out < most; ++i) out *= 2;
  return std::min(out, most);
}

Result<void> StatusServer::try_start() {
  FAIRLEAD_TRY(address, SocketAddress::parse(config_.address));
  FAIRLEAD_TRY(server, start_responder(config_.executor, address, true, config_.name,
                                       config_.responder, config_.prepare));
  server_ = std::move(server);
  return {};
}

Task<void> StatusServer::run() {
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
    const nanoseconds pause = failed.pause(kLongestPause);
    if (failed.is_complaint()) {
      log::error("Cannot start server, trying again", {{"server", config_.name},
                                                       {"address", config_.address},
                                                       {"err", error},
                                                       {"in", format_duration(pause)}});
    }
    if (!co_await sleep_for(pause)) co_return;
  }
}

Task<void> StatusServer::close() {
  if (server_) co_await server_->close();
  server_.reset();
}

std::optional<SocketAddress> StatusServer::local_address() const {
  if (!server_) return std::nullopt;
  return server_->local_address();
}

}  // namespace fairlead::io
