#include "base/clock.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using std::chrono::seconds;

WallTime at(std::int64_t unix_seconds, nanoseconds beyond = 0ns) {
  return WallTime(seconds(unix_seconds)) + beyond;
}

TEST(FakeClock, MovesBothTimesAndOnlyWhenTold) {
  FakeClock clock;
  const WallTime wall = clock.wall();
  const MonoTime mono = clock.mono();
  EXPECT_EQ(clock.wall(), wall);
  clock.advance(1500ms);
  EXPECT_EQ(clock.wall() - wall, 1500ms);
  EXPECT_EQ(clock.mono() - mono, 1500ms);
}

TEST(FakeClock, AWallClockThatIsSetDoesNotMoveTheSteadyOne) {
  FakeClock clock;
  const MonoTime mono = clock.mono();
  clock.set_wall(at(0));
  EXPECT_EQ(clock.wall(), at(0));
  EXPECT_EQ(clock.mono(), mono);
}

TEST(Rfc3339, ReadsEveryFormClientsSend) {
  const struct {
    std::string_view text;
    WallTime time;
  } rows[] = {
      {"1970-01-01T00:00:00Z", at(0)},
      {"2026-11-23T04:05:06Z", at(1'795'406'706)},
      {"2026-11-23t04:05:06z", at(1'795'406'706)},
      {"2026-11-23T04:05:06.5Z", at(1'795'406'706, 500ms)},
      {"2026-11-23T04:05:06.123456Z", at(1'795'406'706, 123456us)},
      {"2026-11-23T04:05:06.123456789Z", at(1'795'406'706, 123456789ns)},
      {"2026-11-23T04:05:06.1234567899999Z", at(1'795'406'706, 123456789ns)},
      {"2026-11-23T06:05:06+02:00", at(1'795'406'706)},
      {"2026-11-22T22:35:06-05:30", at(1'795'406'706)},
      {"2024-02-29T00:00:00Z", at(1'709'164'800)},
      {"1969-12-31T23:59:59Z", at(-1)},
      {"2016-12-31T23:59:60Z", at(1'483'228'800)},  // the leap second is the next midnight
  };
  for (const auto& row : rows) {
    EXPECT_THAT(parse_rfc3339(row.text), Holds(row.time)) << row.text;
  }
}

TEST(Rfc3339, RefusesTheRestByName) {
  for (const std::string_view text : {"",
                                      "2026-11-23",
                                      "2026-11-23T04:05:06",
                                      "2026-11-23 04:05:06Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-11-31T00:00:00Z",
                                      "2026-00-10T00:00:00Z",
                                      "2026-11-23T24:00:00Z",
                                      "2026-11-23T04:60:06Z",
                                      "2026-11-23T04:05:61Z",
                                      "2026-11-23T04:05:06.Z",
                                      "2026-11-23T04:05:06+2:00",
                                      "2026-11-23T04:05:06+0200",
                                      "2026-11-23T04:05:06+24:00",
                                      "2026-11-23T04:05:06+02:60",
                                      "2026-11-23T04:05:06ZZ",
                                      "26-11-23T04:05:06Z",
                                      "+2026-11-23T04:05:06Z",
                                      "2026-1a-23T04:05:06Z"}) {
    EXPECT_THAT(parse_rfc3339(text),
                FailsWith(ErrorCode::Invalid, fmt::format("\"{}\" is not an RFC 3339 time", text)));
  }
}

// The API lets objects carry any year; one of them must not stop a client that reads it.
TEST(Rfc3339, TimesBeyondTheClockBecomeItsEnds) {
  EXPECT_THAT(parse_rfc3339("0001-01-01T00:00:00Z"), Holds(WallTime::min()));
  EXPECT_THAT(parse_rfc3339("9999-12-31T23:59:59.999999999Z"), Holds(WallTime::max()));
  EXPECT_THAT(parse_rfc3339("2262-04-11T23:47:16.854775807Z"), Holds(WallTime::max()));
  EXPECT_THAT(parse_rfc3339("2262-04-11T23:47:16.854775806Z"), Holds(WallTime::max() - 1ns));
  EXPECT_THAT(parse_rfc3339("1677-09-21T00:12:44Z"),
              Holds(std::chrono::ceil<seconds>(WallTime::min())));
}

TEST(Rfc3339, PrintsWithTheDigitsAskedFor) {
  const WallTime t = at(1'795'406'706, 1'002'003ns);
  EXPECT_EQ(format_rfc3339(t), "2026-11-23T04:05:06Z");
  EXPECT_EQ(format_rfc3339(t, 6), "2026-11-23T04:05:06.001002Z");
  EXPECT_EQ(format_rfc3339(t, 9), "2026-11-23T04:05:06.001002003Z");
  EXPECT_EQ(format_rfc3339(at(0), 6), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(at(-1, 250ms), 6), "1969-12-31T23:59:59.250000Z");
  EXPECT_EQ(format_rfc3339(WallTime::min(), 9), "1677-09-21T00:12:43.145224192Z");
  EXPECT_EQ(format_rfc3339(WallTime::max(), 9), "2262-04-11T23:47:16.854775807Z");
}

TEST(Duration, ReadsGoSyntax) {
  const struct {
    std::string_view text;
    nanoseconds duration;
  } rows[] = {
      {"0", 0ns},         {"-0", 0ns},       {"300ms", 300ms},
      {"1.5h", 90min},    {"2h45m", 165min}, {"1h0m0.5s", 1h + 500ms},
      {"-1.5s", -1500ms}, {"+5s", 5s},       {"1us", 1us},
      {"1\u00b5s", 1us},  {"1\u03bcs", 1us}, {"7ns", 7ns},
      {".5s", 500ms},     {"1.s", 1s},       {"0.000000001s", 1ns},
      {"100h", 100h},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(parse_duration(row.text), Holds(row.duration)) << row.text;
  }
}

TEST(Duration, RefusesTheRestByName) {
  for (const std::string_view text :
       {"", "-", "+", "5", "s", ".s", "1.2.3s", "1d", "5 s", " 5s", "5s ", "1e3s", "--5s", "5s-3s",
        "3000000h", "1h3000000h", "infs", "0x5s"}) {
    EXPECT_THAT(
        parse_duration(text),
        FailsWith(ErrorCode::Invalid,
                  fmt::format("\"{}\" is not a duration (such as 300ms, 1.5h or 2h45m)", text)));
  }
}

TEST(Duration, PrintsAsGoDoesAndReadsBack) {
  const struct {
    nanoseconds duration;
    std::string_view text;
  } rows[] = {
      {0ns, "0s"},
      {1ns, "1ns"},
      {1500ns, "1.5\u00b5s"},
      {2ms, "2ms"},
      {1'000'001ns, "1.000001ms"},
      {1s, "1s"},
      {1500ms, "1.5s"},
      {15min, "15m0s"},
      {1h, "1h0m0s"},
      {-90s, "-1m30s"},
      {25h + 1ns, "25h0m0.000000001s"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(format_duration(row.duration), row.text);
    EXPECT_THAT(parse_duration(row.text), Holds(row.duration)) << row.text;
  }
  EXPECT_EQ(format_duration(nanoseconds::min()), "-2562047h47m16.854775808s");
}

}  // namespace
}  // namespace fairlead
