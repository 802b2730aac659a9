// Discovery, encodings, authentication, statuses and the policies of lifecycle.hpp: what needs no
// server to be tested.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/auth.hpp"
#include "apiserver/discovery.hpp"
#include "apiserver/encode.hpp"
#include "apiserver/lifecycle.hpp"
#include "apiserver/metadata.hpp"
#include "unit/apiserver/test_kinds.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Document parse(std::string_view json) { return boost::json::parse(json).as_object(); }

constexpr std::string_view kAggregated =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

TEST(Discovery, AggregatedListsGroupsWithoutTheCore) {
  const Strategies strategies = test_strategies();
  const Discovery discovery(strategies);
  const StaticDocument* core = discovery.find("/api", kAggregated);
  ASSERT_NE(core, nullptr);
  EXPECT_EQ(core->content_type,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
  EXPECT_THAT(core->body, HasSubstr(R"("resource":"namespaces")"));
  EXPECT_THAT(core->body, Not(HasSubstr("widgets")));
  const StaticDocument* groups = discovery.find("/apis", kAggregated);
  ASSERT_NE(groups, nullptr);
  EXPECT_THAT(groups->body, HasSubstr(R"("name":"test.io")"));
  EXPECT_THAT(
      groups->body,
      HasSubstr(
          R"({"subresource":"status","responseKind":{"group":"test.io","version":"v1","kind":"Widget"})"));
}

TEST(Discovery, LegacyDocumentsAnswerPlainJson) {
  const Strategies strategies = test_strategies();
  const Discovery discovery(strategies);
  for (const std::string_view accept : {"", "application/json", "application/json, */*"}) {
    ASSERT_NE(discovery.find("/api", accept), nullptr);
    EXPECT_THAT(discovery.find("/api", accept)->body, HasSubstr("APIVersions"));
  }
  EXPECT_THAT(discovery.find("/api/v1", "")->body, HasSubstr(R"("shortNames":["ns"])"));
  EXPECT_THAT(discovery.find("/apis/test.io/v1", "")->body,
              HasSubstr(R"("name":"widgets/status","singularName":"")"));
  EXPECT_THAT(discovery.find("/apis/test.io", "")->body,
              HasSubstr(R"("preferredVersion":{"groupVersion":"test.io/v1")"));
  EXPECT_THAT(discovery.find("/apis", "")->body, HasSubstr("APIGroupList"));
  EXPECT_EQ(discovery.find("/apis/other", ""), nullptr);
}

TEST(Discovery, AnUnchangedDocumentIs304) {
  const StaticDocument document = static_document("body", "text/plain");
  EXPECT_EQ(serve(document, {}).status, 200U);
  EXPECT_EQ(serve(document, {.headers = {{"If-None-Match", document.etag}}}).status, 304U);
  EXPECT_EQ(serve(document, {.headers = {{"If-None-Match", "\"other\""}}}).status, 200U);
}

ObjectPtr widget(std::string_view name) {
  static const TestWidgets strategy;
  const std::string stored = fmt::format(
      R"({{"kind":"Widget","apiVersion":"test.io/v1","metadata":{{"name":"{}","namespace":"a"}},"spec":{{"colour":"red"}}}})",
      name);
  return *make_cached_object(strategy, "/registry/widgets/a/" + std::string(name), stored, 7);
}

TEST(Encode, ListsAreTheStoredObjectsJoined) {
  const TestWidgets strategy;
  const std::vector<ObjectPtr> items{widget("x"), widget("y")};
  const std::string json =
      encode_list(strategy, items, {.revision = 9, .continue_token = "t", .remaining = 3}, {});
  EXPECT_EQ(
      json,
      fmt::format(
          R"({{"kind":"WidgetList","apiVersion":"test.io/v1","metadata":{{"resourceVersion":"9",)"
          R"("continue":"t","remainingItemCount":3}},"items":[{},{}]}})"
          "\n",
          *items[0]->json, *items[1]->json));
}

TEST(Encode, TablesHaveColumnsCellsAndMetadata) {
  const TestWidgets strategy;
  const std::vector<ObjectPtr> items{widget("x")};
  View view{.representation = {.shape = Representation::Shape::Table}};
  Document table = parse(encode_list(strategy, items, {.revision = 9}, view));
  EXPECT_EQ(string_at(table, "kind"), "Table");
  EXPECT_EQ(string_at(table, "apiVersion"), "meta.k8s.io/v1");
  EXPECT_EQ(table.at("columnDefinitions").as_array().size(), 2U);
  const Document& row = table.at("rows").as_array().at(0).as_object();
  EXPECT_EQ(row.at("cells").as_array().at(0), "x");
  EXPECT_EQ(string_at(row, "object.kind"), "PartialObjectMetadata");
  EXPECT_EQ(row.at("object").as_object().if_contains("spec"), nullptr);
  view.include = IncludeObject::Object;
  table = parse(encode_list(strategy, items, {.revision = 9}, view));
  EXPECT_EQ(string_at(table.at("rows").as_array().at(0).as_object(), "object.kind"), "Widget");
  view.include = IncludeObject::None;
  table = parse(encode_list(strategy, items, {.revision = 9}, view));
  EXPECT_FALSE(table.at("rows").as_array().at(0).as_object().contains("object"));
}

std::string joined(const WatchEncoder::Parts& parts) {
  std::string out;
  for (const SharedBytes& part : parts) out += *part;
  return out;
}

TEST(WatchEncoder, ObjectsShareTheCachesBytes) {
  const TestWidgets strategy;
  WatchEncoder encoder(strategy, {});
  WatchEncoder::Parts parts;
  const ObjectPtr object = widget("x");
  encoder.event({.type = EventType::Modified, .object = object}, {}, parts);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[1], object->json);
  EXPECT_EQ(joined(parts), fmt::format("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", *object->json));
}

TEST(WatchEncoder, BookmarksNameTheirKindAndTheEndOfInitialEvents) {
  const TestWidgets strategy;
  WatchEncoder encoder(strategy, {});
  WatchEncoder::Parts parts;
  encoder.bookmark(12, true, parts);
  EXPECT_EQ(
      joined(parts),
      R"({"type":"BOOKMARK","object":{"kind":"Widget","apiVersion":"test.io/v1","metadata":{"resourceVersion":"12",)"
      R"("annotations":{"k8s.io/initial-events-end":"true"}}}})"
      "\n");
}

TEST(WatchEncoder, OnlyTheFirstTableDescribesItsColumns) {
  const TestWidgets strategy;
  WatchEncoder encoder(strategy, {.representation = {.shape = Representation::Shape::Table}});
  WatchEncoder::Parts first;
  WatchEncoder::Parts second;
  encoder.event({.type = EventType::Added, .object = widget("x")}, {}, first);
  encoder.event({.type = EventType::Added, .object = widget("y")}, {}, second);
  EXPECT_THAT(joined(first), HasSubstr(R"("columnDefinitions":[{"name":"Name")"));
  EXPECT_THAT(joined(second), HasSubstr(R"("columnDefinitions":null)"));
}

TEST(Pretty, IndentsForPeople) {
  EXPECT_EQ(pretty(R"({"a":[1,{"b":"x"}],"c":{},"d":[]})"),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\"\n    }\n  ],\n  \"c\": {},\n  \"d\": "
            "[]\n}\n");
}

// ---- authentication and authorization

TEST(TokenFile, IsCsvWithQuotedGroups) {
  const auto tokens = parse_token_file("# comment\nabc,alice,u1,\"dev,ops\"\n\nxyz,bob,u2\n");
  ASSERT_TRUE(tokens) << tokens.error().message;
  ASSERT_EQ(tokens->size(), 2U);
  EXPECT_EQ((*tokens)[0].user.name, "alice");
  EXPECT_THAT((*tokens)[0].user.groups, ElementsAre("dev", "ops", "system:authenticated"));
}

TEST(TokenFile, AnErrorNamesTheLineAndNotItsSecret) {
  const auto tokens = parse_token_file("ok,alice,u1\nhunter2,bob\n");
  ASSERT_FALSE(tokens);
  EXPECT_THAT(tokens.error().message, HasSubstr("line 2"));
  EXPECT_THAT(tokens.error().message, Not(HasSubstr("hunter2")));
}

TEST(Authenticator, TriesCertificateThenTokenThenNobody) {
  const Authenticator authenticator(
      {{.token = "secret", .user = {.name = "bob", .groups = {"ops"}}}});
  const io::Peer nobody;
  const io::Peer alice{.certificate =
                           io::Peer::Certificate{.common_name = "alice", .organizations = {"dev"}}};
  const io::HttpRequest with_token{.headers = {{"Authorization", "Bearer secret"}}};
  const io::HttpRequest wrong_token{.headers = {{"Authorization", "Bearer secre"}}};
  EXPECT_EQ(authenticator.authenticate({}, alice, false)->name, "alice");
  EXPECT_THAT(authenticator.authenticate({}, alice, false)->groups,
              ElementsAre("dev", "system:authenticated"));
  EXPECT_EQ(authenticator.authenticate(with_token, nobody, false)->name, "bob");
  EXPECT_EQ(authenticator.authenticate(wrong_token, nobody, false).error().code, 401U);
  EXPECT_EQ(authenticator.authenticate(wrong_token, nobody, true).error().code, 401U);
  EXPECT_EQ(
      authenticator.authenticate({.headers = {{"Authorization", "Basic eDp5"}}}, nobody, false)
          .error()
          .code,
      401U);
  for (const char* target : {"/healthz", "/livez?verbose", "/readyz"}) {
    EXPECT_EQ(authenticator.authenticate({.target = target}, nobody, false)->name,
              "system:anonymous");
  }
  for (const char* target : {"/", "/version", "/healthz/x", "/api?x=/healthz"})
    EXPECT_EQ(authenticator.authenticate({.target = target}, nobody, false).error().code, 401U);
  FakeClock clock;
  const Authenticator open({{.token = "secret", .user = {.name = "bob"}}}, nullptr,
                           Anonymous::Everywhere, clock);
  const io::Peer refused{.refused_certificate = "certificate has expired"};
  EXPECT_EQ(open.authenticate({.target = "/healthz"}, refused, false).error().code, 401U);
  EXPECT_EQ(open.authenticate(with_token, refused, false)->name, "bob");
  io::Peer for_a_minute = alice;
  for_a_minute.certificate->valid_until = clock.wall() + 1min;
  EXPECT_EQ(open.authenticate({}, for_a_minute, false)->name, "alice");
  clock.advance(2min);
  EXPECT_EQ(open.authenticate({}, for_a_minute, false).error().code, 401U);
  EXPECT_EQ(open.authenticate({}, nobody, false)->name, "system:anonymous");
  EXPECT_TRUE(authenticator.authenticate({}, nobody, true)->in_group(kMasters));
}

// ---- statuses and ages

TEST(Status, InvalidCarriesEveryCause) {
  const StatusError one =
      invalid_status({.group = "", .resource = "Service"}, "a", {required("spec.ports")});
  EXPECT_EQ(
      boost::json::serialize(one.to_json()),
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Service \"a\" is invalid: )"
      R"(spec.ports: Required value","reason":"Invalid","details":{"name":"a","kind":"Service","causes":[{"reason":)"
      R"("FieldValueRequired","message":"Required value","field":"spec.ports"}]},"code":422})");
  const StatusError two = invalid_status({.group = "g", .resource = "Kind"}, "a",
                                         {required("x"), forbidden("y", "no")});
  EXPECT_EQ(two.message, "Kind.g \"a\" is invalid: [x: Required value, y: Forbidden: no]");
}

TEST(FieldError, TextsAreKubernetes) {
  EXPECT_EQ(invalid("f", 7, "too much").to_string(), "f: Invalid value: 7: too much");
  EXPECT_EQ(invalid("f", "x", "bad").to_string(), "f: Invalid value: \"x\": bad");
  EXPECT_EQ(not_supported("f", "x", {"A", "B"}).to_string(),
            "f: Unsupported value: \"x\": supported values: \"A\", \"B\"");
  EXPECT_EQ(duplicate("f", 80).to_string(), "f: Duplicate value: 80");
  EXPECT_EQ(too_long("f", 63).to_string(), "f: Too long: may not be more than 63 bytes");
}

TEST(Age, IsShortAndHonest) {
  const WallTime now{std::chrono::seconds(2'000'000'000)};
  const auto age = [now](std::chrono::seconds old) {
    Document document{{"metadata", Document{{"creationTimestamp", format_rfc3339(now - old)}}}};
    return age_text(document, now);
  };
  EXPECT_EQ(age(5s), "5s");
  EXPECT_EQ(age(119s), "119s");
  EXPECT_EQ(age(130s), "2m10s");
  EXPECT_EQ(age(180s), "3m");
  EXPECT_EQ(age(11min), "11m");
  EXPECT_EQ(age(4h), "4h");
  EXPECT_EQ(age(4h + 5min), "4h5m");
  EXPECT_EQ(age(30h), "30h");
  EXPECT_EQ(age(50h), "2d2h");
  EXPECT_EQ(age(24h * 9), "9d");
  EXPECT_EQ(age(24h * 800), "2y70d");
  EXPECT_EQ(age(-5s), "<invalid>");
  EXPECT_EQ(age_text({}, now), "<unknown>");
}

TEST(Metadata, LabelAndNameRules) {
  EXPECT_THAT(qualified_name_errors("example.com/app-1"), testing::IsEmpty());
  EXPECT_THAT(qualified_name_errors("-x"), testing::SizeIs(1));
  EXPECT_THAT(qualified_name_errors("Example.com/app"), testing::SizeIs(1));
  EXPECT_THAT(qualified_name_errors("/app"), ElementsAre("prefix part must be non-empty"));
  EXPECT_THAT(label_value_errors(""), testing::IsEmpty());
  EXPECT_THAT(label_value_errors("a b"), testing::SizeIs(1));
  EXPECT_THAT(label_value_errors(std::string(64, 'a')),
              ElementsAre("must be no more than 63 bytes"));
}

TEST(Metadata, GeneratedNamesCutTheBase) {
  const std::string name = generated_name(std::string(80, 'x'), {0, 1, 2, 3, 26});
  EXPECT_EQ(name, std::string(58, 'x') + "bcdf9");
}

TEST(CompactionPolicy, KeepsTimeAndCountButIsBounded) {
  CompactionPolicy policy;
  const MonoTime start{1h};
  EXPECT_EQ(policy.observe(start, 5'000), 0U);
  EXPECT_EQ(policy.observe(start + 5min, 6'000), 0U);
  EXPECT_EQ(policy.observe(start + 10min, 7'000), 5'000U);  // what was the newest ten minutes ago
  EXPECT_EQ(policy.observe(start + 15min, 7'100), 6'000U);
  EXPECT_EQ(policy.observe(start + 25min, 7'200), 6'200U);  // ... but a thousand always stay
  EXPECT_EQ(policy.observe(start + 25min, 300'000),
            200'000U);  // ... and never more than a hundred thousand
}

}  // namespace
}  // namespace fairlead::apiserver
