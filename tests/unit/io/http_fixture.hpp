// A real server on loopback and the ways to talk to it: our client, or raw bytes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/byte_stream.hpp"
#include "io/http.hpp"
#include "io/socket.hpp"
#include "support/loop.hpp"

namespace fairlead::io::testing {

using namespace std::chrono_literals;

inline constexpr SocketAddress kLoopback{.address = IpAddress::loopback(IpFamily::V4),
                                         .port = Port{0}};

struct ServerOptions {
  std::optional<TlsServer> tls;
  HttpLimits limits;
};

// A server that is closed, on its loop, when the test ends.
class TestServer {
 public:
  TestServer(test::Loop* loop, HttpHandler handler, ServerOptions options = {}) : loop_(loop) {
    auto listener = listen_tcp(kLoopback);
    check(listener.has_value(), "listen");
    auto server = HttpServer::create(loop->executor(), {.listener = *std::move(listener),
                                                        .tls = std::move(options.tls),
                                                        .handler = std::move(handler),
                                                        .limits = options.limits,
                                                        .name = "test server"});
    check(server.has_value(), "create the server");
    server_ = *std::move(server);
    server_->start();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() { loop_->run(server_->close()); }

  Port port() const { return server_->local_address().port; }
  HttpServer& server() { return *server_; }

 private:
  test::Loop* loop_;
  std::unique_ptr<HttpServer> server_;
};

inline std::unique_ptr<HttpClient> client_for(test::Loop* loop, Port port,
                                              std::optional<TlsClient> tls = {}) {
  auto client = HttpClient::create(loop->executor(),
                                   {.host = "127.0.0.1", .port = port, .tls = std::move(tls)});
  check(client.has_value(), "create the client");
  return *std::move(client);
}

// Sends `parts` one by one on a new connection, each in a segment of its own as far as the kernel
// plays along, then reads until the server closes.
inline Task<Result<std::string>> raw_exchange(Port port, std::vector<std::string> parts) {
  auto stream = co_await connect_stream("127.0.0.1", port, std::nullopt, deadline_after(5s));
  if (!stream) co_return stream.error();
  for (const auto& part : parts) {
    std::vector<asio::const_buffer> buffers{asio::buffer(part)};
    static_cast<void>(co_await (*stream)->write_all(std::move(buffers), 5s));
    for (int i = 0; i < 3; ++i)
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  }
  std::string answer;
  std::string piece(4096, '\0');
  while (true) {
    auto n = co_await (*stream)->read_some(piece, deadline_after(10s));
    if (!n) co_return n.error();
    if (*n == 0) co_return answer;
    answer.append(piece, 0, *n);
  }
}

inline std::string status_line(std::string_view answer) {
  return std::string(answer.substr(0, answer.find('\r')));
}

}  // namespace fairlead::io::testing
