#include "apiserver/field_owners.hpp"

#include <gmock/gmock.h>

#include <random>

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Applies, and lets several managers write.
class FieldOwnersTest : public KindsTest {
 protected:
  struct By {
    std::string manager = "test";
    std::string subresource = {};
    bool force = false, dry_run = false;
  };

  ApiResult<Written> apply(std::string_view resource, std::string_view config, const By& by) {
    Resource& found = find(resource);
    auto checked = conform_configuration(found.strategy, by.subresource, parse_document(config));
    if (!checked) return std::move(checked).error();
    WriteRequest asked = request(std::string(string_at(*checked, "metadata.name")), by);
    asked.is_patch = asked.is_apply = true;
    const FieldWriter writer{
        .manager = by.manager, .subresource = by.subresource, .now = clock_.wall()};
    return run_task(loop_,
                    writer_->update(found, asked, [&, config = *checked](const Document& live) {
                      return apply_configuration(found.info(), writer,
                                                 live.empty() ? nullptr : &live, config, by.force);
                    }));
  }
  ApiResult<Written> create_by(std::string_view resource, std::string_view body, const By& by) {
    return run_task(loop_, writer_->create(find(resource), request("", by), parse_document(body)));
  }
  ApiResult<Written> patch_by(std::string_view resource, const std::string& name,
                              std::string_view change, const By& by) {
    WriteRequest asked = request(name, by);
    asked.is_patch = true;
    return run_task(loop_, writer_->update(find(resource), asked,
                                           [patch = boost::json::parse(change)](
                                               const Document& current) -> ApiResult<Document> {
                                             return apply_merge_patch(current, patch);
                                           }));
  }
  Document stored(std::string_view resource, const std::string& name) {
    Resource& found = find(resource);
    const ObjectPtr object = found.cache.find(found.key("default", name));
    return object == nullptr ? Document{} : object->document();
  }
  // "manager/operation[/subresource] fields", in the order kept.
  static std::vector<std::string> owners(const Document& object) {
    std::vector<std::string> out;
    for (const Document* entry : objects_at(object, "metadata.managedFields")) {
      const std::string_view subresource = string_at(*entry, "subresource");
      out.push_back(fmt::format("{}/{}{}{} {}", string_at(*entry, "manager"),
                                string_at(*entry, "operation"), subresource.empty() ? "" : "/",
                                subresource, boost::json::serialize(entry->at("fieldsV1"))));
    }
    return out;
  }
  // "a=b c=d" of a ConfigMap's data.
  static std::string data(const Document& object) {
    std::vector<std::string> out;
    if (const Document* held = object_at(object, "data")) {
      for (const auto& [key, value] : *held)
        out.push_back(fmt::format("{}={}", std::string_view(key.data(), key.size()),
                                  std::string_view(value.get_string())));
    }
    std::ranges::sort(out);
    return fmt::format("{}", fmt::join(out, " "));
  }
  static std::string config_map(std::string_view members) {
    return fmt::format(
        R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c"}},"data":{{{}}}}})",
        members);
  }

  WriteRequest request(std::string name, const By& by) const {
    WriteRequest out;
    out.context = {
        .now = clock_.wall(), .dry_run = by.dry_run, .user = "tester", .field_manager = by.manager};
    out.ns = "default";
    out.name = std::move(name);
    out.subresource = by.subresource;
    return out;
  }
};

constexpr std::string_view kService =
    R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},
        "spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})";

TEST_F(FieldOwnersTest, ACreateOwnsWhatItSaidAndItsDefaults) {
  ASSERT_TRUE(create_by("services", kService, {.manager = "maker"}));
  EXPECT_THAT(owners(stored("services", "web")),
              ElementsAre(R"(maker/Update {"f:spec":{"f:internalTrafficPolicy":{},)"
                          R"("f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":)"
                          R"({".":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},)"
                          R"("f:selector":{},"f:sessionAffinity":{},"f:type":{}}})"));
}

TEST_F(FieldOwnersTest, AnUpdateTakesWhatItChanges) {
  ASSERT_TRUE(create_by("configmaps", config_map(R"("a":"1","b":"1")"), {.manager = "one"}));
  ASSERT_TRUE(patch_by("configmaps", "c", R"({"data":{"b":"2","c":"2"}})", {.manager = "two"}));
  EXPECT_THAT(owners(stored("configmaps", "c")),
              ElementsAre(R"(one/Update {"f:data":{".":{},"f:a":{}}})",
                          R"(two/Update {"f:data":{"f:b":{},"f:c":{}}})"));
  ASSERT_TRUE(patch_by("configmaps", "c", R"({"data":{"b":null,"c":null}})", {.manager = "one"}));
  EXPECT_THAT(owners(stored("configmaps", "c")),
              ElementsAre(R"(one/Update {"f:data":{".":{},"f:a":{}}})"));
}

TEST_F(FieldOwnersTest, StatusHasOwnersOfItsOwn) {
  ASSERT_TRUE(create_by("services",
                        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},
                            "spec":{"type":"LoadBalancer","ports":[{"port":80}]}})",
                        {.manager = "m"}));
  ASSERT_TRUE(patch_by("services", "web",
                       R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}},
                           "spec":{"sessionAffinity":"ClientIP"}})",
                       {.manager = "m", .subresource = "status"}));
  const auto held = owners(stored("services", "web"));
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[1], R"(m/Update/status {"f:status":{"f:loadBalancer":{"f:ingress":{}}}})");
}

TEST_F(FieldOwnersTest, WhatTheServerAddsHasNoOwner) {
  ASSERT_TRUE(apply("services", kService, {.manager = "a"}));
  EXPECT_THAT(owners(stored("services", "web")),
              ElementsAre(R"(a/Apply {"f:spec":{"f:ports":{)"
                          R"("k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},)"
                          R"("f:selector":{}}})"));
  EXPECT_NE(string_at(stored("services", "web"), "spec.clusterIP"), "");
}

TEST_F(FieldOwnersTest, AConfigurationIsAppliedOnceAndThenChangesNothing) {
  const auto first = apply("services", kService, {.manager = "a"});
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->created);
  clock_.advance(std::chrono::seconds(5));
  const auto again = apply("services", kService, {.manager = "a"});
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->revision, first->revision);
  EXPECT_EQ(again->object, first->object);
}

TEST_F(FieldOwnersTest, FieldsThatAreAppliedNoMoreGoUnlessSomebodyElseOwnsThem) {
  ASSERT_TRUE(apply("configmaps", config_map(R"("a":"1","b":"1","c":"1")"), {.manager = "one"}));
  ASSERT_TRUE(apply("configmaps", config_map(R"("b":"1")"), {.manager = "two"}));
  ASSERT_TRUE(patch_by("configmaps", "c", R"({"data":{"d":"1"}})", {.manager = "three"}));
  ASSERT_TRUE(apply("configmaps", config_map(R"("c":"1")"), {.manager = "one"}));
  EXPECT_EQ(data(stored("configmaps", "c")), "b=1 c=1 d=1");
  EXPECT_THAT(
      owners(stored("configmaps", "c")),
      ElementsAre(R"(one/Apply {"f:data":{"f:c":{}}})", R"(two/Apply {"f:data":{"f:b":{}}})",
                  R"(three/Update {"f:data":{"f:d":{}}})"));
}

TEST_F(FieldOwnersTest, ConflictsNameTheOwnerAndTheField) {
  ASSERT_TRUE(create_by("configmaps", config_map(R"("a":"1","b":"1")"), {.manager = "one"}));
  const auto refused = apply("configmaps", config_map(R"("a":"2")"), {.manager = "two"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 409u);
  EXPECT_EQ(refused.error().reason, "Conflict");
  const std::string by_one = "\"one\" using v1 at " + format_rfc3339(clock_.wall());
  EXPECT_EQ(refused.error().message,
            "Apply failed with 1 conflict: conflict with " + by_one + ": .data.a");
  EXPECT_THAT(refused.error().causes, ElementsAre(StatusCause{.reason = "FieldManagerConflict",
                                                              .message = "conflict with " + by_one,
                                                              .field = ".data.a"}));

  ASSERT_TRUE(apply("configmaps", config_map(R"("b":"1")"), {.manager = "three"}));
  const auto more = apply("configmaps", config_map(R"("a":"2","b":"2")"), {.manager = "two"});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().message,
            "Apply failed with 3 conflicts: conflicts with \"one\" using v1 at " +
                format_rfc3339(clock_.wall()) +
                ":\n- .data.a\n- .data.b\nconflicts with \"three\":\n- .data.b");
  EXPECT_EQ(data(stored("configmaps", "c")), "a=1 b=1");
}

TEST_F(FieldOwnersTest, WhoForcesTakesTheField) {
  ASSERT_TRUE(create_by("configmaps", config_map(R"("a":"1","b":"1")"), {.manager = "one"}));
  ASSERT_TRUE(apply("configmaps", config_map(R"("a":"2")"), {.manager = "two", .force = true}));
  EXPECT_EQ(data(stored("configmaps", "c")), "a=2 b=1");
  EXPECT_THAT(owners(stored("configmaps", "c")),
              ElementsAre(R"(two/Apply {"f:data":{"f:a":{}}})",
                          R"(one/Update {"f:data":{".":{},"f:b":{}}})"));
}

TEST_F(FieldOwnersTest, ElementsOfListsHaveOwnersByTheirKeys) {
  const auto with_ports = [](std::string_view ports) {
    return fmt::format(
        R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"web"}},"spec":{{"ports":[{}]}}}})",
        ports);
  };
  ASSERT_TRUE(apply("services",
                    with_ports(R"({"port":53,"name":"t"},{"port":53,"name":"u","protocol":"UDP"})"),
                    {.manager = "a"}));
  ASSERT_TRUE(apply("services", with_ports(R"({"port":80,"name":"w"})"), {.manager = "b"}));
  ASSERT_TRUE(apply("services", with_ports(R"({"port":53,"name":"u","protocol":"UDP"})"),
                    {.manager = "a"}));
  const Document web = stored("services", "web");
  std::vector<std::string> names;
  for (const Document* port : objects_at(web, "spec.ports"))
    names.emplace_back(string_at(*port, "name"));
  EXPECT_THAT(names, testing::UnorderedElementsAre("u", "w"));
}

TEST_F(FieldOwnersTest, ADryRunShowsAndKeepsNothing) {
  const auto shown =
      apply("configmaps", config_map(R"("a":"1")"), {.manager = "one", .dry_run = true});
  ASSERT_TRUE(shown);
  EXPECT_THAT(owners(shown->object), ElementsAre(R"(one/Apply {"f:data":{"f:a":{}}})"));
  EXPECT_THAT(stored("configmaps", "c"), IsEmpty());
}

TEST_F(FieldOwnersTest, StatusIsAppliedThroughItsSubresourceOnly) {
  constexpr std::string_view kNode =
      R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},
          "spec":{"unschedulable":true},"status":{"phase":"Running"}})";
  ASSERT_TRUE(create("nodes", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}})"));
  const auto status = apply("nodes", kNode, {.manager = "a", .subresource = "status"});
  ASSERT_TRUE(status);
  EXPECT_EQ(string_at(status->object, "status.phase"), "Running");
  EXPECT_FALSE(bool_at(status->object, "spec.unschedulable"));
  EXPECT_THAT(owners(status->object),
              testing::Contains(R"(a/Apply/status {"f:status":{"f:phase":{}}})"));
  const auto whole = apply("nodes", kNode, {.manager = "b"});
  ASSERT_TRUE(whole);
  EXPECT_THAT(owners(whole->object),
              testing::Contains(R"(b/Apply {"f:spec":{"f:unschedulable":{}}})"));
}

TEST_F(FieldOwnersTest, OwnersAreClearedByOneEmptyEntryAndByNothingElse) {
  const auto cleared = [this](std::string_view sent) {
    EXPECT_TRUE(remove("configmaps", "c") || true);
    EXPECT_TRUE(create_by("configmaps", config_map(R"("a":"1")"), {.manager = "one"}));
    EXPECT_TRUE(patch_by("configmaps", "c",
                         fmt::format(R"({{"metadata":{{"managedFields":{}}}}})", sent),
                         {.manager = "two"}));
    return owners(stored("configmaps", "c"));
  };
  const auto kept = ElementsAre(R"(one/Update {"f:data":{".":{},"f:a":{}}})");
  EXPECT_THAT(cleared("[{}]"), IsEmpty());
  for (const std::string_view sent :
       {"[]", "null", R"([{"manager":"x"}])", R"([{},{}])",
        R"([{"manager":"x","operation":"Eat","apiVersion":"v1","fieldsType":"FieldsV1"}])",
        R"([{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1",
             "fieldsV1":{"nonsense":{}}}])"}) {
    EXPECT_THAT(cleared(sent), kept) << sent;
  }
  EXPECT_THAT(cleared(R"([{"manager":"x","operation":"Update","apiVersion":"v1",
                           "fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}])"),
              ElementsAre(R"(x/Update {"f:data":{"f:a":{}}})"));
}

TEST_F(FieldOwnersTest, AnObjectWithoutOwnersGetsThemByTheFirstApply) {
  ASSERT_TRUE(create_by("configmaps", config_map(R"("a":"1","b":"1")"), {.manager = "one"}));
  ASSERT_TRUE(patch_by("configmaps", "c", R"({"metadata":{"managedFields":[{}]}})", {}));
  ASSERT_TRUE(patch_by("configmaps", "c", R"({"data":{"c":"1"}})", {}));
  EXPECT_THAT(owners(stored("configmaps", "c")), IsEmpty());
  ASSERT_TRUE(apply("configmaps", config_map(R"("a":"1")"), {.manager = "two"}));
  EXPECT_THAT(
      owners(stored("configmaps", "c")),
      ElementsAre(R"(two/Apply {"f:data":{"f:a":{}}})",
                  R"(before-first-apply/Update {"f:data":{".":{},"f:a":{},"f:b":{},"f:c":{}}})"));
}

TEST_F(FieldOwnersTest, ManyUpdatersBecomeTenAndTheOldestOne) {
  ASSERT_TRUE(create_by("configmaps", config_map(R"("k":"1")"), {.manager = "first"}));
  for (int i = 0; i < 14; ++i) {
    clock_.advance(std::chrono::seconds(1));
    ASSERT_TRUE(patch_by("configmaps", "c", fmt::format(R"({{"data":{{"k{:02}":"1"}}}})", i),
                         {.manager = fmt::format("m{:02}", i)}));
  }
  const auto held = owners(stored("configmaps", "c"));
  ASSERT_EQ(held.size(), 10u);
  EXPECT_THAT(held.front(), HasSubstr("ancient-changes/Update"));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(held.front(), HasSubstr(fmt::format("\"f:k{:02}\"", i)));
  EXPECT_EQ(held.back(), R"(m13/Update {"f:data":{"f:k13":{}}})");
}

TEST_F(FieldOwnersTest, KubectlTakesOverWhatItAppliedFromTheClient) {
  const auto with_annotation = [](std::string_view said, std::string_view members) {
    Document out = parse_document(config_map(members));
    out["metadata"].get_object()["annotations"] =
        Document{{"kubectl.kubernetes.io/last-applied-configuration",
                  boost::json::string(said.data(), said.size())}};
    return boost::json::serialize(out);
  };
  ASSERT_TRUE(create_by("configmaps",
                        with_annotation(config_map(R"("a":"1","b":"1")"), R"("a":"1","b":"2")"),
                        {.manager = "kubectl-client-side-apply"}));
  EXPECT_EQ(refusals(apply("configmaps", config_map(R"("a":"9")"), {.manager = "other"})),
            (std::vector<std::string>{"FieldManagerConflict .data.a"}));
  EXPECT_EQ(refusals(apply("configmaps", config_map(R"("a":"9","b":"9")"), {.manager = "kubectl"})),
            (std::vector<std::string>{"FieldManagerConflict .data.b"}));
  const auto taken = apply("configmaps", config_map(R"("a":"9")"), {.manager = "kubectl"});
  ASSERT_TRUE(taken);
  EXPECT_EQ(data(taken->object), "a=9 b=2");
  EXPECT_THAT(boost::json::serialize(*object_at(taken->object, "metadata.annotations")),
              HasSubstr(R"(\"data\":{\"a\":\"9\"})"));
}

TEST_F(FieldOwnersTest, AConfigurationIsCheckedBeforeItIsApplied) {
  struct Case {
    std::string name, config, message;
  };
  const std::vector<Case> cases = {
      {"no kind", R"({"apiVersion":"v1","metadata":{"name":"c"}})", "'Kind' is missing"},
      {"no version", R"({"kind":"ConfigMap","metadata":{"name":"c"}})", "'apiVersion' is missing"},
      {"another version", R"({"apiVersion":"v2","kind":"ConfigMap"})",
       "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1"},
      {"another kind", R"({"apiVersion":"v1","kind":"Secret"})", "cannot be handled"},
      {"owners", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{}]}})",
       "metadata.managedFields must be nil"},
      {"an unknown field",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"x":1})",
       ".x: field not declared in schema"},
      {"a wrong type", R"({"apiVersion":"v1","kind":"ConfigMap","data":"x"})", "data"},
      {"a finalizer twice",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"finalizers":["a/b","a/b"]}})",
       "duplicate entries"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto refused = apply("configmaps", c.config, {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, 400u);
    EXPECT_THAT(refused.error().message, HasSubstr(c.message));
  }
}

TEST_F(FieldOwnersTest, AnObjectThatIsNamedByItsUidMustBeThere) {
  const auto refused = apply("configmaps",
                             R"({"apiVersion":"v1","kind":"ConfigMap",
                                 "metadata":{"name":"c","uid":"1"}})",
                             {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 409u);
  EXPECT_THAT(refused.error().message, HasSubstr("uid mismatch"));
}

// Random configurations of a few managers: what is said once more changes nothing, everything said
// by the last one is there, and a manager that says nothing leaves exactly what others own.
TEST_F(FieldOwnersTest, ApplyIsIdempotentAndRemovesExactlyWhatWasOwned) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same cases every time
  constexpr std::string_view kManagers[] = {"one", "two", "three"};
  std::map<std::string, std::map<std::string, std::string>> said;  // by manager
  for (int round = 0; round < 120; ++round) {
    const std::string manager(kManagers[random() % 3]);
    std::map<std::string, std::string> wanted;
    for (auto i = random() % 4; i > 0; --i)
      wanted[std::string(1, static_cast<char>('a' + random() % 5))] = std::to_string(random() % 2);
    std::vector<std::string> members;
    for (const auto& [key, value] : wanted)
      members.push_back(fmt::format(R"("{}":"{}")", key, value));
    const std::string config = config_map(fmt::format("{}", fmt::join(members, ",")));
    const auto applied = apply("configmaps", config, {.manager = manager, .force = true});
    ASSERT_TRUE(applied) << applied.error().message;
    // Those who said otherwise do not own it any more.
    for (auto& [other, fields] : said) {
      for (const auto& [key, value] : wanted)
        if (fields.contains(key) && fields[key] != value) fields.erase(key);
    }
    said[manager] = wanted;
    std::map<std::string, std::string> expected;
    for (const auto& [owner, fields] : said) expected.insert(fields.begin(), fields.end());
    std::vector<std::string> texts;
    for (const auto& [key, value] : expected) texts.push_back(fmt::format("{}={}", key, value));
    EXPECT_EQ(data(applied->object), fmt::format("{}", fmt::join(texts, " "))) << config;
    const auto again = apply("configmaps", config, {.manager = manager});
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->revision, applied->revision);
    EXPECT_EQ(again->object, applied->object);
  }
}

TEST(FieldManagerName, ComesFromTheParameterOrTheUserAgent) {
  EXPECT_EQ(field_manager_name("kubectl", "curl/8"), "kubectl");
  EXPECT_EQ(field_manager_name("", "kube-proxy/v1.30 (linux/amd64)"), "kube-proxy");
  EXPECT_EQ(field_manager_name("", "a\tb\xc3\xa4/1"), "ab");
  EXPECT_EQ(field_manager_name("", "/1"), "unknown");
  EXPECT_EQ(field_manager_name("", ""), "unknown");
  EXPECT_EQ(field_manager_name("", std::string(300, 'x')), std::string(128, 'x'));
}

}  // namespace
}  // namespace fairlead::apiserver
