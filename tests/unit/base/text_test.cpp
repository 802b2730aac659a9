#include "base/text.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace fairlead {
namespace {

using namespace std::string_view_literals;

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TEST(Split, KeepsEmptyParts) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split("a,b,,c", ','), (Parts{"a", "b", "", "c"}));
  EXPECT_EQ(split("", ','), (Parts{""}));
  EXPECT_EQ(split(",", ','), (Parts{"", ""}));
  EXPECT_EQ(split("abc", ','), (Parts{"abc"}));
}

TEST(Trim, TakesBlanksOffBothEndsOnly) {
  EXPECT_EQ(trim(" \t\r\n a b \n"), "a b");
  EXPECT_EQ(trim(" \t"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("a"), "a");
  EXPECT_EQ(trim("\v"), "\v");
}

TEST(AsciiCase, LeavesOtherBytesAlone) {
  EXPECT_EQ(to_lower_ascii("AbZ-[@`{\xc3\x84"), "abz-[@`{\xc3\x84");
  EXPECT_TRUE(equals_ignore_case("Content-Type", "content-tYPE"));
  EXPECT_FALSE(equals_ignore_case("a", "ab"));
  EXPECT_FALSE(equals_ignore_case("[", "{"));
  EXPECT_FALSE(equals_ignore_case("\xc3\x84", "\xc3\xa4"));
}

TEST(ParseNumber, TakesWholeDecimalTextsOnly) {
  using Unsigned = std::optional<std::uint64_t>;
  using Signed = std::optional<std::int64_t>;
  const struct {
    std::string_view text;
    Unsigned as_uint;
    Signed as_int;
  } rows[] = {
      {"0", 0, 0},
      {"007", 7, 7},
      {"9223372036854775807", 9223372036854775807U, std::numeric_limits<std::int64_t>::max()},
      {"9223372036854775808", 9223372036854775808U, std::nullopt},
      {"18446744073709551615", std::numeric_limits<std::uint64_t>::max(), std::nullopt},
      {"18446744073709551616", std::nullopt, std::nullopt},
      {"-5", std::nullopt, -5},
      {"-9223372036854775808", std::nullopt, std::numeric_limits<std::int64_t>::min()},
      {"+5", std::nullopt, std::nullopt},
      {"", std::nullopt, std::nullopt},
      {"-", std::nullopt, std::nullopt},
      {" 5", std::nullopt, std::nullopt},
      {"5 ", std::nullopt, std::nullopt},
      {"5.0", std::nullopt, std::nullopt},
      {"0x5", std::nullopt, std::nullopt},
      {"5\0"sv, std::nullopt, std::nullopt},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(parse_uint(row.text), row.as_uint) << row.text;
    EXPECT_EQ(parse_int(row.text), row.as_int) << row.text;
  }
}

TEST(Base64, AgreesWithTheVectorsOfRfc4648) {
  const struct {
    std::string_view plain, encoded;
  } rows[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\xfb\xff\xfe"sv, "+//+"},
      {"\0\0"sv, "AAA="},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(base64_encode(bytes_of(row.plain)), row.encoded);
    EXPECT_EQ(base64_decode(row.encoded), std::optional(std::string(row.plain))) << row.encoded;
  }
}

TEST(Base64Url, HasNoPaddingAndItsOwnTwoLetters) {
  const std::string bytes("\xfb\xff\xfe\x01", 4);
  const std::string text =
      base64url_encode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  EXPECT_EQ(text, "-__-AQ");
  EXPECT_EQ(base64url_decode(text), bytes);
  for (const std::string_view broken : {"+/==", "-__-AQ==", "a", "a b"})
    EXPECT_EQ(base64url_decode(broken), std::nullopt) << broken;
}

TEST(Base64, RefusesBrokenText) {
  for (const std::string_view text :
       {"Z"sv, "Zg"sv, "Zg="sv, "Zm9vY"sv, "="sv, "===="sv, "Z==="sv, "Zg=a"sv, "Zg==Zg=="sv,
        "Zm9-"sv, "Zm9_"sv, "Zm 9"sv, "Zm9v\n"sv, "Zm\0v"sv}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
}

TEST(Hex, IsLowerCaseWithTwoDigitsAByte) {
  EXPECT_EQ(hex_encode(bytes_of("\x00\x0f\xa0\xff"sv)), "000fa0ff");
  EXPECT_EQ(hex_encode({}), "");
}

TEST(Dns1123, LabelsAndSubdomainsEndWhereTheRfcSays) {
  const std::string label63(63, 'a'), label64(64, 'a');
  const std::string name253 = label63 + "." + label63 + "." + label63 + "." + std::string(61, 'a');
  const struct {
    std::string name, text;
    bool label, subdomain;
  } rows[] = {
      {"one letter", "a", true, true},
      {"digits first", "1a", true, true},
      {"digits only", "10", true, true},
      {"dash within", "a-b", true, true},
      {"dash first", "-a", false, false},
      {"dash last", "a-", false, false},
      {"upper case", "A", false, false},
      {"underscore", "a_b", false, false},
      {"umlaut", "\xc3\xa4", false, false},
      {"empty", "", false, false},
      {"dotted", "a.b", false, true},
      {"dot first", ".a", false, false},
      {"dot last", "a.", false, false},
      {"two dots", "a..b", false, false},
      {"dash at a dot", "a-.b", false, false},
      {"63 characters", label63, true, true},
      {"64 characters", label64, false, true},  // a subdomain's parts are not limited, as in the
                                                // API
      {"253 characters", name253, false, true},
      {"254 characters", name253 + "a", false, false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(is_dns1123_label(row.text), row.label) << row.name;
    EXPECT_EQ(is_dns1123_subdomain(row.text), row.subdomain) << row.name;
  }
}

}  // namespace
}  // namespace fairlead
