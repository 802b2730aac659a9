#include "base/clock.hpp"

#include <array>
#include <cmath>
#include <cstdlib>

#include "base/text.hpp"

namespace fairlead {
namespace {

class RealClock final : public Clock {
 public:
  WallTime wall() const override { return std::chrono::system_clock::now(); }
  MonoTime mono() const override { return std::chrono::steady_clock::now(); }
};

// Reads exactly `width` digits at `at`.
std::optional<int> digits(std::string_view text, std::size_t at, std::size_t width) {
  if (at + width > text.size()) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(at, width)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

// A clock of nanoseconds spans 1677 to 2262, RFC 3339 the years 0 to 9999: what lies beyond is
// the clock's nearer end. Refusing it would let one object with an odd time stop its readers.
WallTime saturated(std::chrono::sys_seconds whole, std::chrono::nanoseconds fraction) {
  using std::chrono::floor;
  using std::chrono::seconds;
  if (whole <= floor<seconds>(WallTime::min())) return WallTime::min();
  const auto last = floor<seconds>(WallTime::max());
  if (whole > last || (whole == last && fraction >= WallTime::max() - last)) return WallTime::max();
  return WallTime(whole) + fraction;
}

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};
// Longer names first where one begins with another ("ms" before "m").
constexpr std::array kUnits = {
    Unit{"ns", 1},
    Unit{"us", 1'000},
    Unit{"\u00b5s", 1'000},
    Unit{"\u03bcs", 1'000},
    Unit{"ms", 1'000'000},
    Unit{"s", 1'000'000'000},
    Unit{"m", 60'000'000'000},
    Unit{"h", 3'600'000'000'000},
};

}  // namespace

const Clock& Clock::real() {
  static const RealClock clock;
  return clock;
}

std::string format_rfc3339(WallTime t, int fraction_digits) {
  using namespace std::chrono;
  // In whole seconds: the day of the earliest times begins before what nanoseconds can count.
  const sys_seconds whole = floor<seconds>(t);
  const auto day = floor<days>(whole);
  const year_month_day date(day);
  const hh_mm_ss time(whole - day);
  std::string out =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  time.hours().count(), time.minutes().count(), time.seconds().count());
  if (fraction_digits > 0) {
    const auto remainder = duration_cast<nanoseconds>(t.time_since_epoch()) % seconds{1};
    const auto nanos = remainder < nanoseconds{0} ? remainder + seconds{1} : remainder;
    const std::string text = fmt::format("{:09}", nanos.count());
    out += '.' + text.substr(0, static_cast<std::size_t>(fraction_digits));
  }
  return out + 'Z';
}

Result<WallTime> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  const auto invalid = [&] {
    return make_error(ErrorCode::Invalid, "\"{}\" is not an RFC 3339 time", text);
  };
  const auto y = digits(text, 0, 4), mo = digits(text, 5, 2), d = digits(text, 8, 2);
  const auto h = digits(text, 11, 2), mi = digits(text, 14, 2), s = digits(text, 17, 2);
  if (!y || !mo || !d || !h || !mi || !s || text[4] != '-' || text[7] != '-' || text[13] != ':' ||
      text[16] != ':' || (text[10] != 'T' && text[10] != 't')) {
    return invalid();
  }
  const year_month_day date{year{*y}, month{static_cast<unsigned>(*mo)},
                            day{static_cast<unsigned>(*d)}};
  if (!date.ok() || *h > 23 || *mi > 59 || *s > 60) return invalid();
  std::size_t at = 19;
  std::int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t scale = 100'000'000;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
      nanos += (text[at] - '0') * scale;
    if (at == first) return invalid();
  }
  minutes offset{0};
  const std::string_view zone = text.substr(at);
  if (zone != "Z" && zone != "z") {
    const auto zh = digits(zone, 1, 2), zm = digits(zone, 4, 2);
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || !zh || !zm ||
        *zh > 23 || *zm > 59) {
      return invalid();
    }
    offset = (hours{*zh} + minutes{*zm}) * (zone[0] == '-' ? -1 : 1);
  }
  const auto whole = sys_days{date} + hours{*h} + minutes{*mi} + seconds{*s} - offset;
  return saturated(whole, nanoseconds{nanos});
}

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto invalid = [&] {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a duration (such as 300ms, 1.5h or 2h45m)",
                      text);
  };
  std::string_view rest = text;
  double sign = 1;
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    sign = rest.front() == '-' ? -1 : 1;
    rest.remove_prefix(1);
  }
  if (rest == "0") return std::chrono::nanoseconds{0};
  if (rest.empty()) return invalid();
  long double total = 0;
  while (!rest.empty()) {
    const auto number_end = rest.find_first_not_of("0123456789.");
    if (number_end == 0 || number_end == std::string_view::npos || number_end > 20)
      return invalid();
    const std::string number(rest.substr(0, number_end));
    char* end = nullptr;
    const long double value = std::strtold(number.c_str(), &end);
    if (*end != '\0' || number == ".") return invalid();
    rest.remove_prefix(number_end);
    const Unit* unit = nullptr;
    for (const Unit& candidate : kUnits) {
      if (rest.starts_with(candidate.name)) {
        unit = &candidate;
        break;
      }
    }
    if (unit == nullptr) return invalid();
    rest.remove_prefix(unit->name.size());
    total += value * static_cast<long double>(unit->nanoseconds);
  }
  if (total > 9.2e18L) return invalid();
  return std::chrono::nanoseconds{static_cast<std::int64_t>(sign * std::round(total))};
}

std::string format_duration(std::chrono::nanoseconds d) {
  std::int64_t n = d.count();
  if (n == 0) return "0s";
  const std::string sign = n < 0 ? "-" : "";
  const std::uint64_t u = n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
  const auto fraction = [](std::uint64_t value, std::uint64_t unit, std::string_view name) {
    std::string digits_text =
        fmt::format("{}.{:09}", value / unit, value % unit * (1'000'000'000 / unit));
    while (digits_text.back() == '0') digits_text.pop_back();
    if (digits_text.back() == '.') digits_text.pop_back();
    return digits_text + std::string(name);
  };
  if (u < 1'000) return sign + fmt::format("{}ns", u);
  if (u < 1'000'000) return sign + fraction(u, 1'000, "\u00b5s");
  if (u < 1'000'000'000) return sign + fraction(u, 1'000'000, "ms");
  const std::uint64_t hours = u / 3'600'000'000'000, minutes = u / 60'000'000'000 % 60;
  std::string out = sign;
  if (hours > 0) out += fmt::format("{}h", hours);
  if (hours > 0 || minutes > 0) out += fmt::format("{}m", minutes);
  return out + fraction(u % 60'000'000'000, 1'000'000'000, "s");
}

}  // namespace fairlead
