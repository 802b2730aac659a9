#include "apiserver/request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/body.hpp"
#include "apiserver/duplicate_keys.hpp"
#include "unit/apiserver/test_kinds.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = ApiPath::Kind;

TEST(ApiPath, EveryShapeIsTakenApart) {
  struct Case {
    std::string_view path;
    ApiPath expected;
  };
  const Case cases[] = {
      {"/api/v1", {.kind = Kind::GroupVersion, .version = "v1"}},
      {"/apis/discovery.k8s.io/v1",
       {.kind = Kind::GroupVersion, .group = "discovery.k8s.io", .version = "v1"}},
      {"/api/v1/services", {.kind = Kind::Resource, .version = "v1", .resource = "services"}},
      {"/api/v1/services/", {.kind = Kind::Resource, .version = "v1", .resource = "services"}},
      {"/api/v1/namespaces/a/services",
       {.kind = Kind::Resource, .version = "v1", .ns = "a", .resource = "services"}},
      {"/api/v1/namespaces/a/services/b",
       {.kind = Kind::Resource, .version = "v1", .ns = "a", .resource = "services", .name = "b"}},
      {"/api/v1/namespaces/a/services/b/status",
       {.kind = Kind::Resource,
        .version = "v1",
        .ns = "a",
        .resource = "services",
        .name = "b",
        .subresource = "status"}},
      {"/api/v1/namespaces", {.kind = Kind::Resource, .version = "v1", .resource = "namespaces"}},
      {"/api/v1/namespaces/a",
       {.kind = Kind::Resource, .version = "v1", .resource = "namespaces", .name = "a"}},
      {"/api/v1/namespaces/a/finalize",
       {.kind = Kind::Resource,
        .version = "v1",
        .resource = "namespaces",
        .name = "a",
        .subresource = "finalize"}},
      {"/apis/g/v1/namespaces/a/widgets/b",
       {.kind = Kind::Resource,
        .group = "g",
        .version = "v1",
        .ns = "a",
        .resource = "widgets",
        .name = "b"}},
      {"/", {}},
      {"/api", {}},
      {"/apis/g", {}},
      {"/healthz", {}},
      {"/api/v1//services", {}},
      {"/api/v1/services//", {}},
      {"/api/v1/namespaces/a/services/b%2fc", {}},
      {"/api/v1/namespaces/a/services/b%00", {}},
      {"/api/v1/namespaces/a/services/b/status/more", {}},
  };
  for (const Case& c : cases) {
    const auto parsed = parse_api_path(c.path);
    ASSERT_TRUE(parsed) << c.path;
    EXPECT_EQ(*parsed, c.expected) << c.path;
  }
}

TEST(ApiPath, DotsAreNoNames) {
  for (const std::string_view path :
       {"/api/v1/namespaces/a/services/.", "/api/v1/namespaces/a/services/%2e%2e"}) {
    const auto parsed = parse_api_path(path);
    ASSERT_FALSE(parsed) << path;
    EXPECT_EQ(parsed.error().code, 400U);
  }
}

TEST(Negotiate, TakesTheFirstThingItSpeaks) {
  using Shape = Representation::Shape;
  using Format = Representation::Format;
  struct Case {
    std::string_view accept;
    Representation expected;
  };
  const Case cases[] = {
      {"", {}},
      {"*/*", {}},
      {"application/json, */*", {}},
      {"application/vnd.kubernetes.protobuf,application/json", {.format = Format::Protobuf}},
      {"application/vnd.kubernetes.protobuf;stream=watch, */*", {.format = Format::Protobuf}},
      {"*/*, application/*, application/vnd.kubernetes.protobuf", {.format = Format::Protobuf}},
      {"application/vnd.kubernetes.protobuf;q=0.8,application/json;q=0.9", {}},
      {"application/vnd.kubernetes.protobuf;q=none,application/json;q=0.9",
       {.format = Format::Protobuf}},
      {"application/vnd.kubernetes.protobuf;q=0,application/*;q=0.1", {}},
      {"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", {}},
      {"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
       "application/json",
       {.shape = Shape::PartialMetadata, .format = Format::Protobuf}},
      {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", {.shape = Shape::Table}},
      {"application/json;as=Table;v=v1beta1;g=meta.k8s.io",
       {.shape = Shape::Table, .meta_version = "v1beta1"}},
      {"application/json;as=Table;v=v9;g=meta.k8s.io,application/json", {}},
      {"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
       {.shape = Shape::PartialMetadata}},
      {"application/yaml", {.format = Format::Yaml}},
      {"application/yaml;q=0.5, application/json;q=0.9", {}},
  };
  for (const Case& c : cases) {
    const auto chosen = negotiate(c.accept);
    ASSERT_TRUE(chosen) << c.accept;
    EXPECT_EQ(*chosen, c.expected) << c.accept;
  }
}

TEST(Negotiate, RefusesWhatItDoesNotSpeak) {
  for (const std::string_view accept :
       {"text/html", "application/json;q=0", "application/cbor",
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"}) {
    const auto chosen = negotiate(accept);
    ASSERT_FALSE(chosen) << accept;
    EXPECT_EQ(chosen.error().code, 406U);
  }
}

TEST(Negotiate, ProtobufIsPassedOverForWhatHasNoMessage) {
  const auto chosen = negotiate("application/vnd.kubernetes.protobuf,application/json", false);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(*chosen, Representation{});
  const auto refused = negotiate("application/vnd.kubernetes.protobuf", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 406U);
}

TEST(Negotiate, AStatusIsWrittenWithoutConversion) {
  using Format = Representation::Format;
  EXPECT_EQ(status_format(""), Format::Json);
  EXPECT_EQ(status_format("text/html"), Format::Json);
  EXPECT_EQ(status_format("application/vnd.kubernetes.protobuf,application/json"),
            Format::Protobuf);
  EXPECT_EQ(status_format("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;"
                          "g=meta.k8s.io;v=v1,application/json"),
            Format::Json);
}

ApiResult<ListOptions> options(std::string_view query) {
  static const TestWidgets strategy;
  const auto url = io::parse_target(fmt::format("/x?{}", query));
  if (!url) return bad_request(url.error().message);
  return parse_list_options(*url, strategy, "ns");
}

TEST(ListOptions, AreReadFromTheQuery) {
  const auto parsed = options(
      "limit=5&continue=abc&watch=true&allowWatchBookmarks=1&timeoutSeconds=9&labelSelector=app%"
      "3Dx&"
      "fieldSelector=spec.colour%21%3Dred");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->limit, 5U);
  EXPECT_EQ(parsed->continue_token, "abc");
  EXPECT_TRUE(parsed->watch);
  EXPECT_TRUE(parsed->allow_bookmarks);
  EXPECT_EQ(parsed->timeout_seconds, 9U);
  EXPECT_EQ(parsed->selection.ns, "ns");
  EXPECT_FALSE(parsed->selection.labels.empty());
  EXPECT_EQ(
      parsed->selection.fields,
      (std::vector<kube::FieldTerm>{{.field = "spec.colour", .value = "red", .negated = true}}));
  EXPECT_EQ(options("limit=-1")->limit, 0U);
}

TEST(ListOptions, EachRuleHasItsCode) {
  struct Case {
    std::string_view query;
    unsigned code;
    std::string_view text;
  };
  const Case cases[] = {
      {"limit=x", 400, "limit: \"x\" is not an integer"},
      {"resourceVersion=abc", 400, "resourceVersion"},
      {"labelSelector=a+in+b", 400, "labelSelector"},
      {"fieldSelector=spec.shape%3Dround", 400, "field label not supported: spec.shape"},
      {"fieldSelector=name", 400, "fieldSelector"},
      {"resourceVersionMatch=Exact", 422, "resourceVersionMatch"},
      {"resourceVersionMatch=Nearly&resourceVersion=1", 422,
       "supported values: \"Exact\", \"NotOlderThan\""},
      {"resourceVersionMatch=Exact&resourceVersion=0", 422, "resourceVersionMatch"},
      {"resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x", 422, "continue"},
      {"resourceVersion=1&continue=x", 400, "specifying resource version is not allowed"},
      {"sendInitialEvents=true", 422, "sendInitialEvents"},
      {"watch=1&sendInitialEvents=true", 422, "NotOlderThan"},
      {"watch=1&resourceVersionMatch=NotOlderThan", 422, "sendInitialEvents"},
      {"watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", 422,
       "supported values: \"NotOlderThan\""},
      {"watch=1&resourceVersionMatch=Nearly", 422, "unless sendInitialEvents"},
      {"watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&continue=x", 422,
       "when continue is provided"},
      {"resourceVersionMatch=Nearly&continue=x&sendInitialEvents=false", 422,
       "sendInitialEvents is forbidden for list"},
  };
  for (const Case& c : cases) {
    const auto parsed = options(c.query);
    ASSERT_FALSE(parsed) << c.query;
    EXPECT_EQ(parsed.error().code, c.code) << c.query;
    EXPECT_THAT(parsed.error().message, HasSubstr(c.text)) << c.query;
  }
}

TEST(ListOptions, EveryFaultIsTold) {
  const auto parsed = options("resourceVersionMatch=Nearly&continue=x&sendInitialEvents=false");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().causes.size(), 4U);
}

TEST(ContinueToken, ComesBackAndRefusesEscapes) {
  const ContinueToken token{.revision = 42, .start = "default/web", .remaining = 7};
  const auto back = decode_continue(encode_continue(token));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, token);
  EXPECT_FALSE(decode_continue("nonsense"));
  EXPECT_FALSE(
      decode_continue(encode_continue({.revision = 1, .start = "../services/x", .remaining = 0})));
  EXPECT_FALSE(decode_continue(encode_continue({.revision = 1, .start = "/etc", .remaining = 0})));
}

ApiResult<DeleteOptions> delete_options(std::string_view query, const char* body) {
  const auto url = io::parse_target(fmt::format("/x?{}", query));
  if (body == nullptr) return parse_delete_options(*url, nullptr);
  const auto parsed = parse_json(body);
  return parse_delete_options(*url, &parsed->value.get_object());
}

TEST(DeleteOptions, ComeFromTheBodyOrElseTheQuery) {
  const auto query =
      delete_options("gracePeriodSeconds=5&propagationPolicy=Background&dryRun=All", nullptr);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->grace_period_seconds, 5);
  EXPECT_TRUE(query->dry_run);
  const auto body = delete_options(
      "gracePeriodSeconds=5",
      R"({"kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u","resourceVersion":"7"}})");
  ASSERT_TRUE(body);
  EXPECT_EQ(body->grace_period_seconds, 0);
  EXPECT_EQ(body->uid, "u");
  EXPECT_EQ(body->resource_version, "7");
}

TEST(DeleteOptions, BadOnesAreRefused) {
  EXPECT_EQ(delete_options("gracePeriodSeconds=x", nullptr).error().code, 400U);
  EXPECT_EQ(delete_options("dryRun=foo", nullptr).error().code, 422U);
  EXPECT_EQ(delete_options("", R"({"dryRun":["foo"]})").error().code, 422U);
  EXPECT_EQ(delete_options("propagationPolicy=Foo", nullptr).error().code, 422U);
  EXPECT_EQ(
      delete_options("", R"({"propagationPolicy":"Orphan","orphanDependents":true})").error().code,
      422U);
}

TEST(Body, NumbersThatAreNoneAreRefused) {
  EXPECT_EQ(parse_json(R"({"a":[1e400]})").error().code, 400U);
  EXPECT_TRUE(parse_json(R"({"a":[1e300,-1]})"));
}

TEST(Body, JsonAndYamlBecomeTheSameDocument) {
  const auto json =
      decode_object_body("application/json; charset=utf-8", R"({"a":{"b":[1,"x",true]}})");
  const auto yaml = decode_object_body("application/yaml", "a:\n  b:\n  - 1\n  - x\n  - true\n");
  ASSERT_TRUE(json && yaml);
  EXPECT_EQ(*json, *yaml);
}

TEST(Body, RefusalsHaveTheirCodes) {
  EXPECT_EQ(decode_object_body("text/html", "{}").error().code, 415U);
  EXPECT_EQ(decode_object_body("application/cbor", "{}").error().code, 415U);
  EXPECT_EQ(decode_object_body("", "{").error().code, 400U);
  EXPECT_EQ(decode_object_body("", "{} x").error().code, 400U);
  EXPECT_EQ(decode_object_body("", "[]").error().code, 400U);
  EXPECT_EQ(decode_object_body("", R"({"a":[1,{"b":-1e400}]})").error().code, 400U);
  EXPECT_EQ(decode_object_body("", std::string(200, '[')).error().code, 400U);
}

TEST(Body, BigIntegersStayExact) {
  const auto body = decode_object_body("", R"({"n":9007199254740993})");
  ASSERT_TRUE(body);
  EXPECT_EQ(body->at("n").as_int64(), 9007199254740993);
}

TEST(DuplicateKeys, AreFoundWithTheirPath) {
  EXPECT_THAT(duplicate_keys(R"({"spec":{"type":"a","type":"b"},"l":[{"x":1},{"x":1,"x":2}]})"),
              ElementsAre("spec.type", "l[1].x"));
  EXPECT_THAT(duplicate_keys(R"({"a":1,"b":{"a":1}})"), testing::IsEmpty());
}

}  // namespace
}  // namespace fairlead::apiserver
