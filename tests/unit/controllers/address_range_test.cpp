#include "controllers/address_range.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead::controllers {
namespace {

std::string read(std::string_view text) {
  const auto range = parse_address_range(text);
  return range ? range->to_string() : "error: " + range.error().message;
}

TEST(AddressRange, ReadsPrefixesRangesAndSingleAddresses) {
  struct Row {
    std::string text, range;
  };
  const Row rows[] = {
      {.text = "192.0.2.0/28", .range = "192.0.2.1-192.0.2.14"},
      {.text = "192.0.2.0/30", .range = "192.0.2.1-192.0.2.2"},
      {.text = "192.0.2.0/31", .range = "192.0.2.0-192.0.2.1"},
      {.text = "192.0.2.7/32", .range = "192.0.2.7"},
      {.text = " 192.0.2.7 ", .range = "192.0.2.7"},
      {.text = "192.0.2.0-192.0.2.15", .range = "192.0.2.0-192.0.2.15"},
      {.text = "2001:db8::/126", .range = "2001:db8::1-2001:db8::3"},
      {.text = "2001:db8::/127", .range = "2001:db8::-2001:db8::1"},
      {.text = "2001:db8::-2001:db8::ff", .range = "2001:db8::-2001:db8::ff"},
      {.text = "192.0.2.9-192.0.2.1",
       .range = "error: address range \"192.0.2.9-192.0.2.1\": 192.0.2.9 is above 192.0.2.1"},
      {.text = "192.0.2.9-2001:db8::1",
       .range = "error: address range \"192.0.2.9-2001:db8::1\": 192.0.2.9 and 2001:db8::1 are of "
                "different families"},
  };
  for (const Row& row : rows) EXPECT_EQ(read(row.text), row.range);
  for (const char* wrong : {"", "-", "192.0.2.1/28", "192.0.2.0/33", "192.0.2.0-", "pool"})
    EXPECT_TRUE(read(wrong).starts_with("error: ")) << wrong << " is " << read(wrong);
}

TEST(AddressRange, RangesThatOverlapAreRefused) {
  const std::vector<std::string> overlapping{"192.0.2.0/28", "2001:db8::/64", "192.0.2.14"};
  EXPECT_THAT(
      parse_address_ranges(overlapping),
      FailsWith(ErrorCode::Invalid, "address ranges 192.0.2.1-192.0.2.14 and 192.0.2.14 overlap"));
  const std::vector<std::string> apart{"192.0.2.0/28", "192.0.2.15"};
  EXPECT_EQ(parse_address_ranges(apart)->size(), 2U);
}

}  // namespace
}  // namespace fairlead::controllers
