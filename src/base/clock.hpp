// Time as an injected value: whoever needs "now" takes a Clock, so tests decide what time it is.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead {

using WallTime = std::chrono::system_clock::time_point;
using MonoTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime wall() const = 0;
  virtual MonoTime mono() const = 0;

  static const Clock& real();  // stateless, lives for ever
};

// Moves only when told to. Not thread-safe.
class FakeClock final : public Clock {
 public:
  WallTime wall() const override { return wall_; }
  MonoTime mono() const override { return mono_; }
  void set_wall(WallTime t) { wall_ = t; }
  void advance(std::chrono::nanoseconds by) {
    wall_ += std::chrono::duration_cast<WallTime::duration>(by);
    mono_ += std::chrono::duration_cast<MonoTime::duration>(by);
  }

 private:
  WallTime wall_{std::chrono::seconds{1'700'000'000}};
  MonoTime mono_{std::chrono::seconds{1'000}};
};

// RFC 3339 in UTC: "2026-11-23T04:05:06Z", with exactly `fraction_digits` (0, 6 or 9) digits.
std::string format_rfc3339(WallTime t, int fraction_digits = 0);
// Times outside the clock's range (1677 to 2262) become its nearer end.
Result<WallTime> parse_rfc3339(std::string_view text);

// Go duration syntax ("300ms", "1.5h", "2h45m"); formats canonically ("15m0s").
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
std::string format_duration(std::chrono::nanoseconds d);

}  // namespace fairlead
