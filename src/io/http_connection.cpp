#include "io/http_connection.hpp"

#include <fmt/format.h>

#include <utility>

#include "io/http_wire.hpp"

namespace fairlead::io {

using namespace std::chrono_literals;

namespace {

// How long a peer that is being turned away may go on sending before its unread bytes reset the
// connection.
constexpr auto kLinger = 2s;

asio::const_buffer buffer_of(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

// The answer to one request. Fresh -> Done, or Fresh -> Streaming -> Done; a failed write leads to
// Broken.
class Exchange final : public HttpExchange {
 public:
  Exchange(HttpConnection* connection, HttpRequest request, bool keep_alive, bool http10)
      : connection_(connection),
        request_(std::move(request)),
        keep_alive_(keep_alive),
        http10_(http10) {}

  const HttpRequest& request() const override { return request_; }
  const Peer& peer() const override { return connection_->config_.peer; }

  Task<Result<void>> respond(HttpResponse response) override {
    if (state_ != State::Fresh) co_return already_answered();
    const bool body = has_body(response.status);
    const auto head = format_head(ResponseHead{.status = response.status,
                                               .headers = &response.headers,
                                               .framing = body ? Framing::Length : Framing::None,
                                               .length = response.body.size(),
                                               .keep_alive = keep_alive_,
                                               .now = std::chrono::system_clock::now()});
    std::vector<asio::const_buffer> buffers{buffer_of(head)};
    if (body && !is_head()) buffers.push_back(buffer_of(response.body));
    co_return co_await put(std::move(buffers), State::Done);
  }

  Task<Result<void>> start_stream(unsigned status, HttpHeaders headers) override {
    if (state_ != State::Fresh) co_return already_answered();
    if (http10_) keep_alive_ = false;
    const auto head =
        format_head(ResponseHead{.status = status,
                                 .headers = &headers,
                                 .framing = http10_ ? Framing::Close : Framing::Chunked,
                                 .keep_alive = keep_alive_,
                                 .now = std::chrono::system_clock::now()});
    std::vector<asio::const_buffer> buffers{buffer_of(head)};
    co_return co_await put(std::move(buffers), State::Streaming);
  }

  Task<Result<void>> write(std::span<const std::shared_ptr<const std::string>> parts) override {
    if (state_ != State::Streaming) co_return not_streaming();
    std::size_t size = 0;
    for (const auto& part : parts) size += part->size();
    if (size == 0 || is_head()) co_return Result<void>{};  // an empty chunk would end the body
    const auto head = chunk_head(size);
    std::vector<asio::const_buffer> buffers;
    buffers.reserve(parts.size() + 2);
    if (!http10_) buffers.push_back(buffer_of(head));
    for (const auto& part : parts) buffers.push_back(buffer_of(*part));
    if (!http10_) buffers.push_back(buffer_of("\r\n"));
    co_return co_await put(std::move(buffers), State::Streaming);
  }

  Task<Result<void>> end_stream() override {
    if (state_ != State::Streaming) co_return not_streaming();
    std::vector<asio::const_buffer> buffers;
    if (!http10_ && !is_head()) buffers.push_back(buffer_of("0\r\n\r\n"));
    co_return co_await put(std::move(buffers), State::Done);
  }

  Task<void> peer_gone() override {
    // Bytes that arrive meanwhile are a pipelined request; a peer that sends more than one header's
    // worth of them without waiting for its answer is treated as gone.
    while (connection_->input_.size() <= connection_->config_.limits->header_bytes) {
      const auto more = co_await connection_->fill(kNoDeadline);
      if (!more || !*more) co_return;
    }
  }

  // After the handler returned. False: the connection cannot carry another request.
  Task<bool> finish() {
    if (state_ == State::Fresh) {
      keep_alive_ = false;
      static_cast<void>(co_await respond(
          {.status = 500,
           .headers = {{.name = "Content-Type", .value = "text/plain; charset=utf-8"}},
           .body = "the request was not answered\n"}));
    }
    // A stream nobody ended stays without its last chunk, so that the peer knows it is incomplete.
    co_return state_ == State::Done&& keep_alive_;
  }
  bool answered() const { return state_ == State::Done; }

 private:
  enum class State { Fresh, Streaming, Done, Broken };

  bool is_head() const { return request_.method == "HEAD"; }
  static Error already_answered() {
    return make_error(ErrorCode::Internal, "the request was answered twice");
  }
  Error not_streaming() const {
    if (state_ == State::Broken) return make_error(ErrorCode::Unavailable, "the peer is gone");
    return make_error(ErrorCode::Internal, "no stream was started");
  }

  Task<Result<void>> put(std::vector<asio::const_buffer> buffers, State next) {
    const auto stall = connection_->config_.limits->write_timeout;
    auto written = co_await connection_->config_.stream->write_all(std::move(buffers), stall);
    state_ = written ? next : State::Broken;
    co_return written;
  }

  HttpConnection* connection_;
  HttpRequest request_;
  bool keep_alive_;
  bool http10_;
  State state_ = State::Fresh;
};

Task<Result<bool>> HttpConnection::fill(Deadline deadline) {
  auto size = co_await config_.stream->read_some(input_.prepare(), deadline);
  if (!size) co_return std::move(size).error();
  input_.commit(*size);
  co_return *size > 0;
}

Task<HttpConnection::Received> HttpConnection::receive(std::chrono::seconds patience) {
  if (input_.size() == 0) {
    input_.release();
    const auto more = co_await fill(deadline_after(patience));
    if (!more || !*more) co_return Received{};
  }
  HttpRequestParser parser(config_.limits->header_bytes, config_.limits->body_bytes);
  co_return co_await receive_body(&parser, deadline_after(config_.limits->header_timeout));
}

Task<HttpConnection::Received> HttpConnection::receive_body(HttpRequestParser* parser,
                                                            Deadline deadline) {
  bool continued = false;
  while (true) {
    const auto used = parser->feed(input_.view());
    if (!used) {
      const auto& error = used.error();
      const unsigned status = error.code == ErrorCode::TooLarge    ? 413
                              : error.code == ErrorCode::Exhausted ? 431
                                                                   : 400;
      co_return Received{.refusal = status, .reason = error.message};
    }
    input_.consume(*used);
    if (parser->done()) break;
    if (parser->header_done() && !continued) {
      continued = true;
      if (parser->expects_continue() && input_.size() == 0) {
        std::vector<asio::const_buffer> go{buffer_of("HTTP/1.1 100 Continue\r\n\r\n")};
        const auto sent =
            co_await config_.stream->write_all(std::move(go), config_.limits->write_timeout);
        if (!sent) co_return Received{};
      }
      if (input_.size() > 0) continue;
    }
    const auto more = co_await fill(deadline);
    if (!more || !*more) co_return Received{};
  }
  Received received{
      .request = parser->take(), .keep_alive = parser->keep_alive(), .http10 = parser->is_http10()};
  auto target = origin_form(received.request->target);
  if (!target) {
    co_return Received{
        .refusal = 400,
        .reason = fmt::format("request target \"{}\" is not a path", received.request->target)};
  }
  received.request->target = *std::move(target);
  if (!received.http10 && !find_header(received.request->headers, "Host")) {
    co_return Received{.refusal = 400, .reason = "the Host header is missing"};
  }
  co_return received;
}

Task<void> HttpConnection::refuse(Received received) {
  const HttpHeaders headers{{.name = "Content-Type", .value = "text/plain; charset=utf-8"}};
  const auto body = received.reason + "\n";
  const auto head = format_head(ResponseHead{.status = received.refusal,
                                             .headers = &headers,
                                             .framing = Framing::Length,
                                             .length = body.size(),
                                             .keep_alive = false,
                                             .now = std::chrono::system_clock::now()});
  std::vector<asio::const_buffer> buffers{buffer_of(head), buffer_of(body)};
  const auto sent =
      co_await config_.stream->write_all(std::move(buffers), config_.limits->write_timeout);
  if (sent) co_await config_.stream->finish(deadline_after(kLinger));
}

Task<void> HttpConnection::run() {
  auto patience = config_.limits->header_timeout;
  while (!co_await cancelled()) {
    auto received = co_await receive(patience);
    if (!received.request) {
      if (received.refusal != 0) co_await refuse(std::move(received));
      co_return;
    }
    Exchange exchange(this, *std::move(received.request), received.keep_alive, received.http10);
    co_await (*config_.handler)(exchange);
    if (!co_await exchange.finish()) {
      if (exchange.answered()) co_await config_.stream->finish(deadline_after(kLinger));
      co_return;
    }
    patience = config_.limits->idle_timeout;
  }
}

}  // namespace fairlead::io
