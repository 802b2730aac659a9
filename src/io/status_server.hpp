// A program's small HTTP server for probes and scrapes: health, metrics, what little there is to
// ask. Loop thread. What it says is its owner's business.
//
// An address that cannot be bound is tried again, soon at first and then every five seconds; with
// hard_fail the owner is told instead. The first failures are no complaint: at an upgrade the
// process before this one holds its addresses for another moment.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "io/http.hpp"
#include "io/task.hpp"

namespace fairlead::io {

using Responder = std::function<HttpResponse(const HttpRequest&)>;
// Awaited before a request is answered; what it waits for must end. May be empty.
using Preparation = std::function<Task<void>(const HttpRequest&)>;

// A text that no browser takes for anything else.
HttpResponse text_response(unsigned status, std::string body);
HttpResponse not_found_response();
HttpResponse metrics_response(std::string text);  // of Prometheus, format 0.0.4

// A server on one address that answers what it is asked; `dual`: 0.0.0.0 takes IPv6 as well.
Result<std::unique_ptr<HttpServer>> start_responder(Executor executor, const SocketAddress& address,
                                                    bool dual, std::string name,
                                                    Responder responder, Preparation prepare = {});

// How often an address was tried in vain, and what follows from it.
class FailedTries {
 public:
  void add() { ++count_; }
  // 250 ms, doubled with each try, `most` at last.
  std::chrono::nanoseconds pause(std::chrono::nanoseconds most) const;
  // It lasts longer than a change of processes does.
  bool is_complaint() const { return count_ > 2; }
  bool is_first_complaint() const { return count_ == 3; }

 private:
  unsigned count_ = 0;
};

// One that keeps trying to bind.
class StatusServer {
 public:
  struct Config {
    Executor executor;
    std::string address;  // "IP:port"; a wildcard of IPv4 takes IPv6 as well
    std::string name;
    bool hard_fail = false;
    Responder responder;
    std::function<void(const Error&)> on_fatal;  // called with hard_fail only
    Preparation prepare;
  };
  explicit StatusServer(Config config) : config_(std::move(config)) {}

  Task<void> run();    // until bound; to be spawned
  Task<void> close();  // after run() has ended
  std::optional<SocketAddress> local_address() const;

 private:
  Result<void> try_start();

  Config config_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace fairlead::io
