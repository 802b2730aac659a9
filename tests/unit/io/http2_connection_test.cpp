// HTTP/2 over TLS as a peer sees it: a real server on loopback, nghttp2's client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <functional>

#include "unit/io/http2_peer.hpp"
#include "unit/io/http_fixture.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using testing::Http2Peer;
using testing::TestServer;
using StreamId = Http2Peer::StreamId;

struct Identity {
  KeyPair authority = *make_ca("test CA", Clock::real(), 24h);
  TlsServer server(bool http2 = true) const {
    const CertificateRequest request{.common_name = "server",
                                     .ip_addresses = {IpAddress::loopback(IpFamily::V4)},
                                     .server = true,
                                     .validity = 1h};
    return *TlsServer::create(*sign_certificate(authority, request, Clock::real()), std::nullopt,
                              http2);
  }
  TlsClient client() const {
    auto out = *TlsClient::create({.ca_pem = authority.certificate_pem, .server_name = ""});
    constexpr std::string_view kOffers = "\x08http/1.1\x02h2";
    SSL_CTX_set_alpn_protos(out.context().get(),
                            reinterpret_cast<const unsigned char*>(kOffers.data()),
                            static_cast<unsigned>(kOffers.size()));
    return out;
  }
};

// One connection of a client.
struct Connection {
  Connection(test::Loop* l, const Identity& identity, Port port, Http2Peer::Options options = {})
      : loop(l), peer(options) {
    auto connected =
        loop->run(connect_stream("127.0.0.1", port, identity.client(), deadline_after(5s)));
    check(connected && *connected, "connect");
    stream = **std::move(connected);
  }

  // Talks until what is awaited has come; false when the server ended the connection or is silent.
  bool until(const std::function<bool()>& done) {
    return loop->run(talk(this, done)).value_or(false);
  }
  bool ended(StreamId id) {
    return until([this, id] { return peer.answer(id).ended; });
  }
  // Sends what there is to send and waits for nothing.
  void send() { loop->run(push(this)); }

  static Task<void> push(Connection* self) {
    const std::string bytes = self->peer.output();
    static_cast<void>(
        co_await self->stream->write_all({asio::const_buffer(bytes.data(), bytes.size())}, 5s));
  }
  static Task<bool> talk(Connection* self, std::function<bool()> done) {
    std::string piece(64 * 1024, '\0');
    while (true) {
      co_await push(self);
      if (done()) co_return true;
      const auto size = co_await self->stream->read_some(piece, deadline_after(10s));
      if (!size || *size == 0) co_return false;
      if (!self->peer.receive(std::string_view(piece).substr(0, *size))) co_return false;
    }
  }

  test::Loop* loop;
  Http2Peer peer;
  std::unique_ptr<ByteStream> stream;
};

// What the handlers below did.
struct Seen {
  explicit Seen(const Executor& executor) : go(executor) {}
  Event go;  // lets /wait answer
  bool gone = false;
  bool cancelled = false;
  int finished = 0;
  std::optional<Result<void>> write;
};

Task<void> stream_to(HttpExchange* exchange, Seen* seen, std::size_t bytes) {
  static_cast<void>(co_await exchange->start_stream(200, {}));
  const std::vector parts{std::make_shared<const std::string>(bytes, 'x')};
  seen->write = co_await exchange->write(parts);
  if (!*seen->write) co_return;
  co_await exchange->peer_gone();
  seen->gone = !co_await cancelled();
}

Task<void> handle(HttpExchange* exchange, Seen* seen) {
  const std::string target = exchange->request().target;
  if (target == "/wait") seen->cancelled = !co_await seen->go.wait();
  if (target == "/watch") co_await stream_to(exchange, seen, 5);
  if (target == "/large") co_await stream_to(exchange, seen, 1'000'000);
  if (target == "/broken") {
    static_cast<void>(co_await exchange->start_stream(200, {}));
  } else if (target == "/empty") {
    static_cast<void>(co_await exchange->respond({.status = 204, .headers = {}, .body = "no"}));
  } else if (target != "/forgotten" && target != "/watch" && target != "/large") {
    static_cast<void>(co_await exchange->respond(
        {.status = 200,
         .headers = {{.name = "Content-Type", .value = "text/plain"},
                     {.name = "Connection", .value = "close"}},
         .body = fmt::format("{} [{}]", target, exchange->request().body)}));
  }
  ++seen->finished;
}

struct Http2ConnectionTest : ::testing::Test {
  HttpHandler handler() {
    return [this](HttpExchange& exchange) { return handle(&exchange, &seen); };
  }
  void serve(HttpLimits limits = {}) {
    server = std::make_unique<TestServer>(
        &loop, handler(), testing::ServerOptions{.tls = identity.server(), .limits = limits});
  }

  test::Loop loop;
  Identity identity;
  Seen seen{loop.executor()};
  std::unique_ptr<TestServer> server;
};

TEST_F(Http2ConnectionTest, IsChosenWhereBothKnowIt) {
  serve();
  EXPECT_EQ(Connection(&loop, identity, server->port()).stream->protocol(), kHttp2);
  const TestServer old(&loop, handler(), {.tls = identity.server(false), .limits = {}});
  EXPECT_EQ(Connection(&loop, identity, old.port()).stream->protocol(), kHttp11);
}

TEST_F(Http2ConnectionTest, AnswersWithHeadAndBody) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto id = connection.peer.ask("PUT", "/a", "hello");
  ASSERT_TRUE(connection.ended(id));
  const Http2Peer::Answer& answer = connection.peer.answer(id);
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.body, "/a [hello]");
  EXPECT_EQ(find_header(answer.headers, "content-type"), "text/plain");
  EXPECT_EQ(find_header(answer.headers, "content-length"), "10");
  EXPECT_TRUE(find_header(answer.headers, "date"));
  EXPECT_FALSE(find_header(answer.headers, "connection"));
}

TEST_F(Http2ConnectionTest, OneThatWaitsHoldsUpNoOther) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto waits = connection.peer.ask("GET", "/wait");
  const auto other = connection.peer.ask("GET", "/other");
  ASSERT_TRUE(connection.ended(other));
  EXPECT_FALSE(connection.peer.answer(waits).ended);
  seen.go.notify();
  ASSERT_TRUE(connection.ended(waits));
  EXPECT_FALSE(seen.cancelled);
}

TEST_F(Http2ConnectionTest, AnswersWithoutBodyEndAtOnce) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto empty = connection.peer.ask("GET", "/empty");
  const auto head = connection.peer.ask("HEAD", "/a");
  ASSERT_TRUE(connection.ended(empty));
  ASSERT_TRUE(connection.ended(head));
  EXPECT_EQ(connection.peer.answer(empty).status, 204U);
  EXPECT_EQ(connection.peer.answer(empty).body, "");
  EXPECT_EQ(connection.peer.answer(head).body, "");
  EXPECT_EQ(find_header(connection.peer.answer(head).headers, "content-length"), "5");
}

TEST_F(Http2ConnectionTest, ARequestNobodyAnsweredIs500) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto id = connection.peer.ask("GET", "/forgotten");
  ASSERT_TRUE(connection.ended(id));
  EXPECT_EQ(connection.peer.answer(id).status, 500U);
}

TEST_F(Http2ConnectionTest, AStreamNobodyEndedIsReset) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto id = connection.peer.ask("GET", "/broken");
  ASSERT_TRUE(connection.until([&] { return connection.peer.answer(id).reset.has_value(); }));
  EXPECT_EQ(connection.peer.answer(id).reset, std::uint32_t{NGHTTP2_INTERNAL_ERROR});
  // The connection goes on.
  EXPECT_TRUE(connection.ended(connection.peer.ask("GET", "/a")));
}

TEST_F(Http2ConnectionTest, AStreamThatIsResetIsNoticed) {
  serve();
  Connection connection(&loop, identity, server->port());
  const auto id = connection.peer.ask("GET", "/watch");
  ASSERT_TRUE(connection.until([&] { return connection.peer.answer(id).body == "xxxxx"; }));
  connection.peer.reset(id);
  ASSERT_TRUE(connection.ended(connection.peer.ask("GET", "/a")));
  EXPECT_TRUE(seen.gone);
}

TEST_F(Http2ConnectionTest, OneThatDoesNotReadIsResetAlone) {
  serve({.write_timeout = 1s});
  Connection connection(&loop, identity, server->port(), {.window = 1000, .reads = false});
  const auto slow = connection.peer.ask("GET", "/large");
  ASSERT_TRUE(connection.until([&] { return connection.peer.answer(slow).reset.has_value(); }));
  EXPECT_EQ(connection.peer.answer(slow).reset, std::uint32_t{NGHTTP2_CANCEL});
  ASSERT_TRUE(seen.write);
  ASSERT_FALSE(*seen.write);
  EXPECT_EQ(seen.write->error().code, ErrorCode::Timeout);
}

TEST_F(Http2ConnectionTest, LargeAnswersArriveWholeWhileOthersAreServed) {
  serve();
  Connection connection(&loop, identity, server->port(), {.window = 16 * 1024});
  const auto large = connection.peer.ask("GET", "/large");
  const auto other = connection.peer.ask("GET", "/a");
  ASSERT_TRUE(connection.ended(other));
  ASSERT_TRUE(
      connection.until([&] { return connection.peer.answer(large).body.size() == 1'000'000; }));
}

TEST_F(Http2ConnectionTest, OneThatSendsNothingIsLeft) {
  serve({.header_timeout = 1s});
  Connection connection(&loop, identity, server->port());
  EXPECT_FALSE(connection.until([] { return false; }));
}

TEST_F(Http2ConnectionTest, OneThatIsIdleIsToldToGo) {
  serve({.idle_timeout = 0s});
  Connection connection(&loop, identity, server->port());
  ASSERT_TRUE(connection.ended(connection.peer.ask("GET", "/a")));
  ASSERT_TRUE(connection.until([&] { return connection.peer.farewell().has_value(); }));
  EXPECT_EQ(connection.peer.farewell(), std::uint32_t{NGHTTP2_NO_ERROR});
}

TEST_F(Http2ConnectionTest, APeerThatLeavesInterruptsNoHandler) {
  serve();
  {
    Connection connection(&loop, identity, server->port());
    connection.peer.ask("GET", "/wait");
    ASSERT_TRUE(connection.ended(connection.peer.ask("GET", "/a")));
  }
  // The server has noticed once it has served somebody else.
  Connection other(&loop, identity, server->port());
  ASSERT_TRUE(other.ended(other.peer.ask("GET", "/a")));
  seen.go.notify();
  ASSERT_TRUE(other.ended(other.peer.ask("GET", "/a")));
  EXPECT_FALSE(seen.cancelled);
  EXPECT_EQ(seen.finished, 4);
}

TEST_F(Http2ConnectionTest, CloseEndsEverything) {
  serve();
  Connection connection(&loop, identity, server->port());
  connection.peer.ask("GET", "/wait");
  const auto watch = connection.peer.ask("GET", "/watch");
  ASSERT_TRUE(connection.until([&] { return connection.peer.answer(watch).body == "xxxxx"; }));
  server.reset();
  EXPECT_TRUE(seen.cancelled);
  EXPECT_FALSE(seen.gone);
  EXPECT_EQ(seen.finished, 2);
}

}  // namespace
}  // namespace fairlead::io
