#include <gtest/gtest.h>

#include "kube/codec.hpp"
#include "support/result.hpp"

namespace fairlead::kube {
namespace {

using Documents = std::vector<std::string>;

TEST(Manifest, EachDocumentBecomesOneJsonText) {
  const struct {
    std::string_view name, text;
    Documents documents;
  } rows[] = {
      {"nothing", "", {}},
      {"comments only", "# one\n---\n# two\n", {}},
      {"two documents",
       "kind: Service\n---\nkind: Pod\n",
       {R"({"kind":"Service"})", R"({"kind":"Pod"})"}},
      {"empty documents between", "---\n---\nkind: Pod\n---\n...\n---\n", {R"({"kind":"Pod"})"}},
      {"comments within",
       "# head\nkind: Pod # tail\nspec: {} # more\n",
       {R"({"kind":"Pod","spec":{}})"}},
      {"CRLF lines",
       "kind: Pod\r\nmetadata:\r\n  name: a\r\n",
       {R"({"kind":"Pod","metadata":{"name":"a"}})"}},
      {"JSON",
       R"({"kind": "Pod", "n": [1, true, null, "x\n\u00e4"]})",
       {"{\"kind\":\"Pod\",\"n\":[1,true,null,\"x\\n\xc3\xa4\"]}"}},
      {"a List stays one document",
       "kind: List\nitems:\n- kind: Pod\n- kind: Service\n",
       {R"({"kind":"List","items":[{"kind":"Pod"},{"kind":"Service"}]})"}},
      {"order of members is kept", "z: 1\na: 2\n", {R"({"z":1,"a":2})"}},
      {"block scalars",
       "a: |\n  one\n  two\nb: >-\n  three\n  four\n",
       {R"({"a":"one\ntwo\n","b":"three four"})"}},
      {"aliases", "a: &x {b: 1}\nc: *x\n", {R"({"a":{"b":1},"c":{"b":1}})"}},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(manifest_documents(row.text), Holds(row.documents)) << row.name;
  }
}

TEST(Manifest, PlainScalarsAreWhatYaml11Says) {
  const struct {
    std::string_view yaml, json;
  } rows[] = {
      {"yes", "true"},
      {"On", "true"},
      {"y", "true"},
      {"no", "false"},
      {"OFF", "false"},
      {"yES", R"("yES")"},
      {"~", "null"},
      {"null", "null"},
      {"", "null"},
      {"'yes'", R"("yes")"},
      {"\"80\"", R"("80")"},
      {"!!str 80", R"("80")"},
      {"80", "80"},
      {"-80", "-80"},
      {"+80", "80"},
      {"010", "8"},
      {"-010", "-8"},
      {"0x1F", "31"},
      {"08", "8"},  // no octal digit: Go's parser falls through to a float
      {"1.5", "1.5"},
      {"80.0", "80"},
      {"1e3", "1000"},
      {".5", "0.5"},
      {"18446744073709551615", "18446744073709551615"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"-12301487489706298837", "-1.23014874897063e+19"},  // no 64-bit number: a real one
      {"99999999999999999999", "1e+20"},
      {"1.2.3.4", R"("1.2.3.4")"},
      {"10.0.0.0/8", R"("10.0.0.0/8")"},
      {"80:8080", R"("80:8080")"},
      {"::1", R"("::1")"},
      {"1Gi", R"("1Gi")"},
      {"abc", R"("abc")"},
      {"e5", R"("e5")"},
      {"--5", R"("--5")"},
      {"+-5", R"("+-5")"},
      {"0x", R"("0x")"},
      {"-0x-1", R"("-0x-1")"},
      {"1-2", R"("1-2")"},
      {"1e400", R"("1e400")"},
      {".inf", R"(".inf")"},
      {"nan", R"("nan")"},
      {"2026-11-23", R"("2026-11-23")"},
  };
  for (const auto& row : rows) {
    const std::string text = fmt::format("v: {}\n", row.yaml);
    EXPECT_THAT(manifest_documents(text), Holds(Documents{fmt::format(R"({{"v":{}}})", row.json)}))
        << row.yaml;
  }
}

TEST(Manifest, ErrorsNameLineAndKey) {
  const struct {
    std::string_view text, message;
  } rows[] = {
      {"a: 1\nb: 2\na: 3\n", R"(line 3: key "a" is given twice)"},
      {"a: 1\n? [x]\n: 2\n", "line 2: a key is not a scalar"},
      {"a: 1\nb: [1\n", "line 3: end of sequence flow not found"},
      {"a: 1\n\tb: 2\n", "line 2: illegal tab when looking for indentation"},
      {"a: 1\nb: \"\xff\"\n", "line 2: not UTF-8"},
      {"a: 1\n\xd7: 1\n", "line 2: not UTF-8"},
      {"a: *x\n", "line 1: the referenced anchor is not defined"},
      {"kind: Pod\n---\na: 1\n b: 2\n", "line 4: illegal map value"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(manifest_documents(row.text),
                FailsWith(ErrorCode::BadRequest, std::string(row.message)));
  }
}

// yaml-cpp alone would find documents for ever after a stray comma.
TEST(Manifest, TextThatNeverEndsIsRefused) {
  for (const std::string_view text : {",", ", a: b\n", "kind: Pod\n---\n,\n", "kind: Pod\n]\n"}) {
    const auto documents = manifest_documents(text);
    EXPECT_FALSE(documents) << text;
    if (documents) continue;
    EXPECT_EQ(documents.error().code, ErrorCode::BadRequest) << text;
    EXPECT_THAT(documents.error().message, testing::StartsWith("line ")) << text;
  }
}

TEST(Manifest, DepthAndAliasBombsAreRefused) {
  const auto nested = [](std::size_t depth) {
    return manifest_documents(std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_TRUE(nested(100));
  EXPECT_THAT(nested(102), FailsWith(ErrorCode::BadRequest, "line 1: nested too deeply"));

  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 8; ++i) {
    bomb +=
        fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  }
  const auto refused = manifest_documents(bomb);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::BadRequest);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("once its aliases are expanded"));
}

}  // namespace
}  // namespace fairlead::kube
