// OpenAPI v3, and v2 against it. That the protobuf is what clients expect is shown with
// kubectl 1.20, in tests/api.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include "apiserver/openapi_v2.hpp"
#include "apiserver/review_kinds.hpp"
#include "kube/protobuf_wire.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<OpenApiDocument> documents() {
  return make_openapi_documents(make_strategies(ipv4_cluster()));
}

// What kubectl looks for before it creates or applies anything.
TEST(OpenApi, EveryKindSaysItsFieldsAndThatTheServerChecksThem) {
  const auto strategies = make_strategies(ipv4_cluster());
  std::vector<std::string> paths, kinds, served;
  for (const OpenApiDocument& document : make_openapi_documents(strategies)) {
    paths.push_back(document.path);
    const Document& whole = document.content;
    EXPECT_EQ(string_at(whole, "openapi"), "3.0.0");
    for (const auto& [url, item] : whole.at("paths").as_object()) {
      const Document* patch = object_at(item.as_object(), "patch");
      if (patch == nullptr) continue;
      EXPECT_EQ(string_at(patch->at("parameters").as_array().at(0).as_object(), "name"),
                "fieldValidation")
          << url;
      EXPECT_TRUE(object_at(*patch, "requestBody.content")
                      ->contains("application/strategic-merge-patch+json"))
          << url;
      kinds.push_back(boost::json::serialize(patch->at("x-kubernetes-group-version-kind")));
    }
    for (const auto& [name, schema] : *object_at(whole, "components.schemas")) {
      const auto& described = schema.at("x-kubernetes-group-version-kind").as_array();
      ASSERT_EQ(described.size(), 1U) << name;
      served.push_back(boost::json::serialize(described[0]));
      const auto& properties = schema.at("properties").as_object();
      EXPECT_TRUE(properties.contains("metadata") && properties.contains("kind")) << name;
    }
  }
  EXPECT_THAT(paths, ElementsAre("api/v1", "apis/authentication.k8s.io/v1",
                                 "apis/authorization.k8s.io/v1", "apis/coordination.k8s.io/v1",
                                 "apis/discovery.k8s.io/v1", "apis/events.k8s.io/v1",
                                 "apis/networking.k8s.io/v1", "apis/rbac.authorization.k8s.io/v1"));
  std::vector<std::string> expected;
  const auto expect = [&expected](const ResourceInfo& info) {
    expected.push_back(fmt::format(R"({{"group":"{}","version":"{}","kind":"{}"}})", info.group,
                                   info.version, info.kind));
  };
  for (const auto& strategy : strategies) expect(strategy->info());
  EXPECT_THAT(kinds, testing::UnorderedElementsAreArray(expected));
  for (const ReviewKind& review : review_kinds()) expect(review.info);
  EXPECT_THAT(served, testing::UnorderedElementsAreArray(expected));
}

// The fields below `schema` that are not described, but what has no fields of its own to us.
void collect_undescribed(const Document& schema, const std::string& path,
                         std::vector<std::string>& out) {
  const Document* at = &schema;
  if (const Document* items = object_at(schema, "items")) at = items;
  const Document* properties = object_at(*at, "properties");
  if (properties == nullptr) return;
  for (const auto& [name, field] : *properties) {
    const std::string inner = fmt::format("{}.{}", path, std::string_view(name));
    if (string_at(field.as_object(), "description").empty()) out.push_back(inner);
    collect_undescribed(field.as_object(), inner, out);
  }
}

// Pods and Nodes have more fields than Services care for, and reviews are not made by hand.
TEST(OpenApi, EveryFieldOfServiceNetworkingIsExplained) {
  std::vector<std::string> seen, undescribed;
  for (const OpenApiDocument& document : documents()) {
    if (document.path.starts_with("apis/auth")) continue;
    for (const auto& [name, schema] : *object_at(document.content, "components.schemas")) {
      const std::string kind(name.substr(name.rfind('.') + 1));
      EXPECT_NE(string_at(schema.as_object(), "description"), "") << kind;
      if (kind == "Pod" || kind == "Node") continue;
      seen.push_back(kind);
      collect_undescribed(schema.as_object(), kind, undescribed);
    }
  }
  EXPECT_THAT(seen, testing::IsSupersetOf({"Service", "EndpointSlice", "Endpoints", "IPAddress",
                                           "ServiceCIDR", "Lease", "ClusterRoleBinding"}));
  EXPECT_THAT(undescribed, testing::IsEmpty());
}

TEST(OpenApiV2, HasTheSchemasAndPathsOfAllGroups) {
  const auto v3 = documents();
  const Document v2 = openapi_v2_of(v3);
  EXPECT_EQ(string_at(v2, "swagger"), "2.0");
  std::size_t paths = 0;
  std::size_t schemas = 0;
  for (const OpenApiDocument& document : v3) {
    for (const auto& [path, item] : document.content.at("paths").as_object()) {
      ++paths;
      const auto* found = v2.at("paths").as_object().if_contains(path);
      ASSERT_NE(found, nullptr) << path;
      for (const auto& [method, operation] : item.as_object())
        EXPECT_TRUE(found->as_object().contains(method)) << path << " " << method;
    }
    for (const auto& [name, schema] : *object_at(document.content, "components.schemas")) {
      ++schemas;
      EXPECT_EQ(v2.at("definitions").at(name), schema);
    }
  }
  EXPECT_EQ(v2.at("paths").as_object().size(), paths);
  EXPECT_EQ(v2.at("definitions").as_object().size(), schemas);
}

TEST(OpenApiV2, SpellsOperationsInItsOwnWay) {
  const Document v2 = openapi_v2_of(documents());
  const Document& item =
      v2.at("paths").at("/api/v1/namespaces/{namespace}/services/{name}").as_object();
  EXPECT_EQ(boost::json::serialize(item.at("parameters")),
            R"([{"name":"name","in":"path","type":"string","required":true},)"
            R"({"name":"namespace","in":"path","type":"string","required":true}])");
  const Document& put = item.at("put").as_object();
  EXPECT_EQ(boost::json::serialize(put.at("parameters").at(0)),
            R"({"name":"body","in":"body","required":true,)"
            R"("schema":{"$ref":"#/definitions/io.k8s.api.core.v1.Service"}})");
  EXPECT_EQ(boost::json::serialize(put.at("responses").at("200").at("schema")),
            R"({"$ref":"#/definitions/io.k8s.api.core.v1.Service"})");
  EXPECT_EQ(boost::json::serialize(item.at("patch").at("consumes")),
            R"(["application/json-patch+json","application/merge-patch+json",)"
            R"("application/strategic-merge-patch+json","application/apply-patch+yaml"])");
  const std::string whole = boost::json::serialize(v2);
  for (const char* of_v3 : {"requestBody", "#/components", "\"content\""})
    EXPECT_THAT(whole, Not(HasSubstr(of_v3)));
}

TEST(OpenApiV2, TheMessageNamesEveryDefinition) {
  const Document v2 = openapi_v2_of(documents());
  const std::string message = openapi_v2_protobuf(v2);
  std::vector<std::string> expected;
  std::vector<std::string> named;
  for (const auto& [name, schema] : v2.at("definitions").as_object())
    expected.emplace_back(name.data(), name.size());
  const auto each_field = [](std::string_view bytes, auto visit) {
    kube::WireReader reader(bytes);
    while (!reader.at_end()) {
      const auto field = reader.next();
      ASSERT_TRUE(field && *field);
      visit(**field);
    }
  };
  each_field(message, [&](const kube::WireField& of_document) {
    if (of_document.number != 9) return;
    each_field(of_document.bytes, [&](const kube::WireField& definition) {
      each_field(definition.bytes, [&](const kube::WireField& part) {
        if (part.number == 1) named.emplace_back(part.bytes);
      });
    });
  });
  EXPECT_EQ(named, expected);
}

TEST(OpenApiV2, IsProtobufForWhoAsksForItFirst) {
  EXPECT_EQ(wants_openapi_protobuf(""), false);
  EXPECT_EQ(wants_openapi_protobuf("application/json, */*"), false);
  EXPECT_EQ(wants_openapi_protobuf("application/com.github.proto-openapi.spec.v2@v1.0+protobuf"),
            true);
  EXPECT_EQ(wants_openapi_protobuf(
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf,application/json"),
            true);
  EXPECT_EQ(wants_openapi_protobuf("text/html"), std::nullopt);
}

}  // namespace
}  // namespace fairlead::apiserver
