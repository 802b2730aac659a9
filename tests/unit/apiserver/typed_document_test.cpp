#include "apiserver/typed_document.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace fairlead::apiserver {
namespace {

Document document(std::string_view text) {
  return boost::json::parse(boost::json::string_view(text.data(), text.size())).get_object();
}
std::string text(const FieldSet& of) { return boost::json::serialize(of.to_json()); }
std::string text(const Document& of) { return boost::json::serialize(of); }

// Ports keyed as a Service's are, a set, an atomic list and map, a granular map, anything.
const Schema& sample() {
  static const Schema schema = Schema::parse(
      "{metadata:{labels:m} ports:[port,protocol=TCP]{port:i protocol:s name:s} tags:[=]s "
      "names:[]s selector:!m options:{a:s inner:{b:s}} owners:[uid]!{uid:s kind:s} free:any}");
  return schema;
}

TEST(TypedDocument, NamesThePlacesOfAConfiguration) {
  struct Case {
    std::string name, config, fields;
  };
  const std::vector<Case> cases = {
      {"members of objects and maps", R"({"metadata":{"labels":{"a":"1"}},"options":{"a":"x"}})",
       R"({"f:metadata":{"f:labels":{"f:a":{}}},"f:options":{"f:a":{}}})"},
      {"empty ones are places themselves", R"({"metadata":{"labels":{}},"ports":[]})",
       R"({"f:metadata":{"f:labels":{}},"f:ports":{}})"},
      {"elements by their keys, with their default", R"({"ports":[{"port":80,"name":"a"}]})",
       R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}}})"},
      {"elements of sets", R"({"tags":["b","a"]})", R"({"f:tags":{"v:\"a\"":{},"v:\"b\"":{}}})"},
      {"atomic ones", R"({"names":["a"],"selector":{"a":"1"},"owners":[{"uid":"u","kind":"K"}]})",
       R"({"f:names":{},"f:owners":{"k:{\"uid\":\"u\"}":{}},"f:selector":{}})"},
      {"anything: objects have members, lists are one", R"({"free":{"x":{"y":1},"z":[1]}})",
       R"({"f:free":{"f:x":{"f:y":{}},"f:z":{}}})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = fields_of(sample(), document(c.config));
    ASSERT_TRUE(got.has_value()) << got.error().message;
    EXPECT_EQ(text(*got), c.fields);
  }
}

TEST(TypedDocument, RefusesListsWhoseElementsHaveNoNamesOfTheirOwn) {
  for (const std::string_view config :
       {R"({"ports":[{"protocol":"TCP"}]})", R"({"ports":[{"port":80},{"port":80}]})",
        R"({"ports":[{"port":80},{"port":80,"protocol":"TCP"}]})", R"({"tags":["a","a"]})"}) {
    const auto got = fields_of(sample(), document(config));
    ASSERT_FALSE(got.has_value()) << config;
    EXPECT_EQ(got.error().code, 400u);
  }
}

TEST(TypedDocument, TellsInWhatTwoDiffer) {
  struct Case {
    std::string name, before, after;
    std::string added = "{}", changed = "{}", removed = "{}";
  };
  const std::vector<Case> cases = {
      {.name = "nothing",
       .before = R"({"options":{"a":"x"}})",
       .after = R"({"options":{"a":"x"}})"},
      {.name = "a scalar",
       .before = R"({"options":{"a":"x"}})",
       .after = R"({"options":{"a":"y"}})",
       .changed = R"({"f:options":{"f:a":{}}})"},
      {.name = "a new object is there itself",
       .before = "{}",
       .after = R"({"options":{"inner":{"b":"x"}}})",
       .added = R"({"f:options":{".":{},"f:inner":{".":{},"f:b":{}}}})"},
      {.name = "but metadata always is",
       .before = "{}",
       .after = R"({"metadata":{"labels":{"a":"1"}}})",
       .added = R"({"f:metadata":{"f:labels":{".":{},"f:a":{}}}})"},
      {.name = "also when it is empty", .before = "{}", .after = R"({"metadata":{}})"},
      {.name = "an element moves",
       .before = R"({"tags":["a","b"]})",
       .after = R"({"tags":["b","a"]})"},
      {.name = "an element comes, one goes",
       .before = R"({"ports":[{"port":80}]})",
       .after = R"({"ports":[{"port":81,"protocol":"TCP"}]})",
       .added =
           R"({"f:ports":{"k:{\"port\":81,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:protocol":{}}}})",
       .removed = R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}})"},
      {.name = "a default that is said",
       .before = R"({"ports":[{"port":80}]})",
       .after = R"({"ports":[{"port":80,"protocol":"TCP"}]})",
       .added = R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:protocol":{}}}})"},
      {.name = "an atomic list",
       .before = R"({"names":["a"]})",
       .after = R"({"names":["b"]})",
       .changed = R"({"f:names":{}})"},
      {.name = "two of the same key are one place",
       .before = R"({"ports":[{"port":1},{"port":1}]})",
       .after = R"({"ports":[{"port":1}]})",
       .changed = R"({"f:ports":{"k:{\"port\":1,\"protocol\":\"TCP\"}":{}}})"},
      {.name = "emptied",
       .before = R"({"options":{"a":"x"}})",
       .after = R"({"options":{}})",
       .removed = R"({"f:options":{"f:a":{}}})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Differences got = differences(sample(), document(c.before), document(c.after));
    EXPECT_EQ(text(got.added), c.added);
    EXPECT_EQ(text(got.changed), c.changed);
    EXPECT_EQ(text(got.removed), c.removed);
  }
}

TEST(TypedDocument, MergesPlaceByPlace) {
  struct Case {
    std::string name, live, config, merged;
  };
  const std::vector<Case> cases = {
      {"members", R"({"options":{"a":"x","inner":{"b":"1"}}})", R"({"options":{"a":"y"}})",
       R"({"options":{"a":"y","inner":{"b":"1"}}})"},
      {"elements by key", R"({"ports":[{"port":80,"name":"a"},{"port":81}]})",
       R"({"ports":[{"port":80,"protocol":"TCP"}]})",
       R"({"ports":[{"port":80,"name":"a","protocol":"TCP"},{"port":81}]})"},
      {"in the order of the configuration, the others at their place",
       R"({"tags":["other","a","b","last"]})", R"({"tags":["b","new","a"]})",
       R"({"tags":["other","b","new","a","last"]})"},
      {"atomic ones are replaced", R"({"names":["a"],"selector":{"a":"1"}})",
       R"({"names":["b"],"selector":{"b":"2"}})", R"({"names":["b"],"selector":{"b":"2"}})"},
      {"several of one key give way to one", R"({"ports":[{"port":1,"name":"a"},{"port":1}]})",
       R"({"ports":[{"port":1,"name":"b"}]})", R"({"ports":[{"port":1,"name":"b"}]})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Document config = document(c.config);
    const Document once = merged_document(sample(), document(c.live), config);
    EXPECT_EQ(text(once), c.merged);
    EXPECT_EQ(text(merged_document(sample(), once, config)), c.merged);
  }
}

TEST(TypedDocument, RemovesPlacesAndWhatThatEmpties) {
  struct Case {
    std::string name, from, removed, left;
  };
  const std::vector<Case> cases = {
      {"a member", R"({"options":{"a":"x","inner":{"b":"1"}}})", R"({"f:options":{"f:a":{}}})",
       R"({"options":{"inner":{"b":"1"}}})"},
      {"the last one", R"({"options":{"inner":{"b":"1"}},"names":[]})",
       R"({"f:options":{"f:inner":{"f:b":{}}}})", R"({"names":[]})"},
      {"an element", R"({"ports":[{"port":80},{"port":81}]})",
       R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}})", R"({"ports":[{"port":81}]})"},
      {"a member of an element", R"({"ports":[{"port":80,"name":"a"}]})",
       R"({"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:name":{}}}})",
       R"({"ports":[{"port":80}]})"},
      {"what is not there", R"({"tags":["a"]})", R"({"f:tags":{"v:\"b\"":{}},"f:free":{}})",
       R"({"tags":["a"]})"},
      {"nothing below atomic ones", R"({"selector":{"a":"1"}})", R"({"f:selector":{"f:a":{}}})",
       R"({"selector":{"a":"1"}})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto removed = FieldSet::parse(document(c.removed));
    ASSERT_TRUE(removed.has_value());
    EXPECT_EQ(text(without_fields(sample(), document(c.from), *removed)), c.left);
  }
}

}  // namespace
}  // namespace fairlead::apiserver
