#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "unit/io/http_fixture.hpp"

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::raw_exchange;
using testing::status_line;
using testing::TestServer;

// Says back what it understood.
Task<void> echo(HttpExchange& exchange) {
  const auto& request = exchange.request();
  static_cast<void>(co_await exchange.respond(
      {.status = 200,
       .headers = {{.name = "Content-Type", .value = "text/plain"}},
       .body = fmt::format("{} {} [{}]", request.method, request.target, request.body)}));
}

Task<void> forget(HttpExchange&) { co_return; }

Task<void> no_content(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.respond({.status = 204, .headers = {}, .body = "not sent"}));
}

Task<void> stream_three(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {}));
  for (const char* text : {"one\n", "", "three\n"}) {
    const std::vector parts{std::make_shared<const std::string>(text),
                            std::make_shared<const std::string>("+")};
    if (*text == '\0') {
      const std::vector nothing{std::make_shared<const std::string>()};
      static_cast<void>(co_await exchange.write(nothing));
      continue;
    }
    static_cast<void>(co_await exchange.write(parts));
  }
  static_cast<void>(co_await exchange.end_stream());
}

Task<void> abandon_stream(HttpExchange& exchange) {
  static_cast<void>(co_await exchange.start_stream(200, {}));
  const std::vector parts{std::make_shared<const std::string>("begun")};
  static_cast<void>(co_await exchange.write(parts));
}

struct RawCase {
  std::string name;
  std::vector<std::string> parts;
  std::string status;
  std::string body_end;  // how the whole answer ends
};

class RawRequest : public ::testing::TestWithParam<RawCase> {};

TEST_P(RawRequest, IsAnswered) {
  test::Loop loop;
  TestServer server(&loop, echo, {.tls = {}, .limits = {.header_bytes = 1024, .body_bytes = 64}});
  const auto answer = loop.run(raw_exchange(server.port(), GetParam().parts));
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->has_value()) << answer->error().message;
  EXPECT_EQ(status_line(**answer), GetParam().status);
  EXPECT_THAT(**answer, EndsWith(GetParam().body_end));
}

std::vector<std::string> byte_by_byte(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) out.emplace_back(1, c);
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    HttpServer, RawRequest,
    ::testing::Values(
        RawCase{"InOnePiece",
                {"GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "GET /a?b=c []"},
        RawCase{"ByteByByte",
                byte_by_byte("PUT /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                             "5\r\n\r\nhello"),
                "HTTP/1.1 200 OK", "PUT /a [hello]"},
        RawCase{"ChunkedBody",
                {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n",
                 "2\r\nde\r\n0\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "POST / [abcde]"},
        RawCase{"PipelinedTwice",
                {"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: "
                 "close\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "GET /2 []"},
        RawCase{"Http10ClosesByItself",
                {"GET /old HTTP/1.0\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "GET /old []"},
        RawCase{"AbsoluteForm",
                {"GET http://x/abs?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "GET /abs?q=1 []"},
        RawCase{"Garbage", {"EHLO example.org\r\n\r\n"}, "HTTP/1.1 400 Bad Request", "\n"},
        RawCase{
            "TlsHelloOnAPlainPort", {"\x16\x03\x01\x02\r\n\r\n"}, "HTTP/1.1 400 Bad Request", "\n"},
        RawCase{"NoHost",
                {"GET / HTTP/1.1\r\n\r\n"},
                "HTTP/1.1 400 Bad Request",
                "the Host header is missing\n"},
        RawCase{"TargetWithoutSlash",
                {"GET index HTTP/1.1\r\nHost: x\r\n\r\n"},
                "HTTP/1.1 400 Bad Request",
                "request target \"index\" is not a path\n"},
        RawCase{"LengthAndChunkedTogether",
                {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n0\r\n\r\n"},
                "HTTP/1.1 400 Bad Request",
                "\n"},
        RawCase{"BodyAboveTheLimit",
                {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n"},
                "HTTP/1.1 413 Payload Too Large",
                "HTTP body is too large\n"},
        RawCase{"ChunkedBodyAboveTheLimit",
                {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" +
                 std::string(0x50, 'x')},
                "HTTP/1.1 413 Payload Too Large",
                "HTTP body is too large\n"},
        RawCase{"HeaderAboveTheLimit",
                {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"},
                "HTTP/1.1 431 Request Header Fields Too Large",
                "HTTP header is too large\n"},
        RawCase{"Head",
                {"HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
                "HTTP/1.1 200 OK",
                "Content-Length: 10\r\nConnection: close\r\n\r\n"},
        RawCase{"Expecting",
                {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: "
                 "close\r\nContent-Length: 2\r\n\r\n",
                 "ok"},
                "HTTP/1.1 100 Continue",
                "POST / [ok]"},
        RawCase{
            "ExpectingWithTooLargeABody",
            {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"},
            "HTTP/1.1 413 Payload Too Large",
            "HTTP body is too large\n"}),
    [](const auto& info) { return info.param.name; });

TEST(HttpServer, HandlerThatAnswersNothingIsA500) {
  test::Loop loop;
  TestServer server(&loop, forget);
  const auto answer = loop.run(raw_exchange(server.port(), {"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ(status_line(**answer), "HTTP/1.1 500 Internal Server Error");
}

TEST(HttpServer, NoContentHasNeitherBodyNorLength) {
  test::Loop loop;
  TestServer server(&loop, no_content);
  const auto answer = loop.run(
      raw_exchange(server.port(), {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}));
  ASSERT_TRUE(answer && *answer);
  EXPECT_THAT(**answer, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(**answer, EndsWith("Connection: close\r\n\r\n"));
}

TEST(HttpServer, StreamIsSentInChunksAndEmptyWritesDoNotEndIt) {
  test::Loop loop;
  TestServer server(&loop, stream_three);
  const auto answer = loop.run(
      raw_exchange(server.port(), {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}));
  ASSERT_TRUE(answer && *answer);
  EXPECT_THAT(**answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(**answer, EndsWith("\r\n\r\n5\r\none\n+\r\n7\r\nthree\n+\r\n0\r\n\r\n"));
}

TEST(HttpServer, StreamToHttp10IsEndedByClosing) {
  test::Loop loop;
  TestServer server(&loop, stream_three);
  const auto answer =
      loop.run(raw_exchange(server.port(), {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"}));
  ASSERT_TRUE(answer && *answer);
  EXPECT_THAT(**answer, EndsWith("Connection: close\r\n\r\none\n+three\n+"));
}

TEST(HttpServer, StreamThatIsNotEndedIsCutOffWithoutItsLastChunk) {
  test::Loop loop;
  TestServer server(&loop, abandon_stream);
  const auto answer = loop.run(raw_exchange(server.port(), {"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}));
  ASSERT_TRUE(answer && *answer);
  EXPECT_THAT(**answer, EndsWith("\r\n\r\n5\r\nbegun\r\n"));
}

TEST(HttpServer, ConnectionsAboveTheLimitAreClosedAtOnce) {
  test::Loop loop;
  TestServer server(&loop, echo, {.tls = {}, .limits = {.connections = 0}});
  const auto answer = loop.run(raw_exchange(server.port(), {}));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->value_or("not empty"), "");
}

// Bytes of the answer to one request on a connection that stays.
Task<Result<std::size_t>> answer_size(ByteStream* stream) {
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  FAIRLEAD_CO_CHECK(co_await stream->write_all({asio::buffer(request)}, 5s));
  std::string piece(4096, '\0');
  co_return co_await stream->read_some(piece, deadline_after(10s));
}

TEST(HttpServer, ConnectionsOfOneAddressAreBounded) {
  test::Loop loop;
  TestServer server(&loop, echo, {.tls = {}, .limits = {.connections_per_source = 1}});
  auto first =
      loop.run(connect_stream("127.0.0.1", server.port(), std::nullopt, deadline_after(5s)));
  ASSERT_TRUE(first && *first);
  const auto got = loop.run(answer_size((*first)->get()));
  ASSERT_TRUE(got && *got && **got > 0) << "the first is served";
  const auto second = loop.run(raw_exchange(server.port(), {}));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->value_or("not empty"), "");
}

TEST(HttpSource, IsAnAddressOrASubscribersNetwork) {
  const auto of = [](std::string_view text) {
    return source_of(*IpAddress::parse(text)).to_string();
  };
  EXPECT_EQ(of("192.0.2.1"), "192.0.2.1/32");
  EXPECT_EQ(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
}

TEST(HttpServer, AConnectionThatEndedMakesRoomForTheNext) {
  test::Loop loop;
  TestServer server(&loop, echo, {.tls = {}, .limits = {.connections = 1}});
  for (int i = 0; i < 3; ++i) {
    const auto answer = loop.run(
        raw_exchange(server.port(), {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}));
    ASSERT_TRUE(answer && *answer);
    EXPECT_EQ(testing::status_line(**answer), "HTTP/1.1 200 OK") << i;
  }
}

TEST(HttpServer, RequestThatNeverCompletesIsDropped) {
  test::Loop loop;
  TestServer server(&loop, echo, {.tls = {}, .limits = {.header_timeout = 0s}});
  const auto answer = loop.run(raw_exchange(server.port(), {"GET / HT"}));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->value_or(""), "");
}

struct Flags {
  bool peer_gone = false;
  bool handler_left = false;
  std::optional<Result<void>> last_write;
};

HttpHandler wait_for_peer(Flags* flags) {
  return [flags](HttpExchange& exchange) {
    return [](Flags* f, HttpExchange* e) -> Task<void> {
      static_cast<void>(co_await e->start_stream(200, {}));
      co_await e->peer_gone();
      f->peer_gone = !co_await cancelled();
      f->handler_left = true;
    }(flags, &exchange);
  };
}

Task<void> open_and_leave(HttpClient* client) {
  auto stream = co_await client->open({.target = "/watch"}, 5s);
  EXPECT_TRUE(stream.has_value());
}

Task<void> until(const bool* flag) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!*flag && std::chrono::steady_clock::now() < deadline) co_await sleep_for(1ms);
}

TEST(HttpServer, PeerGoneCompletesWhenTheClientLeaves) {
  test::Loop loop;
  Flags flags;
  TestServer server(&loop, wait_for_peer(&flags));
  const auto client = testing::client_for(&loop, server.port());
  loop.run(open_and_leave(client.get()));
  loop.run(until(&flags.handler_left));
  EXPECT_TRUE(flags.peer_gone);
}

TEST(HttpServer, CloseCancelsAnOpenExchange) {
  test::Loop loop;
  Flags flags;
  std::unique_ptr<HttpBodyStream> stream;
  {
    TestServer server(&loop, wait_for_peer(&flags));
    const auto client = testing::client_for(&loop, server.port());
    auto opened = loop.run(client->open({.target = "/watch"}, 5s));
    ASSERT_TRUE(opened && *opened);
    stream = *std::move(*opened);
  }
  EXPECT_TRUE(flags.handler_left);
  EXPECT_FALSE(flags.peer_gone);
  const auto rest = loop.run(stream->read_some(5s));
  ASSERT_TRUE(rest.has_value());
  ASSERT_FALSE(rest->has_value());
  EXPECT_EQ(rest->error().code, ErrorCode::Unavailable);
}

HttpHandler flood(Flags* flags) {
  return [flags](HttpExchange& exchange) {
    return [](Flags* f, HttpExchange* e) -> Task<void> {
      static_cast<void>(co_await e->start_stream(200, {}));
      const std::vector parts{std::make_shared<const std::string>(1 << 20, 'x')};
      Result<void> written;
      while (written) written = co_await e->write(parts);
      f->last_write = written;
      f->handler_left = true;
    }(flags, &exchange);
  };
}

TEST(HttpServer, WriteToAPeerThatDoesNotReadTimesOut) {
  test::Loop loop;
  Flags flags;
  TestServer server(&loop, flood(&flags), {.tls = {}, .limits = {.write_timeout = 0s}});
  const auto client = testing::client_for(&loop, server.port());
  const auto stream = loop.run(client->open({.target = "/flood"}, 5s));
  ASSERT_TRUE(stream.has_value());
  loop.run(until(&flags.handler_left));
  ASSERT_TRUE(flags.last_write.has_value());
  ASSERT_FALSE(flags.last_write->has_value());
}

}  // namespace
}  // namespace fairlead::io
