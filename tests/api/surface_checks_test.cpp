// Paths, discovery, encodings and what a stranger may try with them: checks D, and A7 and C29, of
// docs/apiserver-checks.md.
#include <boost/json/serialize.hpp>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class SurfaceChecks : public HttpTest {};
INSTANTIATE_TEST_SUITE_P(Stores, SurfaceChecks, both_stores(), name_of);

TEST_P(SurfaceChecks, VersionAndHealthAreTold) {
  start();
  const Answer version = get("/version");
  EXPECT_EQ(version.status, 200U);
  EXPECT_EQ(version.at("/major"), "1");
  EXPECT_EQ(version.at("/minor"), "36");
  EXPECT_THAT(version.at("/gitVersion"), StartsWith("v1."));
  for (const char* path : {"/healthz", "/livez", "/readyz"}) {
    const Answer health = get(path);
    EXPECT_EQ(health.status, 200U) << path;
    EXPECT_EQ(health.text, "ok") << path;
    EXPECT_THAT(health.header("Content-Type"), StartsWith("text/plain")) << path;
  }
  EXPECT_EQ(get("/readyz/etcd").text, "ok");
  EXPECT_EQ(get("/readyz?verbose&exclude=etcd").text,
            "[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n");
  EXPECT_EQ(get("/readyz/nothing").status, 404U);
}

TEST_P(SurfaceChecks, DiscoveryIsAggregatedForWhoAsks) {
  start();
  const std::string accept =
      "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
      "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
  for (const char* path : {"/api", "/apis"}) {
    const Answer all = get(path, accept);
    EXPECT_THAT(all.header("Content-Type"),
                AllOf(HasSubstr("g=apidiscovery.k8s.io"), HasSubstr("v=v2"),
                      HasSubstr("as=APIGroupDiscoveryList")));
    EXPECT_EQ(all.at("/kind"), "APIGroupDiscoveryList");
    EXPECT_EQ(all.header("Vary"), "Accept");
    ASSERT_THAT(all.header("ETag"), ContainsRegex("^\".+\"$"));
    EXPECT_EQ(call("GET", path, {}, {.accept = accept, .if_none_match = all.header("ETag")}).status,
              304U);
  }
  const Answer groups = get("/apis", accept);
  EXPECT_THAT(groups.text, AllOf(HasSubstr(R"("name":"discovery.k8s.io")"),
                                 HasSubstr(R"("resource":"endpointslices")")));
}

TEST_P(SurfaceChecks, DiscoveryIsLegacyForOldClients) {
  start();
  const auto kind = [this](std::string_view path) {
    return get(path, "application/json").at("/kind");
  };
  EXPECT_EQ(kind("/api"), "APIVersions");
  EXPECT_EQ(kind("/apis"), "APIGroupList");
  EXPECT_EQ(kind("/apis/discovery.k8s.io"), "APIGroup");
  EXPECT_EQ(kind("/apis/discovery.k8s.io/v1"), "APIResourceList");
  const Answer core = get("/api/v1", "application/json");
  EXPECT_EQ(core.at("/kind"), "APIResourceList");
  bool seen = false;
  for (const auto& resource : core.body.at("resources").as_array()) {
    if (resource.at("name").as_string() != "services") continue;
    seen = true;
    EXPECT_EQ(boost::json::serialize(resource.at("shortNames")), R"(["svc"])");
    EXPECT_TRUE(resource.at("namespaced").as_bool());
  }
  EXPECT_TRUE(seen);
}

TEST_P(SurfaceChecks, WhatIsNotThereIs404AndTheWrongMethod405) {
  start();
  EXPECT_EQ(get("/apis/nope.example/v1/x").status, 404U);
  EXPECT_EQ(get("/api/v1/nopes").outcome(), "404 NotFound");
  EXPECT_EQ(call("POST", service_path("x"), "{}").outcome(), "405 MethodNotAllowed");
  EXPECT_EQ(call("PUT", kServices, "{}").outcome(), "405 MethodNotAllowed");
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

// What `kubectl create service clusterip c1 --tcp=80:8080` sends.
constexpr std::string_view kServiceInProtobuf =
    "6b3873000a0d0a02763112075365727669636512660a1d0a02633112001a0022002a003200380042005a090a036170"
    "701202633112410a1b0a0738302d38303830120354435018502207080010903f1a00280012090a0361707012026331"
    "1a002209436c757374657249503a00420052005a00600068001a020a001a002200";

TEST_P(SurfaceChecks, ProtobufAndYamlAreUnderstood) {
  start();
  const std::string body = from_hex(kServiceInProtobuf);
  ASSERT_EQ(body.size(), 127U);
  const std::string protobuf = "application/vnd.kubernetes.protobuf";
  const Answer binary = call("POST", kServices, body, {.type = protobuf, .accept = protobuf});
  EXPECT_EQ(binary.status, 201U);
  EXPECT_EQ(binary.header("Content-Type"), protobuf);
  EXPECT_THAT(binary.text, StartsWith(std::string_view("k8s\0", 4)));
  const Answer made = get(service_path("c1"), "application/json");
  EXPECT_EQ(made.at("/spec/selector"), R"({"app":"c1"})");
  EXPECT_EQ(
      made.value_at("/spec/ports"),
      boost::json::parse(R"([{"name":"80-8080","protocol":"TCP","port":80,"targetPort":8080}])"));
  EXPECT_EQ(call("DELETE", service_path("c1")).status, 200U);
  const Answer json =
      call("POST", kServices, body, {.type = protobuf, .accept = protobuf + ",application/json"});
  EXPECT_EQ(json.status, 201U);
  EXPECT_EQ(call("POST", kServices, "metadata: {name: in-yaml}\nspec: {ports: [{port: 80}]}\n",
                 {.type = "application/yaml"})
                .status,
            201U);
  EXPECT_EQ(call("POST", kServices, "x", {.type = "application/cbor"}).outcome(),
            "415 UnsupportedMediaType");
}

TEST_P(SurfaceChecks, TablesAndMetadataAloneAreGivenToWhoAsks) {
  start();
  ASSERT_EQ(create_service("x").status, 201U);
  const std::string table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  const Answer rows = get(kServices, table);
  EXPECT_EQ(rows.at("/kind"), "Table");
  EXPECT_EQ(rows.body.at("columnDefinitions").as_array().size(), 7U);
  EXPECT_EQ(rows.at("/rows/0/object/kind"), "PartialObjectMetadata");
  EXPECT_THAT(rows.at("/rows/0/object/spec"), "");
  EXPECT_THAT(get(fmt::format("{}?includeObject=None", kServices), table).at("/rows/0/object"), "");
  const Answer whole = get(fmt::format("{}?includeObject=Object", kServices), table);
  EXPECT_EQ(whole.at("/rows/0/object/kind"), "Service");
  EXPECT_EQ(whole.at("/rows/0/object/apiVersion"), "v1");
  EXPECT_EQ(whole.at("/rows/0/object/spec/type"), "ClusterIP");
  const Answer metadata =
      get(service_path("x"), "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
  EXPECT_EQ(metadata.at("/kind"), "PartialObjectMetadata");
  EXPECT_EQ(metadata.at("/metadata/name"), "x");
  EXPECT_EQ(metadata.at("/spec"), "");
}

TEST_P(SurfaceChecks, TricksWithPathsLeadNowhere) {
  start();
  EXPECT_EQ(get(service_path("..%2f..%2fx")).status, 404U);
  EXPECT_EQ(get(service_path("%00")).status, 404U);
  EXPECT_EQ(get(service_path(".")).status, 400U);
  EXPECT_EQ(get(service_path("..")).status, 400U);
  EXPECT_EQ(get("/api/v1/namespaces//services").status, 404U);
  EXPECT_EQ(get(fmt::format("{}//x", kServices)).status, 404U);
  EXPECT_EQ(get(fmt::format("{}/", kServices)).at("/kind"), "ServiceList");
}

// Less than a body may have, more than a store keeps in one piece.
TEST_P(SurfaceChecks, AnObjectThatIsTooLargeIs413) {
  start();
  std::string addresses;
  for (int i = 0; i < 100'000; ++i) {
    addresses += fmt::format(R"({}{{"ip":"10.{}.{}.{}"}})", i == 0 ? "" : ",", 1 + i / 65536,
                             i / 256 % 256, i % 256);
  }
  const std::string endpoints = fmt::format(
      R"({{"metadata":{{"name":"many"}},"subsets":[{{"addresses":[{}],"ports":[{{"port":80}}]}}]}})",
      addresses);
  ASSERT_LT(endpoints.size(), 3U * 1024 * 1024);
  EXPECT_EQ(call("POST", "/api/v1/namespaces/default/endpoints", endpoints).outcome(),
            "413 RequestEntityTooLarge");
  EXPECT_EQ(get("/api/v1/namespaces/default/endpoints/many").status, 404U);
}

TEST_P(SurfaceChecks, ABodyThatIsTooLargeIs413) {
  start();
  std::string body = R"({"metadata":{"name":"a"},"x":")";
  body.append(3'145'729 - body.size(), 'x');
  EXPECT_EQ(call("POST", kServices, body).outcome(), "413 RequestEntityTooLarge");
  EXPECT_EQ(get("/readyz").status, 200U);
}

}  // namespace
}  // namespace fairlead::api_test
