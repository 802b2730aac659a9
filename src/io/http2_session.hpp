// The server side of one HTTP/2 connection as a state machine (RFC 9113): the peer's bytes go in,
// whole requests come out; answers go in, bytes for the peer come out. Internal to io/; no I/O and
// no clock, nghttp2 stays in the .cpp. Http2Connection drives it.
//
// What a peer can cost is bounded by HttpLimits and the constants below: streams, the head and the
// body of a request, the bodies of all requests together, the time until a request is whole.
// Floods of resets, pings and settings end the connection (nghttp2's own limits). Not here: server
// push, priorities, trailers (read and dropped), CONNECT (refused), WebSocket.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/byte_stream.hpp"
#include "io/http.hpp"

namespace fairlead::io {

class Http2Session {
 public:
  using StreamId = std::int32_t;
  using Part = std::shared_ptr<const std::string>;

  static constexpr std::size_t kMostStreams = 100;  // open at a time, as kube-apiserver has it
  // Bodies of requests that are not answered yet, in bodies of the largest size.
  static constexpr std::size_t kMostBodies = 4;

  // A request that came in whole, or why it is not served.
  struct Incoming {
    StreamId id = 0;
    std::optional<HttpRequest> request;
    unsigned refusal = 0;  // the status to answer with when there is no request
    std::string reason = {};
  };
  enum class Reset { Cancel, InternalError, RefusedStream };

  explicit Http2Session(const HttpLimits& limits);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Takes all of the bytes, which arrived at `now`. BadRequest: the peer does not speak HTTP/2, or
  // floods; what output() still has may be sent, then the connection ends.
  Result<void> receive(std::string_view bytes, Deadline now);
  std::vector<Incoming> take_incoming();

  // The answer on a stream: its head, then any number of parts, then the end. All of it is ignored
  // on a stream that is not open any more.
  void head(StreamId id, const HttpHeaders& head, bool ends);  // see format_http2_head
  void append(StreamId id, Part part);
  void end(StreamId id);
  void reset(StreamId id, Reset why);
  // The request of this stream, once handed out, holds no memory any more.
  void release(StreamId id);

  bool open(StreamId id) const;
  std::size_t unsent(StreamId id) const;  // bytes of the answer that wait for the peer's window
  // Streams that closed, or whose answer has all gone to output(), since the last call.
  std::vector<StreamId> take_changed();
  std::size_t streams() const;  // open ones

  // The next bytes for the peer, about `enough` of them; empty when there are none now.
  std::string output(std::size_t enough);
  bool finished() const;  // nothing more is to be read or written
  void go_away();         // no further requests; finished() when the last stream has ended

  // When the first of the requests that are still arriving is overdue; kNoDeadline = none.
  Deadline next_due() const;
  void expire(Deadline now);  // resets those that are

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::io
