// The pure half of http.hpp: headers, targets, percent encoding.
#include "io/http.hpp"

#include <algorithm>
#include <cctype>

namespace fairlead::io {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Plus { Literal, Space };

Result<std::string> decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::Space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return make_error(ErrorCode::BadRequest, "invalid URL escape \"{}\"", text.substr(i, 3));
      }
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

std::optional<std::string_view> find_header(const HttpHeaders& headers, std::string_view name) {
  const auto it = std::find_if(headers.begin(), headers.end(), [name](const HttpHeader& h) {
    return same_ignoring_case(h.name, name);
  });
  if (it == headers.end()) return std::nullopt;
  return it->value;
}

IpPrefix source_of(const IpAddress& address) {
  constexpr unsigned kSubscriberBits = 64;
  return address.is_v4() ? IpPrefix::host(address) : IpPrefix(address, kSubscriberBits);
}

std::optional<std::string_view> Url::param(std::string_view name) const {
  const auto it = std::find_if(query.begin(), query.end(),
                               [name](const auto& pair) { return pair.first == name; });
  if (it == query.end()) return std::nullopt;
  return it->second;
}

Result<Url> parse_target(std::string_view target) {
  Url url;
  const auto mark = target.find('?');
  url.path = target.substr(0, mark);
  if (mark == std::string_view::npos) return url;
  auto rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('&'), rest.size());
    const auto pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const auto equals = std::min(pair.find('='), pair.size());
    FAIRLEAD_TRY(name, decode(pair.substr(0, equals), Plus::Space));
    FAIRLEAD_TRY(value, decode(pair.substr(std::min(equals + 1, pair.size())), Plus::Space));
    url.query.emplace_back(std::move(name), std::move(value));
  }
  return url;
}

std::string percent_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) { return decode(text, Plus::Literal); }

}  // namespace fairlead::io
