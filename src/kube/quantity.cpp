#include "kube/quantity.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/text.hpp"

namespace fairlead::kube {
namespace {

// What a suffix multiplies by: ten, or 1024, to a power.
struct Scale {
  std::int64_t ten = 0, binary = 0;
};

std::optional<Scale> scale_of(std::string_view suffix) {
  constexpr std::string_view kDecimal = "num kMGTPE";  // from 10^-9, by thousands
  constexpr std::string_view kBinary = "KMGTPE";
  if (suffix.empty()) return Scale{};
  if (suffix.size() == 1) {
    const auto place = kDecimal.find(suffix.front());
    if (place == std::string_view::npos || suffix == " ") return std::nullopt;
    return Scale{.ten = 3 * static_cast<std::int64_t>(place) - 9};
  }
  if (suffix.size() == 2 && suffix.back() == 'i') {
    const auto place = kBinary.find(suffix.front());
    if (place == std::string_view::npos) return std::nullopt;
    return Scale{.binary = static_cast<std::int64_t>(place) + 1};
  }
  if (suffix.front() != 'e' && suffix.front() != 'E') return std::nullopt;
  suffix.remove_prefix(suffix.substr(1).starts_with('+') ? 2 : 1);
  const auto exponent = parse_int(suffix);
  if (!exponent) return std::nullopt;
  return Scale{.ten = std::clamp<std::int64_t>(*exponent, -100, 100)};
}

}  // namespace

Result<MilliCpu> parse_cpu(std::string_view text) {
  const auto wrong = [text] {
    return make_error(ErrorCode::Invalid, "\"{}\" is not an amount of CPU", text);
  };
  std::string_view rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  const auto end = std::min(rest.find_first_not_of("0123456789."), rest.size());
  const std::string_view number = rest.substr(0, end);
  const auto point = number.find('.');
  const std::string_view whole = number.substr(0, point);
  const std::string_view fraction =
      point == std::string_view::npos ? std::string_view() : number.substr(point + 1);
  const auto scale = scale_of(rest.substr(end));
  if (!scale || whole.size() + fraction.size() == 0 || fraction.find('.') != std::string_view::npos)
    return wrong();
  // Up to 18 digits are exact in a long double, and so is the division of what is written in
  // practice.
  long double digits = 0;
  for (const char digit : whole) digits = digits * 10 + (digit - '0');
  for (const char digit : fraction) digits = digits * 10 + (digit - '0');
  const auto ten = scale->ten + 3 - static_cast<std::int64_t>(fraction.size());
  const long double power = std::pow(10.0L, static_cast<long double>(ten < 0 ? -ten : ten));
  const long double millis =
      (ten < 0 ? digits / power : digits * power) * std::pow(1024.0L, scale->binary);
  if (!(millis < static_cast<long double>(kMostCpu.value))) return kMostCpu;
  return MilliCpu{static_cast<std::int64_t>(std::ceil(millis))};
}

std::string to_string(MilliCpu cpu) { return fmt::format("{}m", cpu.value); }

}  // namespace fairlead::kube
