#include "kube/selector.hpp"

#include <gtest/gtest.h>

#include "support/result.hpp"

namespace fairlead::kube {
namespace {

using Op = LabelRequirement::Op;
using Requirements = std::vector<LabelRequirement>;

LabelSelector selector(std::string_view text) { return LabelSelector::parse(text).value(); }

TEST(LabelSelector, TextBecomesRequirements) {
  const struct {
    std::string_view text;
    Requirements requirements;
  } rows[] = {
      {"", {}},
      {"  ", {}},
      {"app=web", {{"app", Op::Equals, {"web"}}}},
      {"app==web", {{"app", Op::Equals, {"web"}}}},
      {" app = web ", {{"app", Op::Equals, {"web"}}}},
      {"app!=web", {{"app", Op::NotEquals, {"web"}}}},
      {"app=", {{"app", Op::Equals, {""}}}},
      {"app!=", {{"app", Op::NotEquals, {""}}}},
      {"app", {{"app", Op::Exists, {}}}},
      {"!app", {{"app", Op::NotExists, {}}}},
      {"! app", {{"app", Op::NotExists, {}}}},
      {"app in (b,a, b)", {{"app", Op::In, {"a", "b"}}}},
      {"app in(a)", {{"app", Op::In, {"a"}}}},
      {"app notin (a)", {{"app", Op::NotIn, {"a"}}}},
      {"app in ()", {{"app", Op::In, {""}}}},
      {"app in (,a)", {{"app", Op::In, {"", "a"}}}},
      {"n>5", {{"n", Op::Greater, {"5"}}}},
      {"n<-5", {{"n", Op::Less, {"-5"}}}},
      {"kubernetes.io/name=a_B.c-9", {{"kubernetes.io/name", Op::Equals, {"a_B.c-9"}}}},
      {"in=in,notin in (notin)", {{"in", Op::Equals, {"in"}}, {"notin", Op::In, {"notin"}}}},
      {"a=1,!b,c", {{"a", Op::Equals, {"1"}}, {"b", Op::NotExists, {}}, {"c", Op::Exists, {}}}},
  };
  for (const auto& row : rows) {
    const auto parsed = LabelSelector::parse(row.text);
    ASSERT_TRUE(parsed) << row.text << ": " << parsed.error().message;
    EXPECT_EQ(parsed->requirements(), row.requirements) << row.text;
    EXPECT_EQ(parsed->empty(), row.requirements.empty()) << row.text;
  }
}

TEST(LabelSelector, ErrorsNameTheOffendingPart) {
  const std::string long_name(64, 'a');
  const struct {
    std::string text, why;
  } rows[] = {
      {",", "found ',', expected a key"},
      {"a,", "found '', expected a key"},
      {"a,,b", "found ',', expected a key"},
      {"=a", "found '=', expected a key"},
      {"!", "found '', expected a key"},
      {"!a=b", "found '=', expected ','"},
      {"a b", "found 'b', expected one of =, ==, !=, in, notin, >, <"},
      {"a=b c", "found 'c', expected ','"},
      {"a=b=c", "found '=', expected ','"},
      {"a in b", "expected '(' after in or notin"},
      {"a in (b", "expected ')' or ','"},
      {"a in (b c)", "expected ')' or ','"},
      {"a>x", "\"x\" is not an integer"},
      {"a>", "\"\" is not an integer"},
      {"-a=b", "\"-a\" is not a label key"},
      {"/a=b", "\"/a\" is not a label key"},
      {"a/=b", "\"a/\" is not a label key"},
      {"A.b/c=d", "\"A.b/c\" is not a label key"},
      {"a/b/c=d", "\"a/b/c\" is not a label key"},
      {"a=-b", "\"-b\" is not a label value"},
      {"a=b/c", "\"b/c\" is not a label value"},
      {"a in (b,-c)", "\"-c\" is not a label value"},
      {long_name, "\"" + long_name + "\" is not a label key"},
      {"a=" + long_name, "\"" + long_name + "\" is not a label value"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(
        LabelSelector::parse(row.text),
        FailsWith(ErrorCode::BadRequest,
                  fmt::format("unable to parse label selector \"{}\": {}", row.text, row.why)));
  }
}

TEST(LabelSelector, MatchesWhatEveryRequirementAllows) {
  const StringMap labels{{"app", "web"}, {"tier", ""}, {"n", "7"}};
  const struct {
    std::string_view text;
    bool matches;
  } rows[] = {
      {"", true},
      {"app=web", true},
      {"app=db", false},
      {"app=web,app=db", false},
      {"app!=db", true},
      {"app!=web", false},
      {"absent!=x", true},  // as in Kubernetes: a missing label is not equal
      {"absent=", false},   // and has no value, not the empty one
      {"tier=", true},
      {"tier!=", false},
      {"app in (db,web)", true},
      {"app in (db)", false},
      {"absent in ()", false},
      {"app notin (db)", true},
      {"app notin (db,web)", false},
      {"absent notin (x)", true},
      {"app", true},
      {"absent", false},
      {"!absent", true},
      {"!app", false},
      {"n>6", true},
      {"n>7", false},
      {"n<8", true},
      {"n<7", false},
      {"app>1", false},  // not a number
      {"absent<1", false},
      {"app=web,!absent,n>6", true},
      {"App=web", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(selector(row.text).matches(labels), row.matches) << row.text;
  }
}

TEST(LabelSelector, OfAServiceIsItsPairs) {
  const LabelSelector pairs = LabelSelector::match_all({{"app", "web"}, {"tier", "x y"}});
  EXPECT_EQ(pairs.requirements(),
            (Requirements{{"app", Op::Equals, {"web"}}, {"tier", Op::Equals, {"x y"}}}));
  EXPECT_TRUE(pairs.matches({{"app", "web"}, {"tier", "x y"}, {"more", ""}}));
  EXPECT_FALSE(pairs.matches({{"app", "web"}}));
  EXPECT_TRUE(LabelSelector::match_all({}).empty());
}

TEST(FieldSelector, TextBecomesTerms) {
  const struct {
    std::string_view text;
    std::vector<FieldTerm> terms;
  } rows[] = {
      {"", {}},
      {"metadata.name=a", {{"metadata.name", "a", false}}},
      {"metadata.name==a", {{"metadata.name", "a", false}}},
      {"status.phase!=Running", {{"status.phase", "Running", true}}},
      {"spec.nodeName=", {{"spec.nodeName", "", false}}},
      {"a=1,b!=2", {{"a", "1", false}, {"b", "2", true}}},
      {"a=1,", {{"a", "1", false}}},
      {R"(a=x\,y\=z\\)", {{"a", R"(x,y=z\)", false}}},
      {"a=b!c", {{"a", "b!c", false}}},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(parse_field_selector(row.text), Holds(row.terms)) << row.text;
  }
}

TEST(FieldSelector, ErrorsNameTheOffendingPart) {
  const struct {
    std::string_view text, message;
  } rows[] = {
      {"a", R"(invalid field selector "a": no operator in "a")"},
      {"a=1,b", R"(invalid field selector "a=1,b": no operator in "b")"},
      {"a=b=c", R"(invalid field selector: unescaped '=' in value "b=c")"},
      {R"(a=\x)", R"(invalid field selector: bad escape in "\x")"},
      {R"(a=\)", R"(invalid field selector: bad escape in "\")"},
  };
  for (const auto& row : rows) {
    EXPECT_THAT(parse_field_selector(row.text),
                FailsWith(ErrorCode::BadRequest, std::string(row.message)));
  }
}

}  // namespace
}  // namespace fairlead::kube
