#include "apiserver/field_set.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <random>

namespace fairlead::apiserver {
namespace {

boost::json::value json(std::string_view text) {
  return boost::json::parse(boost::json::string_view(text.data(), text.size()));
}
FieldSet set(std::string_view text) {
  auto parsed = FieldSet::parse(json(text));
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed ? *std::move(parsed) : FieldSet();
}
std::string text(const FieldSet& of) { return boost::json::serialize(of.to_json()); }

TEST(FieldSet, PrintsWhatItParsedInCanonicalForm) {
  struct Case {
    std::string name, from, to;
  };
  const std::vector<Case> cases = {
      {"nothing", "{}", "{}"},
      {"sorted", R"({"f:b":{},"f:a":{}})", R"({"f:a":{},"f:b":{}})"},
      {"an element and what is below", R"({"f:a":{"f:b":{},".":{}}})",
       R"({"f:a":{".":{},"f:b":{}}})"},
      {"only what is below", R"({"f:a":{"f:b":{}}})", R"({"f:a":{"f:b":{}}})"},
      {"only itself, said twice", R"({"f:a":{".":{}}})", R"({"f:a":{}})"},
      {"keys sorted by name", R"({"k:{\"protocol\":\"TCP\", \"port\":80}":{}})",
       R"({"k:{\"port\":80,\"protocol\":\"TCP\"}":{}})"},
      {"the same keys twice are one",
       R"({"k:{\"a\":1,\"b\":2}":{},"k:{\"b\":2,\"a\":1}":{"f:x":{}}})",
       R"({"k:{\"a\":1,\"b\":2}":{".":{},"f:x":{}}})"},
      {"values", R"({"v:\"x\"":{},"v:1":{},"v:true":{}})",
       R"({"v:\"x\"":{},"v:1":{},"v:true":{}})"},
      {"indices", R"({"i:10":{}})", R"({"i:10":{}})"},
      {"names of any kind", R"({"f:a/b.c:d":{},"f:":{}})", R"({"f:":{},"f:a/b.c:d":{}})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(text(set(c.from)), c.to);
    EXPECT_EQ(set(c.to), set(c.from));
  }
}

TEST(FieldSet, RefusesWhatIsNoFieldsV1) {
  for (const std::string_view hostile : {"[]",
                                         "1",
                                         R"({"a":{}})",
                                         R"({"":{}})",
                                         R"({"f":{}})",
                                         R"({"x:a":{}})",
                                         R"({"f:a":1})",
                                         R"({"f:a":{"f:b":null}})",
                                         R"({"k:":{}})",
                                         R"({"k:{}":{}})",
                                         R"({"k:[]":{}})",
                                         R"({"k:{\"a\":{}}":{}})",
                                         R"({"k:{\"a\":[1]}":{}})",
                                         R"({"k:{":{}})",
                                         R"({"k:{\"port\":2e60}":{}})",
                                         R"({"v:":{}})",
                                         R"({"v:[1.5]":{}})",
                                         R"({"v:nope":{}})",
                                         R"({"v:[[[[[[[[[[1]]]]]]]]]]":{}})",
                                         R"({"i:":{}})",
                                         R"({"i:-1":{}})",
                                         R"({"i:x":{}})",
                                         R"({"i:99999999999999999999":{}})"}) {
    const auto parsed = FieldSet::parse(json(hostile));
    ASSERT_FALSE(parsed.has_value()) << hostile;
    EXPECT_EQ(parsed.error().code, 400u) << hostile;
  }
}

TEST(FieldSet, BoundsItsDepth) {
  const auto nested = [](int levels) {
    boost::json::value out = boost::json::object{};
    for (int i = 0; i < levels; ++i) out = boost::json::object{{"f:a", std::move(out)}};
    return out;
  };
  EXPECT_TRUE(FieldSet::parse(nested(63)).has_value());
  EXPECT_FALSE(FieldSet::parse(nested(64)).has_value());
  EXPECT_FALSE(FieldSet::parse(nested(2000)).has_value());
}

TEST(FieldSet, CombinesAsSetsOfPaths) {
  struct Case {
    std::string name, a, b, either, both, only_a, outside_b;
  };
  const std::vector<Case> cases = {
      {.name = "disjoint",
       .a = R"({"f:a":{}})",
       .b = R"({"f:b":{}})",
       .either = R"({"f:a":{},"f:b":{}})",
       .both = "{}",
       .only_a = R"({"f:a":{}})",
       .outside_b = R"({"f:a":{}})"},
      {.name = "a place and one below it",
       .a = R"({"f:a":{"f:x":{}}})",
       .b = R"({"f:a":{}})",
       .either = R"({"f:a":{".":{},"f:x":{}}})",
       .both = "{}",
       .only_a = R"({"f:a":{"f:x":{}}})",
       .outside_b = "{}"},
      {.name = "both own the element",
       .a = R"({"f:a":{".":{},"f:x":{}}})",
       .b = R"({"f:a":{".":{},"f:y":{}}})",
       .either = R"({"f:a":{".":{},"f:x":{},"f:y":{}}})",
       .both = R"({"f:a":{}})",
       .only_a = R"({"f:a":{"f:x":{}}})",
       .outside_b = "{}"},
      {.name = "siblings below",
       .a = R"({"f:a":{"f:x":{},"f:y":{}}})",
       .b = R"({"f:a":{"f:y":{}}})",
       .either = R"({"f:a":{"f:x":{},"f:y":{}}})",
       .both = R"({"f:a":{"f:y":{}}})",
       .only_a = R"({"f:a":{"f:x":{}}})",
       .outside_b = R"({"f:a":{"f:x":{}}})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const FieldSet a = set(c.a), b = set(c.b);
    EXPECT_EQ(text(a.union_with(b)), c.either);
    EXPECT_EQ(text(a.intersection(b)), c.both);
    EXPECT_EQ(text(a.difference(b)), c.only_a);
    EXPECT_EQ(text(a.without_subtrees(b)), c.outside_b);
  }
}

TEST(FieldSet, NamesItsPathsAsMessagesDo) {
  const FieldSet fields = set(
      R"({"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:targetPort":{}}},)"
      R"("f:x":{"i:3":{}}},"f:metadata":{"f:finalizers":{"v:\"a/b\"":{}}}})");
  std::vector<std::string> texts;
  for (const FieldPath& path : fields.paths()) {
    EXPECT_TRUE(fields.contains(path));
    texts.push_back(path_text(path));
  }
  EXPECT_EQ(texts, (std::vector<std::string>{
                       R"(.metadata.finalizers[="a/b"])", R"(.spec.ports[port=80,protocol="TCP"])",
                       R"(.spec.ports[port=80,protocol="TCP"].targetPort)", ".spec.x[3]"}));
}

TEST(FieldSet, TakesInWhatItsPlacesLieIn) {
  EXPECT_EQ(
      text(set(R"({"f:spec":{"f:a":{"f:b":{}},"f:l":{"k:{\"n\":1}":{"f:x":{}}}}})")
               .with_containers()),
      R"({"f:spec":{".":{},"f:a":{".":{},"f:b":{}},"f:l":{".":{},"k:{\"n\":1}":{"f:x":{}}}}})");
}

// Sets of a small alphabet, so that they often share paths.
FieldSet some_set(std::mt19937& random) {
  FieldSet out;
  const auto below = [&random](unsigned n) { return random() % n; };
  for (auto i = below(8); i > 0; --i) {
    FieldPath path;
    for (auto length = 1 + below(4); length > 0; --length)
      path.push_back(field_element(std::string(1, static_cast<char>('a' + below(3)))));
    out.insert(path);
  }
  return out;
}

TEST(FieldSet, ObeysTheLawsOfSets) {
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same cases every time
  for (int i = 0; i < 2000; ++i) {
    const FieldSet a = some_set(random), b = some_set(random), c = some_set(random);
    SCOPED_TRACE(text(a) + " " + text(b) + " " + text(c));
    EXPECT_EQ(a.union_with(b), b.union_with(a));
    EXPECT_EQ(a.union_with(b).union_with(c), a.union_with(b.union_with(c)));
    EXPECT_EQ(a.union_with(a), a);
    EXPECT_EQ(a.intersection(b), b.intersection(a));
    EXPECT_EQ(a.intersection(b.union_with(c)), a.intersection(b).union_with(a.intersection(c)));
    EXPECT_EQ(a.difference(b).union_with(a.intersection(b)), a);
    EXPECT_TRUE(a.difference(b).intersection(b).empty());
    EXPECT_EQ(a.difference(b.union_with(c)), a.difference(b).difference(c));
    EXPECT_EQ(a.without_subtrees(b).difference(a), FieldSet());
    EXPECT_EQ(set(text(a)), a);
    for (const FieldPath& path : a.paths()) {
      EXPECT_EQ(a.difference(b).contains(path), !b.contains(path));
      EXPECT_EQ(a.intersection(b).contains(path), b.contains(path));
    }
  }
}

}  // namespace
}  // namespace fairlead::apiserver
