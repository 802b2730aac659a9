// One server-side HTTP connection: reads requests, calls the handler, writes the answers; internal
// to io/. Lives in one task of the server's group. Limits and handler belong to the server, which
// outlives it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "io/byte_stream.hpp"
#include "io/http.hpp"
#include "io/http_parser.hpp"

namespace fairlead::io {

class HttpConnection {
 public:
  struct Config {
    std::unique_ptr<ByteStream> stream;
    Peer peer;
    const HttpLimits* limits = nullptr;
    const HttpHandler* handler = nullptr;
  };
  explicit HttpConnection(Config config) : config_(std::move(config)) {}

  // Serves requests until the peer leaves, misbehaves or falls silent, or the task is asked to
  // stop.
  Task<void> run();

 private:
  friend class Exchange;

  // A request that came in whole, or what to say instead of serving it (0 = nothing, just close).
  struct Received {
    std::optional<HttpRequest> request;
    bool keep_alive = false;
    bool http10 = false;
    unsigned refusal = 0;
    std::string reason;
  };
  Task<Received> receive(std::chrono::seconds patience);
  Task<Result<bool>> fill(Deadline deadline);  // false at the end of input
  Task<Received> receive_body(HttpRequestParser* parser, Deadline deadline);
  Task<void> refuse(Received received);

  Config config_;
  InputBuffer input_;
};

}  // namespace fairlead::io
