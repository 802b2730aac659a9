#include "io/gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>

#include "base/error.hpp"

namespace fairlead::io {

namespace {

constexpr int kLevel = 1;
constexpr int kGzipWindow = 15 + 16;  // zlib's largest window, with gzip's header and trailer
constexpr int kMemory = 8;            // zlib's default

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// "q=0", "q=0.0", ...
bool refuses(std::string_view parameters) {
  const auto weight = parameters.find("q=");
  if (weight == std::string_view::npos) return false;
  const auto digits = trimmed(parameters.substr(weight + 2));
  return !digits.empty() && digits.find_first_not_of("0.") == std::string_view::npos;
}

}  // namespace

bool accepts_gzip(std::string_view accept_encoding) {
  std::optional<bool> named;
  bool any = false;
  while (!accept_encoding.empty()) {
    const auto comma = std::min(accept_encoding.find(','), accept_encoding.size());
    const auto element = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
    const auto semicolon = std::min(element.find(';'), element.size());
    const auto coding = trimmed(element.substr(0, semicolon));
    const bool allowed = !refuses(element.substr(semicolon));
    if (same_name(coding, "gzip")) named = allowed;
    if (coding == "*") any = allowed;
  }
  return named.value_or(any);
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  check(deflateInit2(&stream, kLevel, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY) == Z_OK,
        "memory for gzip");
  std::string out(deflateBound(&stream, text.size()), '\0');
  check(text.size() <= std::numeric_limits<uInt>::max(), "gzip takes less than 4 GiB at once");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  // The bound was given, so that one call does it.
  check(deflate(&stream, Z_FINISH) == Z_STREAM_END, "gzip in one call");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace fairlead::io
