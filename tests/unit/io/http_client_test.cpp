#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/io/http_fixture.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using testing::client_for;
using testing::TestServer;

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return out;
}

Task<void> echo_body(HttpExchange& exchange) {
  static_cast<void>(
      co_await exchange.respond({.status = 200, .headers = {}, .body = exchange.request().body}));
}

// Tells which connection of the server a request came by.
Task<void> peer_port(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.respond(
      {.status = 200, .headers = {}, .body = exchange.peer().address.to_string()}));
}

Task<void> large_stream(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {{.name = "X-Kind", .value = "large"}}));
  const auto piece = std::make_shared<const std::string>(pattern(100'000));
  for (int i = 0; i < 50; ++i) {
    const std::vector parts{piece, piece};
    if (!co_await exchange.write(parts)) co_return;
  }
  static_cast<void>(co_await exchange.end_stream());
}

Task<void> never_answer(HttpExchange& exchange) { co_await exchange.peer_gone(); }

Task<void> start_and_hang(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {}));
  co_await exchange.peer_gone();
}

Task<void> cut_off(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {}));
  const std::vector parts{std::make_shared<const std::string>("half")};
  static_cast<void>(co_await exchange.write(parts));
}

TEST(HttpClient, SendsAndReceivesLargeBodies) {
  test::Loop loop;
  TestServer server(&loop, echo_body);
  const auto client = client_for(&loop, server.port());
  const auto body = pattern(2'900'000);
  const auto answer =
      loop.run(client->send({.method = "POST", .target = "/", .headers = {}, .body = body}, 10s));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->status, 200U);
  EXPECT_TRUE((*answer)->body == body);
}

TEST(HttpClient, KeepsConnectionsAliveAndReusesThem) {
  test::Loop loop;
  TestServer server(&loop, peer_port);
  const auto client = client_for(&loop, server.port());
  const auto first = loop.run(client->send({.target = "/1"}, 5s));
  const auto second = loop.run(client->send({.target = "/2"}, 5s));
  ASSERT_TRUE(first && *first && second && *second);
  EXPECT_EQ((*first)->body, (*second)->body);
}

TEST(HttpClient, OpensANewConnectionWhenTheServerClosedTheKeptOne) {
  test::Loop loop;
  std::unique_ptr<HttpClient> client;
  Port port{};
  {
    TestServer server(&loop, peer_port);
    port = server.port();
    client = client_for(&loop, port);
    const auto answer = loop.run(client->send({.target = "/"}, 5s));
    ASSERT_TRUE(answer && *answer);
  }
  auto listener = listen_tcp({.address = IpAddress::loopback(IpFamily::V4), .port = port});
  ASSERT_TRUE(listener.has_value());
  auto again =
      HttpServer::create(loop.executor(), {.listener = *std::move(listener), .handler = peer_port});
  ASSERT_TRUE(again.has_value());
  (*again)->start();
  const auto answer = loop.run(client->send({.method = "POST", .target = "/"}, 5s));
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->has_value()) << answer->error().message;
  loop.run((*again)->close());
}

// A server by hand: answers the first request of a connection, then reads the second one and closes
// in its face.
Task<void> close_in_the_face(asio::ip::tcp::acceptor* acceptor, int connections, int* requests) {
  for (int i = 0; i < connections; ++i) {
    auto [ec, socket] = co_await acceptor->async_accept(kNoThrow);
    if (ec) co_return;
    const auto stream = make_plain_stream(std::move(socket));
    std::string buffer(4096, '\0');
    static constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (int r = 0; r < 2; ++r) {
      const auto n = co_await stream->read_some(buffer, deadline_after(5s));
      if (!n || *n == 0) co_return;
      ++*requests;
      if (r == 1) break;
      std::vector<asio::const_buffer> out{asio::buffer(kAnswer)};
      static_cast<void>(co_await stream->write_all(std::move(out), 5s));
    }
  }
}

struct StaleCase {
  std::string method;
  bool succeeds;
  int requests;
};
class StaleConnection : public ::testing::TestWithParam<StaleCase> {};

TEST_P(StaleConnection, IsRetriedOnceIfRepeatingDoesNoHarm) {
  test::Loop loop;
  asio::ip::tcp::acceptor acceptor(loop.context(), {asio::ip::address_v4::loopback(), 0});
  TaskGroup group(loop.executor(), "server");
  int requests = 0;
  group.spawn(close_in_the_face(&acceptor, 2, &requests));
  const auto client = client_for(&loop, Port{acceptor.local_endpoint().port()});
  const auto first = loop.run(client->send({.target = "/"}, 5s));
  ASSERT_TRUE(first && *first);
  const auto second = loop.run(client->send({.method = GetParam().method, .target = "/"}, 5s));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->has_value(), GetParam().succeeds);
  EXPECT_EQ(requests, GetParam().requests);
  loop.run(group.close());
}
INSTANTIATE_TEST_SUITE_P(HttpClient, StaleConnection,
                         ::testing::Values(StaleCase{"GET", true, 3}, StaleCase{"DELETE", true, 3},
                                           StaleCase{"POST", false, 2},
                                           StaleCase{"PATCH", false, 2}),
                         [](const auto& info) { return info.param.method; });

struct Drained {
  std::size_t bytes = 0;
  bool intact = true;
  std::optional<Error> error;
};

Task<Drained> drain(HttpBodyStream* stream) {
  const auto expected = pattern(100'000);
  Drained out;
  while (true) {
    auto piece = co_await stream->read_some(5s);
    if (!piece) out.error = piece.error();
    if (!piece || !*piece) co_return out;
    for (const char c : **piece) {
      if (c != expected[out.bytes++ % expected.size()]) out.intact = false;
    }
  }
}

TEST(HttpClient, ReadsAStreamPieceByPiece) {
  test::Loop loop;
  TestServer server(&loop, large_stream);
  const auto client = client_for(&loop, server.port());
  auto stream = loop.run(client->open({.target = "/"}, 5s));
  ASSERT_TRUE(stream && *stream);
  EXPECT_EQ((**stream)->status(), 200U);
  EXPECT_EQ(find_header((**stream)->headers(), "x-kind"), "large");
  const auto drained = loop.run(drain((*stream)->get()));
  ASSERT_TRUE(drained.has_value());
  EXPECT_EQ(drained->bytes, 10'000'000U);
  EXPECT_TRUE(drained->intact);
  EXPECT_EQ(drained->error, std::nullopt);
}

TEST(HttpClient, StreamThatIsCutOffIsAnError) {
  test::Loop loop;
  TestServer server(&loop, cut_off);
  const auto client = client_for(&loop, server.port());
  auto stream = loop.run(client->open({.target = "/"}, 5s));
  ASSERT_TRUE(stream && *stream);
  const auto drained = loop.run(drain((*stream)->get()));
  ASSERT_TRUE(drained && drained->error);
  EXPECT_EQ(drained->bytes, 4U);
  EXPECT_EQ(*drained->error,
            make_error(ErrorCode::Unavailable, "connection closed in the middle of the answer"));
}

TEST(HttpClient, DeadlineEndsARequestThatIsNotAnswered) {
  test::Loop loop;
  TestServer server(&loop, never_answer);
  const auto client = client_for(&loop, server.port());
  const auto answer = loop.run(client->send({.target = "/"}, 30ms));
  ASSERT_TRUE(answer && !*answer);
  EXPECT_EQ(answer->error().code, ErrorCode::Timeout);
}

TEST(HttpClient, DeadlineEndsAReadOfASilentStream) {
  test::Loop loop;
  TestServer server(&loop, start_and_hang);
  const auto client = client_for(&loop, server.port());
  auto stream = loop.run(client->open({.target = "/"}, 5s));
  ASSERT_TRUE(stream && *stream);
  const auto piece = loop.run((**stream)->read_some(30ms));
  ASSERT_TRUE(piece && !*piece);
  EXPECT_EQ(piece->error().code, ErrorCode::Timeout);
}

TEST(HttpClient, NobodyListeningIsUnavailable) {
  test::Loop loop;
  Port port{};
  {
    const auto listener = listen_tcp(testing::kLoopback);
    ASSERT_TRUE(listener.has_value());
    port = local_address(*listener)->port;
  }
  const auto client = client_for(&loop, port);
  const auto answer = loop.run(client->send({.target = "/"}, 5s));
  ASSERT_TRUE(answer && !*answer);
  EXPECT_EQ(answer->error().code, ErrorCode::Unavailable);
  EXPECT_EQ(answer->error().message,
            fmt::format("connect to 127.0.0.1:{}: Connection refused", port));
}

TEST(HttpClient, ReadsAnAnswerThatComesBeforeTheRequestWasSent) {
  test::Loop loop;
  TestServer server(&loop, echo_body, {.tls = {}, .limits = {.body_bytes = 1000}});
  const auto client = client_for(&loop, server.port());
  const auto answer = loop.run(client->send(
      {.method = "POST", .target = "/", .headers = {}, .body = pattern(40'000'000)}, 10s));
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->has_value()) << answer->error().message;
  EXPECT_EQ((*answer)->status, 413U);
}

TEST(HttpClient, HeadHasALengthButNoBody) {
  test::Loop loop;
  TestServer server(&loop, peer_port);
  const auto client = client_for(&loop, server.port());
  const auto answer = loop.run(client->send({.method = "HEAD", .target = "/"}, 5s));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->body, "");
  EXPECT_NE(find_header((*answer)->headers, "Content-Length"), "0");
}

// Answers one request and stays connected until the client leaves.
Task<void> answer_and_stay(asio::ip::tcp::acceptor* acceptor, std::string wire) {
  auto [ec, socket] = co_await acceptor->async_accept(kNoThrow);
  if (ec) co_return;
  const auto stream = make_plain_stream(std::move(socket));
  std::string buffer(4096, '\0');
  static_cast<void>(co_await stream->read_some(buffer, deadline_after(5s)));
  std::vector<asio::const_buffer> out{asio::buffer(wire)};
  static_cast<void>(co_await stream->write_all(std::move(out), 5s));
  static_cast<void>(co_await stream->read_some(buffer, deadline_after(5s)));
}

// Otherwise a server (or what stands between) could answer a request before it is asked.
TEST(HttpClient, BytesBehindAnAnswerAreNotTheNextAnswer) {
  test::Loop loop;
  asio::ip::tcp::acceptor acceptor(loop.context(), {asio::ip::address_v4::loopback(), 0});
  TaskGroup group(loop.executor(), "server");
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
  group.spawn(answer_and_stay(&acceptor, head + "good" + head + "evil"));
  auto client = client_for(&loop, Port{acceptor.local_endpoint().port()});
  const auto first = loop.run(client->send({.target = "/1"}, 5s));
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->body, "good");
  group.spawn(answer_and_stay(&acceptor, head + "next"));
  const auto second = loop.run(client->send({.target = "/2"}, 5s));
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->body, "next");
  client.reset();
  loop.run(group.close());
}

struct WireCase {
  std::string name, wire;
  std::string body;  // of a good answer
  std::optional<ErrorCode> error;
};
class WireAnswer : public ::testing::TestWithParam<WireCase> {};

Task<void> answer_with(asio::ip::tcp::acceptor* acceptor, std::string wire) {
  auto [ec, socket] = co_await acceptor->async_accept(kNoThrow);
  if (ec) co_return;
  const auto stream = make_plain_stream(std::move(socket));
  std::string buffer(4096, '\0');
  static_cast<void>(co_await stream->read_some(buffer, deadline_after(5s)));
  std::vector<asio::const_buffer> out{asio::buffer(wire)};
  static_cast<void>(co_await stream->write_all(std::move(out), 5s));
}

TEST_P(WireAnswer, IsUnderstood) {
  test::Loop loop;
  asio::ip::tcp::acceptor acceptor(loop.context(), {asio::ip::address_v4::loopback(), 0});
  TaskGroup group(loop.executor(), "server");
  group.spawn(answer_with(&acceptor, GetParam().wire));
  const auto client = client_for(&loop, Port{acceptor.local_endpoint().port()});
  const auto answer = loop.run(client->send({.target = "/"}, 5s));
  ASSERT_TRUE(answer.has_value());
  if (GetParam().error) {
    ASSERT_FALSE(answer->has_value());
    EXPECT_EQ(answer->error().code, *GetParam().error) << answer->error().message;
  } else {
    ASSERT_TRUE(answer->has_value()) << answer->error().message;
    EXPECT_EQ((*answer)->body, GetParam().body);
  }
  loop.run(group.close());
}
INSTANTIATE_TEST_SUITE_P(
    HttpClient, WireAnswer,
    ::testing::Values(WireCase{"EndedByClosing", "HTTP/1.1 200 OK\r\n\r\nhello", "hello", {}},
                      WireCase{"Interim",
                               "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: "
                               "b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                               "ok",
                               {}},
                      WireCase{"ChunksWithExtensionAndTrailer",
                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n",
                               "abc",
                               {}},
                      WireCase{"NoContent", "HTTP/1.1 204 No Content\r\n\r\n", "", {}},
                      WireCase{"TooShort", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "",
                               ErrorCode::Unavailable},
                      WireCase{"Nothing", "", "", ErrorCode::Unavailable},
                      WireCase{"NotHttp", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "", ErrorCode::BadRequest},
                      WireCase{"TooLarge", "HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n",
                               "", ErrorCode::TooLarge}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace fairlead::io
