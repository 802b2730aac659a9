#include "apiserver/patch.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace fairlead::apiserver {
namespace {

Document document(std::string_view text) {
  return boost::json::parse(boost::json::string_view(text.data(), text.size())).get_object();
}
boost::json::value json(std::string_view text) {
  return boost::json::parse(boost::json::string_view(text.data(), text.size()));
}

struct Case {
  std::string name, before, patch;
  std::string after;  // empty: refused
  unsigned code = 422;
};

void expect(const Case& c, const ApiResult<Document>& got) {
  SCOPED_TRACE(c.name);
  if (c.after.empty()) {
    ASSERT_FALSE(got.has_value()) << boost::json::serialize(*got);
    EXPECT_EQ(got.error().code, c.code) << got.error().message;
    return;
  }
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(boost::json::serialize(*got), boost::json::serialize(json(c.after)));
}

// Each round nests what is at /m in one more object.
TEST(JsonPatch, CannotMakeADocumentDeeperThanOneThatCanBeRead) {
  const auto nested = [](int rounds) {
    boost::json::array patch;
    for (int i = 0; i < rounds; ++i) {
      for (const char* operation :
           {R"({"op":"add","path":"/n","value":{}})", R"({"op":"move","from":"/m","path":"/n/m"})",
            R"({"op":"move","from":"/n","path":"/m"})"})
        patch.push_back(json(operation));
    }
    return apply_json_patch(document(R"({"m":[[]]})"), patch);
  };
  EXPECT_TRUE(nested(125));
  const auto refused = nested(126);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 422U);
  boost::json::value deep = boost::json::array();
  for (int i = 0; i < 125; ++i) deep = boost::json::array{std::move(deep)};
  const auto copied = apply_json_patch({{"m", std::move(deep)}},
                                       json(R"([{"op":"copy","from":"/m","path":"/m/0/0/-"}])"));
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code, 422U);
}

TEST(JsonPatch, FollowsTheExamplesOfRfc6902) {
  const std::vector<Case> cases = {
      {"A.1 add a member", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])",
       R"({"foo":"bar","baz":"qux"})"},
      {"A.2 add an element", R"({"foo":["bar","baz"]})",
       R"([{"op":"add","path":"/foo/1","value":"qux"}])", R"({"foo":["bar","qux","baz"]})"},
      {"A.3 remove a member", R"({"foo":"bar","baz":"qux"})", R"([{"op":"remove","path":"/baz"}])",
       R"({"foo":"bar"})"},
      {"A.4 remove an element", R"({"foo":["bar","qux","baz"]})",
       R"([{"op":"remove","path":"/foo/1"}])", R"({"foo":["bar","baz"]})"},
      {"A.5 replace", R"({"baz":"qux","foo":"bar"})",
       R"([{"op":"replace","path":"/baz","value":"boo"}])", R"({"baz":"boo","foo":"bar"})"},
      {"A.6 move a member", R"({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}})",
       R"([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}])",
       R"({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}})"},
      {"A.7 move an element", R"({"foo":["all","grass","cows","eat"]})",
       R"([{"op":"move","from":"/foo/1","path":"/foo/3"}])",
       R"({"foo":["all","cows","eat","grass"]})"},
      {"A.8 test: success", R"({"baz":"qux","foo":["a",2,"c"]})",
       R"([{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}])",
       R"({"baz":"qux","foo":["a",2,"c"]})"},
      {"A.9 test: failure", R"({"baz":"qux"})", R"([{"op":"test","path":"/baz","value":"bar"}])",
       ""},
      {"A.10 add a nested object", R"({"foo":"bar"})",
       R"([{"op":"add","path":"/child","value":{"grandchild":{}}}])",
       R"({"foo":"bar","child":{"grandchild":{}}})"},
      {"A.11 unknown members are ignored", R"({"foo":"bar"})",
       R"([{"op":"add","path":"/baz","value":"qux","xyz":123}])", R"({"foo":"bar","baz":"qux"})"},
      {"A.12 add to a missing parent", R"({"foo":"bar"})",
       R"([{"op":"add","path":"/baz/bat","value":"qux"}])", ""},
      {"A.14 escapes", R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":10}])",
       R"({"/":9,"~1":10})"},
      {"A.15 text is no number", R"({"~1":10})", R"([{"op":"test","path":"/~01","value":"10"}])",
       ""},
      {"A.16 append", R"({"foo":["bar"]})",
       R"([{"op":"add","path":"/foo/-","value":["abc","def"]}])",
       R"({"foo":["bar",["abc","def"]]})"},
      {"copy", R"({"a":{"b":1}})", R"([{"op":"copy","from":"/a","path":"/c"}])",
       R"({"a":{"b":1},"c":{"b":1}})"},
      {"index beyond the end", R"({"foo":["bar"]})", R"([{"op":"add","path":"/foo/2","value":1}])",
       ""},
      {"index with a leading zero", R"({"foo":["bar","baz"]})",
       R"([{"op":"remove","path":"/foo/01"}])", ""},
      {"into itself", R"({"a":{"b":{}}})", R"([{"op":"move","from":"/a","path":"/a/b"}])", ""},
      {"unknown operation", R"({})", R"([{"op":"spam","path":"/a"}])", ""},
      {"not a list", R"({})", R"({"op":"add"})", "", 400},
  };
  for (const Case& c : cases) expect(c, apply_json_patch(document(c.before), json(c.patch)));
}

TEST(MergePatch, FollowsTheExamplesOfRfc7386) {
  const std::vector<Case> cases = {
      {"replace", R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {"add", R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {"delete", R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {"lists replace", R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {"nested", R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {"null inside a new object", R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
      {"not an object", R"({})", R"(["c"])", "", 400},
  };
  for (const Case& c : cases) expect(c, apply_merge_patch(document(c.before), json(c.patch)));
}

TEST(StrategicMerge, MergesServicePortsByNumber) {
  const std::vector<Case> cases = {
      {"change one port", R"({"spec":{"ports":[{"port":80,"name":"a"},{"port":443,"name":"b"}]}})",
       R"({"spec":{"ports":[{"port":443,"name":"c"}]}})",
       R"({"spec":{"ports":[{"port":80,"name":"a"},{"port":443,"name":"c"}]}})"},
      {"add a port", R"({"spec":{"ports":[{"port":80}]}})", R"({"spec":{"ports":[{"port":81}]}})",
       R"({"spec":{"ports":[{"port":80},{"port":81}]}})"},
      {"delete a port", R"({"spec":{"ports":[{"port":80},{"port":81}]}})",
       R"({"spec":{"ports":[{"$patch":"delete","port":80}]}})",
       R"({"spec":{"ports":[{"port":81}]}})"},
      {"order", R"({"spec":{"ports":[{"port":80},{"port":81}]}})",
       R"({"spec":{"$setElementOrder/ports":[{"port":82},{"port":81},{"port":80}],"ports":[{"port":82}]}})",
       R"({"spec":{"ports":[{"port":82},{"port":81},{"port":80}]}})"},
      {"replace the list", R"({"spec":{"ports":[{"port":80},{"port":81}]}})",
       R"({"spec":{"ports":[{"$patch":"replace"},{"port":90}]}})",
       R"({"spec":{"ports":[{"port":90}]}})"},
      {"a missing merge key", R"({"spec":{"ports":[]}})", R"({"spec":{"ports":[{"name":"x"}]}})",
       "", 400},
      {"other lists are replaced", R"({"spec":{"externalIPs":["1.1.1.1"]}})",
       R"({"spec":{"externalIPs":["2.2.2.2"]}})", R"({"spec":{"externalIPs":["2.2.2.2"]}})"},
      {"null deletes", R"({"metadata":{"labels":{"a":"1","b":"2"}}})",
       R"({"metadata":{"labels":{"a":null}}})", R"({"metadata":{"labels":{"b":"2"}}})"},
      {"replace a map", R"({"spec":{"selector":{"a":"1"}}})",
       R"({"spec":{"selector":{"$patch":"replace","b":"2"}}})",
       R"({"spec":{"selector":{"b":"2"}}})"},
      {"finalizers are a set", R"({"metadata":{"finalizers":["a/b"]}})",
       R"({"metadata":{"finalizers":["a/b","c/d"]}})",
       R"({"metadata":{"finalizers":["a/b","c/d"]}})"},
      {"delete from a set", R"({"metadata":{"finalizers":["a/b","c/d"]}})",
       R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/b"]}})",
       R"({"metadata":{"finalizers":["c/d"]}})"},
      {"retain keys", R"({"spec":{"strategy":{"type":"A","rolling":{}}}})",
       R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"B"}}})",
       R"({"spec":{"strategy":{"type":"B"}}})"},
      {"an unknown directive", R"({})", R"({"$patch":"sing"})", "", 400},
  };
  for (const Case& c : cases)
    expect(c, apply_strategic_merge_patch("Service", document(c.before), json(c.patch)));
}

TEST(StrategicMerge, ElementsWithoutAGivenPlaceStayBehindTheirNeighbour) {
  const Case c{.name = "order of some",
               .before = R"({"spec":{"containers":[{"name":"a"},{"name":"x"},{"name":"b"}]}})",
               .patch = R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}})",
               .after = R"({"spec":{"containers":[{"name":"b"},{"name":"a"},{"name":"x"}]}})"};
  expect(c, apply_strategic_merge_patch("Pod", document(c.before), json(c.patch)));
}

}  // namespace
}  // namespace fairlead::apiserver
