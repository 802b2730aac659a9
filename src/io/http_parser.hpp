// HTTP/1 message parsing, fed with bytes as they come; internal to io/. Pure. Beast stays in the
// .cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/http.hpp"

namespace fairlead::io {

// One request. Feed until done(); bytes beyond it are not consumed.
class HttpRequestParser {
 public:
  HttpRequestParser(std::size_t header_limit, std::size_t body_limit);
  ~HttpRequestParser();
  HttpRequestParser(const HttpRequestParser&) = delete;
  HttpRequestParser& operator=(const HttpRequestParser&) = delete;

  // Consumes a prefix of `bytes` and says how much. It may stop at the end of the header: look at
  // expects_continue(), then feed the rest. Errors: BadRequest (malformed), Exhausted (header above
  // its limit), TooLarge (body).
  Result<std::size_t> feed(std::string_view bytes);
  bool header_done() const;
  bool done() const;

  // Once the header is done:
  bool expects_continue() const;
  bool keep_alive() const;
  bool is_http10() const;
  HttpRequest take();  // once done

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One final response (1xx ones are skipped).
class HttpResponseParser {
 public:
  // `no_body`: the answer to a HEAD, which has a Content-Length but no body. `body_limit` absent =
  // none.
  HttpResponseParser(bool no_body, std::optional<std::uint64_t> body_limit);
  ~HttpResponseParser();
  HttpResponseParser(HttpResponseParser&&) noexcept;
  HttpResponseParser& operator=(HttpResponseParser&&) noexcept;

  // As above. Errors: BadRequest (malformed), TooLarge.
  Result<std::size_t> feed(std::string_view bytes);
  // The peer ended the connection: fine when the body is delimited by that, Unavailable otherwise.
  Result<void> end_of_input();
  bool header_done() const;
  bool done() const;

  unsigned status() const;
  bool keep_alive() const;
  HttpHeaders take_headers();
  std::string take_body();  // what has arrived since the last call

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string_view reason_phrase(
    unsigned status);  // "Not Found"; "Unknown" for codes nobody registered

}  // namespace fairlead::io
