#include "proxy/mode_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace fairlead::proxy {
namespace {

using testing::HasSubstr;

Result<void> works() { return {}; }
Result<void> lacks() { return make_error(ErrorCode::Unsupported, "no module"); }
Result<void> forbidden() { return make_error(ErrorCode::Forbidden, "needs CAP_NET_ADMIN"); }

TEST(ModeChoice, TakesTheFirstThatWorksAndSaysWhyNotTheBetterOnes) {
  const std::array<ModeCandidate, 3> candidates = {
      {{.name = "best", .merit = "is quick", .attempt = lacks},
       {.name = "good", .merit = "is there", .attempt = works},
       {.name = "poor", .merit = "is odd", .attempt = works}}};
  const auto choice = first_possible(candidates);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->name, "good");
  EXPECT_EQ(choice->reason, "is there; better ones: best: no module");
}

TEST(ModeChoice, NamesWhatAllOfThemLack) {
  const std::array<ModeCandidate, 2> candidates = {
      {{.name = "a", .merit = "", .attempt = lacks}, {.name = "b", .merit = "", .attempt = lacks}}};
  const auto choice = first_possible(candidates);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code, ErrorCode::Unsupported);
  EXPECT_THAT(choice.error().message, HasSubstr("a: no module; b: no module"));
}

TEST(ModeChoice, LackOfPermissionIsNotWorkedAround) {
  const std::array<ModeCandidate, 2> candidates = {
      {{.name = "a", .merit = "", .attempt = forbidden},
       {.name = "b", .merit = "", .attempt = works}}};
  const auto choice = first_possible(candidates);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().code, ErrorCode::Forbidden);
}

TEST(ModeChoice, AConfiguredModeIsNotQuestioned) {
  Config config;
  EXPECT_EQ(choose_mode(config)->name, "nftables");
  config.mode = "ipvs";
  EXPECT_EQ(choose_mode(config)->name, "ipvs");
}

}  // namespace
}  // namespace fairlead::proxy
