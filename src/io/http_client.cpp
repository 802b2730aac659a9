// HttpClient: a keep-alive pool to one origin.
#include <fmt/format.h>

#include <utility>

#include "io/byte_stream.hpp"
#include "io/http.hpp"
#include "io/http_parser.hpp"
#include "io/http_wire.hpp"

namespace fairlead::io {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kLargestAnswer = 256ULL * 1024 * 1024;
// Servers drop idle connections after a minute or more; ours goes first.
constexpr auto kIdleTimeout = 45s;
// How long to look for an answer that explains why our request could not be written.
constexpr auto kEarlyAnswer = 1s;

// A connection and what it has received beyond the message being parsed.
struct Link {
  std::unique_ptr<ByteStream> stream;
  InputBuffer input;
  Deadline idle_until = kNoDeadline;

  Task<Result<bool>> fill(Deadline deadline) {
    auto size = co_await stream->read_some(input.prepare(), deadline);
    if (!size) co_return std::move(size).error();
    input.commit(*size);
    co_return *size > 0;
  }
};

enum class Until { Head, SomeBody, End };

bool reached(const HttpResponseParser& parser, Until goal, std::size_t body_fed) {
  switch (goal) {
    case Until::Head:
      return parser.header_done();
    case Until::SomeBody:
      return parser.done() || body_fed > 0;
    case Until::End:
      return parser.done();
  }
  return true;
}

// Reads from the link into the parser. SomeBody may stop with nothing but chunk framing read: the
// caller loops.
Task<Result<void>> advance(Link* link, HttpResponseParser* parser, Until goal, Deadline deadline) {
  std::size_t body_fed = 0;
  while (true) {
    while (link->input.size() > 0 && !parser->done()) {
      const auto used = parser->feed(link->input.view());
      if (!used) co_return used.error().with_context("answer");
      link->input.consume(*used);
      if (goal != Until::Head) body_fed += *used;
      if (*used == 0 || reached(*parser, goal, body_fed)) break;
    }
    if (reached(*parser, goal, body_fed)) co_return Result<void>{};
    const auto more = co_await link->fill(deadline);
    if (!more) co_return more.error();
    if (*more) continue;
    FAIRLEAD_CO_CHECK(parser->end_of_input());
  }
}

class BodyStream final : public HttpBodyStream {
 public:
  BodyStream(Link link, HttpResponseParser parser)
      : link_(std::move(link)),
        parser_(std::move(parser)),
        status_(parser_.status()),
        headers_(parser_.take_headers()) {}

  unsigned status() const override { return status_; }
  const HttpHeaders& headers() const override { return headers_; }

  Task<Result<std::optional<std::string>>> read_some(std::chrono::nanoseconds deadline) override {
    const auto until = deadline_after(deadline);
    while (true) {
      auto body = parser_.take_body();
      if (!body.empty()) co_return std::optional(std::move(body));
      if (parser_.done()) co_return std::optional<std::string>();
      link_.input.release();
      FAIRLEAD_CO_CHECK(co_await advance(&link_, &parser_, Until::SomeBody, until));
    }
  }

 private:
  Link link_;
  HttpResponseParser parser_;
  unsigned status_;
  HttpHeaders headers_;
};

// A request whose answer's head has been read.
struct Answer {
  Link link;
  HttpResponseParser parser;
};

bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" ||
         method == "OPTIONS";
}

class Client final : public HttpClient {
 public:
  explicit Client(Config config) : config_(std::move(config)) {
    const bool v6 = config_.host.find(':') != std::string::npos;
    const auto standard = config_.tls ? 443 : 80;
    host_header_ = v6 ? fmt::format("[{}]", config_.host) : config_.host;
    if (number(config_.port) != standard) host_header_ += fmt::format(":{}", config_.port);
  }

  Task<Result<HttpResponse>> send(HttpRequest request, std::chrono::nanoseconds deadline) override {
    const auto until = deadline_after(deadline);
    FAIRLEAD_CO_TRY(answer, co_await ask(&request, kLargestAnswer, until));
    auto& [link, parser] = answer;
    FAIRLEAD_CO_CHECK(co_await advance(&link, &parser, Until::End, until));
    HttpResponse response{
        .status = parser.status(), .headers = parser.take_headers(), .body = parser.take_body()};
    if (parser.keep_alive() && link.input.size() == 0 && idle_.size() < config_.max_idle) {
      link.input.release();
      link.idle_until = deadline_after(kIdleTimeout);
      idle_.push_back(std::move(link));
    }
    co_return response;
  }

  Task<Result<std::unique_ptr<HttpBodyStream>>> open(
      HttpRequest request, std::chrono::nanoseconds head_deadline) override {
    FAIRLEAD_CO_TRY(answer, co_await ask(&request, std::nullopt, deadline_after(head_deadline)));
    co_return std::make_unique<BodyStream>(std::move(answer.link), std::move(answer.parser));
  }

 private:
  // Sends the request and reads the answer's head. A kept-alive connection may have been closed by
  // the server just before our request reached it; such a request is repeated once, on a new
  // connection, if repeating does no harm.
  Task<Result<Answer>> ask(const HttpRequest* request, std::optional<std::uint64_t> body_limit,
                           Deadline until) {
    const bool no_body = request->method == "HEAD";
    if (auto link = take_idle()) {
      Answer answer{.link = *std::move(link), .parser = HttpResponseParser(no_body, body_limit)};
      const auto asked = co_await exchange(&answer, request, until);
      if (asked) co_return answer;
      const bool stale =
          asked.error().code == ErrorCode::Unavailable && !answer.parser.header_done();
      if (!stale || !is_idempotent(request->method)) co_return asked.error();
    }
    const auto connect_until = std::min(until, deadline_after(config_.connect_timeout));
    auto stream = co_await connect_stream(config_.host, config_.port, config_.tls, connect_until);
    if (!stream) co_return std::move(stream).error();
    Answer answer{.link = {.stream = *std::move(stream), .input = {}},
                  .parser = HttpResponseParser(no_body, body_limit)};
    FAIRLEAD_CO_CHECK(co_await exchange(&answer, request, until));
    co_return answer;
  }

  Task<Result<void>> exchange(Answer* answer, const HttpRequest* request, Deadline until) {
    const auto head = format_head(*request, host_header_, config_.user_agent);
    std::vector<asio::const_buffer> buffers{asio::buffer(head), asio::buffer(request->body)};
    const auto left = until - std::chrono::steady_clock::now();
    auto sent = co_await answer->link.stream->write_all(
        std::move(buffers), std::max<std::chrono::nanoseconds>(left, 0s));
    if (!sent && sent.error().code != ErrorCode::Unavailable) co_return sent;
    // A server may turn down a request it has not read to the end (413, 400): then its answer says
    // more than EPIPE.
    const auto read_until = sent ? until : std::min(until, deadline_after(kEarlyAnswer));
    auto answered = co_await advance(&answer->link, &answer->parser, Until::Head, read_until);
    if (!answered && !sent) co_return sent;
    co_return answered;
  }

  std::optional<Link> take_idle() {
    while (!idle_.empty()) {
      auto link = std::move(idle_.back());
      idle_.pop_back();
      if (link.idle_until > std::chrono::steady_clock::now() && link.stream->quiet()) {
        return link;
      }
    }
    return std::nullopt;
  }

  Config config_;
  std::string host_header_;
  std::vector<Link> idle_;
};

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::create(Executor, Config config) {
  if (config.host.empty()) return make_error(ErrorCode::Invalid, "HTTP client: the host is empty");
  if (number(config.port) == 0)
    return make_error(ErrorCode::Invalid, "HTTP client: the port of {} is 0", config.host);
  return std::unique_ptr<HttpClient>(std::make_unique<Client>(std::move(config)));
}

}  // namespace fairlead::io
