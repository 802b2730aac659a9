#include "base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::log {
namespace {

using testing::MatchesRegex;

TEST(Log, TextLineIsKlogs) {
  EXPECT_EQ(
      format_line(Format::Text, Severity::Info, "Sync done", {{"services", 3}, {"mode", "nft"}},
                  "1123 04:05:06.123456", 4242, "sync.cpp", 69),
      R"(I1123 04:05:06.123456    4242 sync.cpp:69] "Sync done" services="3" mode="nft")");
  EXPECT_EQ(format_line(Format::Text, Severity::Warning, "w", {}, "0102 00:00:00.000000", 1234567,
                        "a.cpp", 1),
            R"(W0102 00:00:00.000000 1234567 a.cpp:1] "w")");
  EXPECT_EQ(
      format_line(Format::Text, Severity::Error, "e", {}, "0102 00:00:00.000000", 1, "a.cpp", 1)
          .front(),
      'E');
}

TEST(Log, JsonLineIsOneObject) {
  EXPECT_EQ(format_line(Format::Json, Severity::Error, "Sync failed", {{"err", "no \"table\""}},
                        "2026-11-23T04:05:06.123456Z", 4242, "sync.cpp", 69),
            R"({"ts":"2026-11-23T04:05:06.123456Z","level":"error","caller":"sync.cpp:69",)"
            R"("msg":"Sync failed","err":"no \"table\""})");
}

TEST(Log, NoValueCanStartALineOfItsOwn) {
  const std::string text =
      format_line(Format::Text, Severity::Info, "a\nb", {{"k", "x\r\n\ty\\\"\x1b[0m"}},
                  "0102 00:00:00.000000", 1, "a.cpp", 1);
  EXPECT_EQ(text,
            "I0102 00:00:00.000000       1 a.cpp:1] \"a\\nb\" "
            "k=\"x\\r\\n\\ty\\\\\\\"\\u001b[0m\"");
}

class LogOutput : public testing::Test {
 protected:
  void TearDown() override { configure({}); }

  template <class Act>
  static std::string written(const Act& act) {
    testing::internal::CaptureStderr();
    act();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogOutput, LinesCarryTimeProcessAndPlace) {
  EXPECT_THAT(written([] { info("Started", {{"port", 80}}); }),
              MatchesRegex("I[01][0-9][0-3][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]\\.[0-9]+ +[0-9]+ "
                           "log_test.cpp:[0-9]+\\] \"Started\" port=\"80\"\n"));
  configure({.format = Format::Json});
  EXPECT_THAT(written([] { warning("Slow"); }),
              MatchesRegex(R"(\{"ts":"[-0-9]+T[:0-9]+\.[0-9]+Z","level":"warning",)"
                           "\"caller\":\"log_test.cpp:[0-9]+\",\"msg\":\"Slow\"\\}\n"));
}

TEST_F(LogOutput, VerbosityDropsOnlyWhatIsAboveIt) {
  configure({.verbosity = 2});
  EXPECT_TRUE(enabled(0));
  EXPECT_TRUE(enabled(2));
  EXPECT_FALSE(enabled(3));
  EXPECT_THAT(written([] {
                verbose(2, "kept");
                verbose(3, "dropped");
                error("always");
              }),
              MatchesRegex("I.*\"kept\"\nE.*\"always\"\n"));
}

}  // namespace
}  // namespace fairlead::log
