// An API server of a test: serves the answers it is scripted to give, in order, over a real
// HttpServer.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/api_client.hpp"
#include "io/http.hpp"
#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::client::testing {

using namespace std::chrono_literals;

// One scripted answer. A watch's lines are sent one write each; `hold` keeps it open until the
// client leaves or the server is closed.
struct Answer {
  unsigned status = 200;
  std::string body;                // a whole answer, or
  std::vector<std::string> lines;  // a stream
  bool hold = false;
  bool cut = false;  // the stream breaks off instead of ending
};

class FakeApi {
 public:
  explicit FakeApi(test::Loop* loop, Port port = Port{0}) : loop_(loop) {
    auto listener = io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = port});
    check(listener.has_value(), "listen");
    auto server = io::HttpServer::create(
        loop->executor(), {.listener = *std::move(listener),
                           .handler = [this](io::HttpExchange& e) { return serve(this, &e); }});
    check(server.has_value(), "create the server");
    server_ = *std::move(server);
    server_->start();
  }
  FakeApi(const FakeApi&) = delete;
  FakeApi& operator=(const FakeApi&) = delete;
  ~FakeApi() { loop_->run(server_->close()); }

  void script(Answer answer) { answers_.push_back(std::move(answer)); }
  Port port() const { return server_->local_address().port; }
  std::string url() const { return fmt::format("http://{}", server_->local_address()); }
  // What was asked, "METHOD target".
  const std::vector<io::HttpRequest>& requests() const { return requests_; }
  std::vector<std::string> targets() const {
    std::vector<std::string> out;
    for (const auto& request : requests_) out.push_back(request.target);
    return out;
  }

 private:
  static io::Task<void> serve(FakeApi* self, io::HttpExchange* exchange) {
    self->requests_.push_back(exchange->request());
    if (self->answers_.empty()) {  // nothing more to say: a watch that stays silent
      static_cast<void>(co_await exchange->start_stream(200, {}));
      co_await exchange->peer_gone();
      co_return;
    }
    const auto answer = std::move(self->answers_.front());
    self->answers_.pop_front();
    if (answer.lines.empty() && !answer.hold) {
      static_cast<void>(co_await exchange->respond(
          {.status = answer.status, .headers = {}, .body = answer.body}));
      co_return;
    }
    static_cast<void>(co_await exchange->start_stream(answer.status, {}));
    for (const auto& line : answer.lines) {
      const std::vector parts{std::make_shared<const std::string>(line + "\n")};
      static_cast<void>(co_await exchange->write(parts));
    }
    if (answer.hold) co_await exchange->peer_gone();
    if (!answer.hold && !answer.cut) static_cast<void>(co_await exchange->end_stream());
  }

  test::Loop* loop_;
  std::deque<Answer> answers_;
  std::vector<io::HttpRequest> requests_;
  std::unique_ptr<io::HttpServer> server_;
};

inline std::unique_ptr<ApiClient> client_to(test::Loop* loop, const ClusterAccess& access) {
  auto client = ApiClient::create(loop->executor(), {.access = access, .timeout = 10s});
  check(client.has_value(), "create the API client");
  return *std::move(client);
}

inline std::string status_json(int code, std::string_view reason, std::string_view message) {
  return fmt::format(
      R"({{"kind":"Status","apiVersion":"v1","status":"Failure","code":{},"reason":"{}","message":"{}"}})",
      code, reason, message);
}

}  // namespace fairlead::client::testing
