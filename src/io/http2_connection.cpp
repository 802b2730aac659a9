#include "io/http2_connection.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "io/http_wire.hpp"

namespace fairlead::io {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kBytesPerWrite = 64UL * 1024;
// Handlers at work, those of streams that were reset meanwhile included: a peer that asks and
// resets in turn gets no further.
constexpr std::size_t kMostHandlers = 2 * Http2Session::kMostStreams;
// How long a peer may go on sending after we said goodbye.
constexpr auto kLinger = 2s;

}  // namespace

// The answer to one request. Fresh -> Done, or Fresh -> Streaming -> Done; a peer that goes away or
// does not take what is sent leads to Broken.
class Http2Exchange final : public HttpExchange {
 public:
  using Waiting = Http2Connection::Waiting;

  Http2Exchange(Http2Connection* connection, Waiting* waiting, Http2Session::Incoming incoming)
      : connection_(connection),
        waiting_(waiting),
        id_(incoming.id),
        request_(*std::move(incoming.request)) {}

  const HttpRequest& request() const override { return request_; }
  const Peer& peer() const override { return connection_->config_.peer; }

  Task<Result<void>> respond(HttpResponse response) override {
    if (state_ != State::Fresh) co_return already_answered();
    const bool body = has_body(response.status);
    const bool ends = !body || is_head() || response.body.empty();
    head({.status = response.status,
          .headers = &response.headers,
          .framing = body ? Framing::Length : Framing::None,
          .length = response.body.size()},
         ends);
    state_ = State::Done;
    if (!ends) {
      session().append(id_, std::make_shared<const std::string>(std::move(response.body)));
      session().end(id_);
    }
    co_return co_await sent();
  }

  Task<Result<void>> start_stream(unsigned status, HttpHeaders headers) override {
    if (state_ != State::Fresh) co_return already_answered();
    head({.status = status, .headers = &headers, .framing = Framing::None}, is_head());
    state_ = State::Streaming;
    co_return co_await sent();
  }

  Task<Result<void>> write(std::span<const std::shared_ptr<const std::string>> parts) override {
    if (state_ != State::Streaming) co_return not_streaming();
    for (const auto& part : parts) session().append(id_, part);
    co_return co_await sent();
  }

  Task<Result<void>> end_stream() override {
    if (state_ != State::Streaming) co_return not_streaming();
    state_ = State::Done;
    session().end(id_);
    co_return co_await sent();
  }

  Task<void> peer_gone() override {
    while (connection_->open(id_) && !co_await cancelled()) co_await waiting_->gone.wait();
  }

  // After the handler returned.
  Task<void> finish() {
    if (state_ == State::Fresh) {
      static_cast<void>(co_await respond(
          {.status = 500,
           .headers = {{.name = "Content-Type", .value = "text/plain; charset=utf-8"}},
           .body = "the request was not answered\n"}));
    }
    // A stream nobody ended is reset, so that the peer knows it is incomplete.
    if (state_ != State::Done) session().reset(id_, Http2Session::Reset::InternalError);
    connection_->wake_.notify();
  }

 private:
  enum class State { Fresh, Streaming, Done, Broken };

  Http2Session& session() { return connection_->session_; }
  bool is_head() const { return request_.method == "HEAD"; }
  static Error already_answered() {
    return make_error(ErrorCode::Internal, "the request was answered twice");
  }
  Error not_streaming() const {
    if (state_ == State::Broken) return peer_is_gone();
    return make_error(ErrorCode::Internal, "no stream was started");
  }
  static Error peer_is_gone() { return make_error(ErrorCode::Unavailable, "the peer is gone"); }

  void head(ResponseHead head, bool ends) {
    head.now = std::chrono::system_clock::now();
    session().head(id_, format_http2_head(head), ends);
  }

  // Until the peer's window has taken what was written. What the peer has of it is not known here,
  // nor is it over HTTP/1.
  Task<Result<void>> sent() {
    const bool was_open = connection_->open(id_);
    connection_->wake_.notify();
    const auto patience = connection_->config_.limits->write_timeout;
    while (connection_->open(id_) && session().unsent(id_) > 0) {
      const std::size_t before = session().unsent(id_);
      if (co_await waiting_->sent.wait_until(deadline_after(patience))) continue;
      if (co_await cancelled()) co_return broken(make_error(ErrorCode::Cancelled, "cancelled"));
      if (!connection_->open(id_) || session().unsent(id_) < before) continue;
      session().reset(id_, Http2Session::Reset::Cancel);
      connection_->wake_.notify();
      co_return broken(make_error(ErrorCode::Timeout, "write: timed out"));
    }
    if (!was_open || (state_ == State::Streaming && !is_head() && !connection_->open(id_)))
      co_return broken(peer_is_gone());
    co_return Result<void>{};
  }
  Error broken(Error error) {
    state_ = State::Broken;
    return error;
  }

  Http2Connection* connection_;
  Waiting* waiting_;
  Http2Session::StreamId id_;
  HttpRequest request_;
  State state_ = State::Fresh;
};

Http2Connection::Http2Connection(const Executor& executor, HttpConnection::Config config)
    : config_(std::move(config)),
      session_(*config_.limits),
      idle_until_(deadline_after(config_.limits->header_timeout)),
      wake_(executor),
      drained_(executor),
      reading_(executor, "HTTP/2 reading"),
      handlers_(executor, "HTTP/2 requests") {}

Task<void> Http2Connection::run() {
  reading_.spawn(read_loop());
  co_await write_loop();
  lost_ = true;
  for (auto& [id, waiting] : waiting_) {
    waiting.sent.notify();
    waiting.gone.notify();
  }
  while (!waiting_.empty() && !co_await cancelled()) co_await drained_.wait();
  co_await handlers_.close();
  co_await reading_.close();
}

Task<void> Http2Connection::read_loop() {
  InputBuffer input;
  while (!over_) {
    const auto size = co_await config_.stream->read_some(input.prepare(), kNoDeadline);
    if (!size || *size == 0 || lost_) break;
    input.commit(*size);
    const auto taken = session_.receive(input.view(), std::chrono::steady_clock::now());
    input.consume(input.size());
    if (!taken)
      log::verbose(2, "HTTP/2 connection ends",
                   {{"peer", config_.peer.address}, {"error", taken.error()}});
    over_ = !taken;
    take_up();
    tell_waiting();
    wake_.notify();
  }
  over_ = true;
  wake_.notify();
}

// The one that writes also keeps the time.
Task<void> Http2Connection::write_loop() {
  while (true) {
    if (co_await cancelled()) co_return;
    session_.expire(std::chrono::steady_clock::now());
    if (next_deadline() <= std::chrono::steady_clock::now()) session_.go_away();
    const std::string bytes = session_.output(kBytesPerWrite);
    tell_waiting();
    if (!bytes.empty()) {
      std::vector<asio::const_buffer> buffers{{bytes.data(), bytes.size()}};
      if (!co_await config_.stream->write_all(std::move(buffers), config_.limits->write_timeout))
        co_return;
      continue;
    }
    if (over_) co_return;
    if (session_.finished()) break;
    co_await wake_.wait_until(next_deadline());
  }
  co_await reading_.close();  // finish() reads
  co_await config_.stream->finish(deadline_after(kLinger));
}

Deadline Http2Connection::next_deadline() const {
  if (session_.streams() > 0 || !waiting_.empty()) return session_.next_due();
  return idle_until_;
}

void Http2Connection::take_up() {
  for (Http2Session::Incoming& incoming : session_.take_incoming()) {
    if (!session_.open(incoming.id) || waiting_.size() >= kMostHandlers) {
      session_.reset(incoming.id, Http2Session::Reset::RefusedStream);
      session_.release(incoming.id);
      continue;
    }
    waiting_.try_emplace(incoming.id, handlers_.executor());
    handlers_.spawn(serve(std::move(incoming)));
  }
}

void Http2Connection::tell_waiting() {
  const std::vector<StreamId> changed = session_.take_changed();
  for (const StreamId id : changed) {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) continue;
    found->second.sent.notify();
    if (!session_.open(id)) found->second.gone.notify();
  }
  if (!changed.empty()) idle_until_ = deadline_after(config_.limits->idle_timeout);
}

Task<void> Http2Connection::serve(Http2Session::Incoming incoming) {
  const Http2Session::StreamId id = incoming.id;
  const unsigned refusal = incoming.refusal;
  const std::string reason = incoming.reason + "\n";
  if (!incoming.request) incoming.request.emplace();
  {
    Http2Exchange exchange(this, &waiting_.at(id), std::move(incoming));
    if (refusal != 0) {
      static_cast<void>(co_await exchange.respond(
          {.status = refusal,
           .headers = {{.name = "Content-Type", .value = "text/plain; charset=utf-8"}},
           .body = reason}));
    } else {
      co_await (*config_.handler)(exchange);
    }
    co_await exchange.finish();
  }
  session_.release(id);
  waiting_.erase(id);
  drained_.notify();
  wake_.notify();
}

}  // namespace fairlead::io
