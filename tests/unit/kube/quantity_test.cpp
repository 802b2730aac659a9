#include "kube/quantity.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace fairlead::kube {
namespace {

TEST(ParseCpu, ReadsEveryWayToWriteAQuantity) {
  const struct {
    std::string_view text;
    std::int64_t millis;
  } cases[] = {
      {.text = "4", .millis = 4000},
      {.text = "+4", .millis = 4000},
      {.text = "3920m", .millis = 3920},
      {.text = "0.1", .millis = 100},
      {.text = ".5", .millis = 500},
      {.text = "1.", .millis = 1000},
      {.text = "2e1", .millis = 20'000},
      {.text = "2E+1", .millis = 20'000},
      {.text = "5e-1", .millis = 500},
      {.text = "1k", .millis = 1'000'000},
      {.text = "1Ki", .millis = 1'024'000},
      {.text = "0.0001", .millis = 1},  // rounded up
      {.text = "1n", .millis = 1},
      {.text = "1500000u", .millis = 1500},
      {.text = "0", .millis = 0},
      {.text = "1E", .millis = kMostCpu.value},
      {.text = "1e999999999", .millis = kMostCpu.value},
  };
  for (const auto& row : cases) {
    const auto cpu = parse_cpu(row.text);
    ASSERT_TRUE(cpu) << row.text;
    EXPECT_EQ(cpu->value, row.millis) << row.text;
  }
}

TEST(ParseCpu, OfManyDigitsIsTheMostThereIs) {
  EXPECT_EQ(*parse_cpu(std::string(100'000, '9')), kMostCpu);
  EXPECT_EQ(*parse_cpu("0." + std::string(100'000, '0') + "1"), MilliCpu{0})
      << "beyond what a number holds";
}

TEST(ParseCpu, RefusesWhatIsNoQuantity) {
  for (const std::string_view text :
       {"", ".", "m", "-1", "1..2", "1.2.3", "1x", "1 ", "1mm", "1Kib", "1e", "1ki", "four"}) {
    EXPECT_FALSE(parse_cpu(text)) << text;
  }
}

}  // namespace
}  // namespace fairlead::kube
