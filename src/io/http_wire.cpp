#include "io/http_wire.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "io/http_parser.hpp"

namespace fairlead::io {

namespace {

// A line break in a value would start a header of the attacker's choice; such bytes become blanks.
char clean(char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t' ? ' ' : c; }

void append_header(std::string& out, std::string_view name, std::string_view value) {
  std::transform(name.begin(), name.end(), std::back_inserter(out), clean);
  out += ": ";
  std::transform(value.begin(), value.end(), std::back_inserter(out), clean);
  out += "\r\n";
}

bool is_ours(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kOurs{"content-length", "transfer-encoding",
                                                         "connection", "date"};
  return std::any_of(kOurs.begin(), kOurs.end(), [name](std::string_view ours) {
    return name.size() == ours.size() &&
           find_header({{.name = std::string(name), .value = {}}}, ours).has_value();
  });
}

void append_headers(std::string& out, const HttpHeaders& headers) {
  for (const auto& header : headers) {
    if (!is_ours(header.name)) append_header(out, header.name, header.value);
  }
}

// IMF-fixdate. The C locale's names, which fmt uses unless told otherwise.
std::string date_text(std::chrono::system_clock::time_point now) {
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
}

}  // namespace

std::string format_head(const ResponseHead& head) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", head.status, reason_phrase(head.status));
  if (head.headers != nullptr) append_headers(out, *head.headers);
  append_header(out, "Date", date_text(head.now));
  switch (head.framing) {
    case Framing::Length:
      append_header(out, "Content-Length", std::to_string(head.length));
      break;
    case Framing::Chunked:
      append_header(out, "Transfer-Encoding", "chunked");
      break;
    case Framing::Close:
    case Framing::None:
      break;
  }
  append_header(out, "Connection", head.keep_alive ? "keep-alive" : "close");
  out += "\r\n";
  return out;
}

HttpHeaders format_http2_head(const ResponseHead& head) {
  HttpHeaders out{{.name = ":status", .value = std::to_string(head.status)}};
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (const auto& [name, value] : *head.headers) {
    if (is_ours(name)) continue;
    HttpHeader& field = out.emplace_back();
    std::transform(name.begin(), name.end(), std::back_inserter(field.name), lower);
    std::transform(value.begin(), value.end(), std::back_inserter(field.value), clean);
  }
  out.push_back({.name = "date", .value = date_text(head.now)});
  if (head.framing == Framing::Length)
    out.push_back({.name = "content-length", .value = std::to_string(head.length)});
  return out;
}

std::string format_head(const HttpRequest& request, std::string_view host,
                        std::string_view user_agent) {
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  append_header(out, "Host", host);
  if (!find_header(request.headers, "User-Agent")) append_header(out, "User-Agent", user_agent);
  append_headers(out, request.headers);
  const bool usual =
      request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (usual || !request.body.empty())
    append_header(out, "Content-Length", std::to_string(request.body.size()));
  out += "\r\n";
  return out;
}

bool has_body(unsigned status) { return status >= 200 && status != 204 && status != 304; }

std::string chunk_head(std::size_t size) { return fmt::format("{:x}\r\n", size); }

std::optional<std::string> origin_form(std::string_view target) {
  if (target.starts_with('/') || target == "*") return std::string(target);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto rest = target.substr(scheme.size());
    const auto path = rest.find_first_of("/?");
    if (path == std::string_view::npos) return "/";
    return rest[path] == '?' ? fmt::format("/{}", rest.substr(path))
                             : std::string(rest.substr(path));
  }
  return std::nullopt;
}

}  // namespace fairlead::io
