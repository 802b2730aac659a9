// One server-side HTTP/2 connection: moves bytes between the stream and Http2Session, runs the
// handler once for each request, any number of them at a time; internal to io/. Lives in one task
// of the server's group, its own tasks end before run() does. Limits and handler belong to the
// server, which outlives it.
//
// A peer that goes away does not end the handlers that are at work: they see it by their next
// write, as over HTTP/1. Only the server's close() cancels them.
#pragma once

#include <map>
#include <memory>
#include <span>

#include "io/http2_session.hpp"
#include "io/http_connection.hpp"

namespace fairlead::io {

class Http2Connection {
 public:
  Http2Connection(const Executor& executor, HttpConnection::Config config);

  // Serves requests until the peer leaves, misbehaves or falls silent, or the task is asked to
  // stop.
  Task<void> run();

 private:
  friend class Http2Exchange;
  using StreamId = Http2Session::StreamId;

  // What the exchange of a stream waits for.
  struct Waiting {
    explicit Waiting(const Executor& executor) : sent(executor), gone(executor) {}
    Event sent;  // its answer has gone to the session's output, or the stream closed
    Event gone;  // the stream closed
  };

  Task<void> read_loop();
  Task<void> write_loop();
  Task<void> serve(Http2Session::Incoming incoming);
  void take_up();       // starts what the peer asked for
  void tell_waiting();  // of streams that changed
  bool open(StreamId id) const { return !lost_ && session_.open(id); }
  Deadline next_deadline() const;

  HttpConnection::Config config_;
  Http2Session session_;
  std::map<StreamId, Waiting> waiting_;  // of the handlers at work
  bool lost_ = false;                    // nothing more reaches the peer
  bool over_ = false;                    // the peer ended the connection or broke the protocol
  Deadline idle_until_;                  // with no stream open
  Event wake_;                           // there may be something to send
  Event drained_;                        // a handler has ended
  TaskGroup reading_;
  TaskGroup handlers_;
};

}  // namespace fairlead::io
