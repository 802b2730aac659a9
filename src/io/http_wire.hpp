// The wire form of heads, and HTTP/1's chunks; internal to io/. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "io/http.hpp"

namespace fairlead::io {

enum class Framing {
  Length,   // Content-Length
  Chunked,  // Transfer-Encoding: chunked
  Close,    // the end of the connection ends the body
  None,     // no body and nothing said about one (204, 304)
};

struct ResponseHead {
  unsigned status = 200;
  const HttpHeaders* headers = nullptr;
  Framing framing = Framing::Length;
  std::size_t length = 0;  // with Framing::Length
  bool keep_alive = true;
  std::chrono::system_clock::time_point now;
};
std::string format_head(const ResponseHead& head);
// The same in HTTP/2: ":status" first, names in lower case, no word of connections (RFC
// 9113 8.2.2). Of the framings only Length says anything.
HttpHeaders format_http2_head(const ResponseHead& head);

// Content-Length is written when there is a body or the method usually has one.
std::string format_head(const HttpRequest& request, std::string_view host,
                        std::string_view user_agent);

// Whether an answer of that status has a body, be it empty (RFC 9110 6.4.1).
bool has_body(unsigned status);

std::string chunk_head(std::size_t size);  // "1a\r\n"

// A request target as clients may send it -> origin form: "http://host/path" loses its front (RFC
// 9112 3.2.2). nullopt when it is none of the forms an origin server takes.
std::optional<std::string> origin_form(std::string_view target);

}  // namespace fairlead::io
