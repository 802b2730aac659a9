#include "io/http_parser.hpp"

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <limits>
#include <utility>

namespace fairlead::io {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

std::string to_std(boost::beast::string_view text) { return {text.data(), text.size()}; }

HttpHeaders headers_of(const http::fields& fields) {
  HttpHeaders out;
  for (const auto& field : fields) {
    out.push_back({.name = to_std(field.name_string()), .value = to_std(field.value())});
  }
  return out;
}

Error to_error(error_code ec) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    return make_error(ErrorCode::Exhausted, "HTTP header is too large");
  }
  if (ec == http::error::body_limit)
    return make_error(ErrorCode::TooLarge, "HTTP body is too large");
  return make_error(ErrorCode::BadRequest, "malformed HTTP: {}", ec.message());
}

// Feeds until the message is done, its header has just ended, or more input is needed.
template <class Parser>
Result<std::size_t> feed_parser(Parser& parser, std::string_view bytes) {
  std::size_t total = 0;
  const bool had_header = parser.is_header_done();
  while (!parser.is_done() && total < bytes.size()) {
    error_code ec;
    const auto used =
        parser.put(boost::asio::buffer(bytes.data() + total, bytes.size() - total), ec);
    total += used;
    if (ec == http::error::need_more) break;
    if (ec) return to_error(ec);
    if (!had_header && parser.is_header_done()) break;
  }
  return total;
}

}  // namespace

struct HttpRequestParser::Impl {
  http::request_parser<http::string_body> parser;
};

HttpRequestParser::HttpRequestParser(std::size_t header_limit, std::size_t body_limit)
    : impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(static_cast<std::uint32_t>(header_limit));
  impl_->parser.body_limit(body_limit);
}
HttpRequestParser::~HttpRequestParser() = default;

Result<std::size_t> HttpRequestParser::feed(std::string_view bytes) {
  return feed_parser(impl_->parser, bytes);
}
bool HttpRequestParser::header_done() const { return impl_->parser.is_header_done(); }
bool HttpRequestParser::done() const { return impl_->parser.is_done(); }

bool HttpRequestParser::expects_continue() const {
  const auto& message = impl_->parser.get();
  return message.version() >= 11 &&
         boost::beast::iequals(message[http::field::expect], "100-continue");
}
bool HttpRequestParser::keep_alive() const { return impl_->parser.get().keep_alive(); }
bool HttpRequestParser::is_http10() const { return impl_->parser.get().version() < 11; }

HttpRequest HttpRequestParser::take() {
  auto& message = impl_->parser.get();
  return {.method = to_std(message.method_string()),
          .target = to_std(message.target()),
          .headers = headers_of(message),
          .body = std::move(message.body())};
}

struct HttpResponseParser::Impl {
  explicit Impl(bool skip, std::optional<std::uint64_t> limit) : no_body(skip), body_limit(limit) {
    reset();
  }

  // Beast's parser handles one message; a 1xx answer is one of its own.
  void reset() {
    parser.emplace();
    parser->skip(no_body);
    parser->header_limit(256 * 1024);
    parser->body_limit(body_limit ? boost::optional<std::uint64_t>(*body_limit) : boost::none);
  }
  bool interim() const {
    return parser->is_header_done() && parser->get().result_int() / 100 == 1 &&
           parser->get().result_int() != 101;
  }

  bool no_body;
  std::optional<std::uint64_t> body_limit;
  std::optional<http::response_parser<http::string_body>> parser;
};

HttpResponseParser::HttpResponseParser(bool no_body, std::optional<std::uint64_t> body_limit)
    : impl_(std::make_unique<Impl>(no_body, body_limit)) {}
HttpResponseParser::~HttpResponseParser() = default;
HttpResponseParser::HttpResponseParser(HttpResponseParser&&) noexcept = default;
HttpResponseParser& HttpResponseParser::operator=(HttpResponseParser&&) noexcept = default;

Result<std::size_t> HttpResponseParser::feed(std::string_view bytes) {
  FAIRLEAD_TRY(used, feed_parser(*impl_->parser, bytes));
  if (impl_->interim()) impl_->reset();
  return used;
}

Result<void> HttpResponseParser::end_of_input() {
  error_code ec;
  if (impl_->parser->got_some()) impl_->parser->put_eof(ec);
  if (ec || !impl_->parser->is_done()) {
    return make_error(ErrorCode::Unavailable, "connection closed in the middle of the answer");
  }
  return {};
}

bool HttpResponseParser::header_done() const { return impl_->parser->is_header_done(); }
bool HttpResponseParser::done() const { return impl_->parser->is_done(); }
unsigned HttpResponseParser::status() const { return impl_->parser->get().result_int(); }
bool HttpResponseParser::keep_alive() const { return impl_->parser->get().keep_alive(); }
HttpHeaders HttpResponseParser::take_headers() { return headers_of(impl_->parser->get()); }
std::string HttpResponseParser::take_body() {
  return std::exchange(impl_->parser->get().body(), {});
}

std::string_view reason_phrase(unsigned status) {
  const auto phrase = http::obsolete_reason(http::int_to_status(status));
  return phrase == "<unknown-status>" ? std::string_view("Unknown")
                                      : std::string_view(phrase.data(), phrase.size());
}

}  // namespace fairlead::io
