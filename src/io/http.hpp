// HTTP messages, server and client as plain types; Beast, nghttp2 and OpenSSL stay in the .cpp
// files.
//
// Server: HTTP/1.1, and HTTP/2 where the TLS handshake chose it (ALPN), one coroutine per
// connection and HTTP/2 stream on the loop given; the handler is called once per request and must
// answer through the Exchange exactly once (respond, or start_stream ... end). Limits below bound
// what a peer can cost us. Client: HTTP/1.1, a small keep-alive pool to one origin, plus streaming
// responses for watches. Not here: HTTP/2 without TLS, redirects, cookies, retries (client/ does
// those that make sense).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/fd.hpp"
#include "io/task.hpp"
#include "io/tls.hpp"

namespace fairlead::io {

struct HttpHeader {
  std::string name;
  std::string value;
  bool operator==(const HttpHeader&) const = default;
};
using HttpHeaders = std::vector<HttpHeader>;
// First header of that name, compared without case; nullopt when absent.
std::optional<std::string_view> find_header(const HttpHeaders& headers, std::string_view name);

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";  // origin form: path[?query], still percent-encoded
  HttpHeaders headers;
  std::string body;
};

struct HttpResponse {
  unsigned status = 200;
  HttpHeaders headers;  // Content-Length, Transfer-Encoding, Connection and Date are ours
  std::string body;
};

// Path and query of a target, decoded. `+` means a space in query values. Repeated keys keep their
// order.
struct Url {
  std::string path;  // still percent-encoded, without the query
  std::vector<std::pair<std::string, std::string>> query;
  std::optional<std::string_view> param(std::string_view name) const;  // first of that name
};
Result<Url> parse_target(std::string_view target);
std::string percent_encode(std::string_view text);  // everything but RFC 3986 unreserved
Result<std::string> percent_decode(std::string_view text);

// Who is at the other end of a server connection.
struct Peer {
  SocketAddress address;
  // Subject of the client certificate, if one was presented that verified when the connection
  // began.
  struct Certificate {
    std::string common_name;
    std::vector<std::string> organizations;
    WallTime valid_until = WallTime::max();  // connections may last longer
  };
  std::optional<Certificate> certificate;
  std::string refused_certificate = {};  // why one that was presented did not verify
};

// Who is counted as one peer: an IPv4 address, and the 64 bits of an IPv6 address that one
// subscriber has all the rest of.
IpPrefix source_of(const IpAddress& address);

// One request being answered. Lives in the coroutine of its connection or stream; never kept after
// the handler returned.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual const Peer& peer() const = 0;

  // The whole answer at once.
  virtual Task<Result<void>> respond(HttpResponse response) = 0;

  // An answer in pieces: headers go out at once, each write is flushed. An error means the peer is
  // gone (or so slow that a write took longer than Limits::write_timeout): stop writing.
  virtual Task<Result<void>> start_stream(unsigned status, HttpHeaders headers) = 0;
  virtual Task<Result<void>> write(std::span<const std::shared_ptr<const std::string>> parts) = 0;
  virtual Task<Result<void>> end_stream() = 0;

  // While streaming: completes when the peer closed or reset the connection.
  virtual Task<void> peer_gone() = 0;
};

using HttpHandler = std::function<Task<void>(HttpExchange&)>;

struct HttpLimits {
  std::size_t header_bytes = 64 * 1024;
  std::size_t body_bytes = 3 * 1024 * 1024;     // a larger body is answered 413
  std::size_t connections = 10'000;             // above it a new connection is closed at once
  std::size_t connections_per_source = 10'000;  // the same of one source_of()
  std::chrono::seconds header_timeout{30};      // for a request to arrive in full
  std::chrono::seconds idle_timeout{120};       // between requests
  std::chrono::seconds write_timeout{30};       // for one write to make progress
};

class HttpServer {
 public:
  struct Config {
    UniqueFd listener;  // a bound, listening stream socket (see listen_tcp in io/socket.hpp)
    std::optional<TlsServer> tls;  // absent = plain HTTP
    HttpHandler handler;
    HttpLimits limits;
    std::string name = "http";  // for log lines
  };
  static Result<std::unique_ptr<HttpServer>> create(Executor executor, Config config);
  virtual ~HttpServer() = default;
  virtual SocketAddress local_address() const = 0;  // tells the port when 0 was asked for
  virtual void start() = 0;                         // begins to accept
  // Stops accepting, cancels open exchanges and completes when all connections have ended.
  virtual Task<void> close() = 0;
};

// The body of a streaming response, read piece by piece.
class HttpBodyStream {
 public:
  virtual ~HttpBodyStream() = default;
  virtual unsigned status() const = 0;
  virtual const HttpHeaders& headers() const = 0;
  // Next bytes of the body (any size > 0); nullopt at its clean end.
  virtual Task<Result<std::optional<std::string>>> read_some(std::chrono::nanoseconds deadline) = 0;
};

class HttpClient {
 public:
  struct Config {
    std::string host;  // name or address to connect to
    Port port{};
    std::optional<TlsClient> tls;  // absent = plain HTTP
    std::string user_agent = "fairlead";
    std::size_t max_idle = 4;  // kept-alive connections
    std::chrono::seconds connect_timeout{10};
  };
  static Result<std::unique_ptr<HttpClient>> create(Executor executor, Config config);
  virtual ~HttpClient() = default;

  // One request and its whole answer, any status. Errors: Unavailable (could not connect,
  // connection lost), Timeout (deadline passed), Unauthorized (TLS verification failed), TooLarge
  // (answer above 256 MiB).
  virtual Task<Result<HttpResponse>> send(HttpRequest request,
                                          std::chrono::nanoseconds deadline) = 0;
  // The answer's head; the body is then read from the stream. The connection is not reused
  // afterwards.
  virtual Task<Result<std::unique_ptr<HttpBodyStream>>> open(
      HttpRequest request, std::chrono::nanoseconds head_deadline) = 0;
};

}  // namespace fairlead::io
