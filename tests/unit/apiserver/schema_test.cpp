// What a kind's schema keeps, refuses and says of itself.
#include "apiserver/schema.hpp"

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;

constexpr std::string_view kEveryType =
    "{text:s number:i flag:b time:t amount:q port:x labels:m free:any list:[]s "
    "inner:{name:s} many:[]{name:s}}";

TEST(Schema, KeepsWhatItKnowsAndNamesTheRest) {
  Document document = parse_document(R"({
    "text": "a", "number": -7, "flag": false, "time": "2026-01-02T03:04:05Z", "amount": "5Gi",
    "port": "http", "labels": {"a": "b"}, "free": {"x": [1, null]}, "list": ["a"], "other": 1,
    "inner": {"name": "n", "odd": {}}, "many": [{"name": "m"}, {"nam": "e", "name": null}]})");
  const auto unknown = Schema::parse(kEveryType).conform(document);
  ASSERT_TRUE(unknown);
  EXPECT_THAT(*unknown, ElementsAre("other", "inner.odd", "many[1].nam"));
  EXPECT_EQ(document, parse_document(R"({
    "text": "a", "number": -7, "flag": false, "time": "2026-01-02T03:04:05Z", "amount": "5Gi",
    "port": "http", "labels": {"a": "b"}, "free": {"x": [1, null]}, "list": ["a"],
    "inner": {"name": "n"}, "many": [{"name": "m"}, {}]})"));
}

TEST(Schema, AWrongTypeIsRefusedByItsPath) {
  struct Case {
    std::string_view json, message;
  };
  const Case cases[] = {
      {R"({"text":1})", "text: expected a string"},
      {R"({"number":"1"})", "number: expected an integer"},
      {R"({"number":1.5})", "number: expected an integer"},
      {R"({"flag":"true"})", "flag: expected true or false"},
      {R"({"time":"yesterday"})", "time: expected an RFC 3339 time"},
      {R"({"amount":[]})", "amount: expected a quantity"},
      {R"({"port":{}})", "port: expected an integer or a string"},
      {R"({"labels":{"a":1}})", "labels: expected a map of strings"},
      {R"({"list":{}})", "list: expected a list"},
      {R"({"list":["a",1]})", "list[1]: expected a string"},
      {R"({"inner":[]})", "inner: expected an object"},
      {R"({"many":[{},{"name":1}]})", "many[1].name: expected a string"},
  };
  const Schema schema = Schema::parse(kEveryType);
  for (const Case& c : cases) {
    Document document = parse_document(c.json);
    const auto answer = schema.conform(document);
    ASSERT_FALSE(answer) << c.json;
    EXPECT_EQ(answer.error().code, 400U);
    EXPECT_EQ(answer.error().message, c.message);
  }
}

TEST(Schema, DescribesItselfToOpenApi) {
  EXPECT_EQ(Schema::parse("{a:s b:[]{p:x} m:m t:t any:any}").to_openapi(), parse_document(R"({
    "type": "object", "properties": {
      "a": {"type": "string"},
      "b": {"type": "array", "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "properties": {
          "p": {"type": "string", "format": "int-or-string", "x-kubernetes-int-or-string": true}}}},
      "m": {"type": "object", "additionalProperties": {"type": "string"}},
      "t": {"type": "string", "format": "date-time"},
      "any": {"x-kubernetes-preserve-unknown-fields": true}}})"));
}

TEST(Schema, TellsOpenApiWhatIsOwnedAsAWhole) {
  EXPECT_EQ(Schema::parse("{s:[=]s l:[n,p=TCP]{n:s p:s} m:!m o:[u]!{u:s} a:[n]any}").to_openapi(),
            parse_document(R"({"type": "object", "properties": {
      "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
      "l": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n", "p"],
        "items": {"type": "object", "properties": {
          "n": {"type": "string"}, "p": {"type": "string", "default": "TCP"}}}},
      "m": {"type": "object", "additionalProperties": {"type": "string"},
        "x-kubernetes-map-type": "atomic"},
      "o": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["u"],
        "items": {"type": "object", "properties": {"u": {"type": "string"}},
          "x-kubernetes-map-type": "atomic"}},
      "a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
        "items": {"x-kubernetes-preserve-unknown-fields": true}}}})"));
}

}  // namespace
}  // namespace fairlead::apiserver
