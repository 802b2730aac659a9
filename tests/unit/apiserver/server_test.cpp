// The whole server over real sockets on loopback: what clients see of lists, watches, errors and
// restarts.
#include "apiserver/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(ServerTest, AnObjectLivesItsLife) {
  start();
  const Answer made = create_node("n1");
  EXPECT_EQ(made.status, 201U);
  EXPECT_EQ(io::find_header(made.headers, "Cache-Control"), "no-cache, private");
  EXPECT_TRUE(io::find_header(made.headers, "Audit-Id"));
  const std::string path = std::string(kNodes) + "/n1";
  EXPECT_EQ(call("GET", path).revision(), made.revision());
  EXPECT_EQ(create_node("n1").reason(), "AlreadyExists");

  Document changed = made.body;
  changed["metadata"].as_object()["labels"] = Document{{"app", "y"}};
  const Answer updated = call("PUT", path, boost::json::serialize(changed));
  EXPECT_EQ(updated.status, 200U);
  EXPECT_NE(updated.revision(), made.revision());
  const Answer stale = call("PUT", path, boost::json::serialize(changed));
  EXPECT_EQ(stale.status, 409U);
  EXPECT_EQ(stale.reason(), "Conflict");
  EXPECT_EQ(label_node("n1", "y").revision(), updated.revision());  // no change, no revision
  EXPECT_EQ(call("DELETE", path).status, 200U);
  const Answer gone = call("GET", path);
  EXPECT_EQ(gone.status, 404U);
  EXPECT_EQ(string_at(gone.body, "message"), "nodes \"n1\" not found");
}

TEST_F(ServerTest, EveryRefusalIsAStatusWithItsCode) {
  start();
  struct Case {
    std::string_view name;
    std::string method, target, body, type;
    unsigned status;
    std::string_view reason;
  };
  const Case cases[] = {
      {"unknown resource", "GET", "/api/v1/nopes", "", "", 404, "NotFound"},
      {"unknown group", "GET", "/apis/nope.example/v1/x", "", "", 404, ""},
      {"unknown subresource", "GET", "/api/v1/nodes/a/scale", "", "", 404, "NotFound"},
      {"cluster kind in a namespace", "GET", "/api/v1/namespaces/default/nodes", "", "", 404,
       "NotFound"},
      {"POST to a name", "POST", "/api/v1/nodes/a", "{}", "application/json", 405,
       "MethodNotAllowed"},
      {"PUT to a collection", "PUT", "/api/v1/nodes", "{}", "application/json", 405,
       "MethodNotAllowed"},
      {"POST over all namespaces", "POST", "/api/v1/services", "{}", "application/json", 405,
       "MethodNotAllowed"},
      {"body of another type", "POST", "/api/v1/nodes", "x", "text/plain", 415,
       "UnsupportedMediaType"},
      {"patch of another type", "PATCH", "/api/v1/nodes/a", "{}", "application/json", 415,
       "UnsupportedMediaType"},
      {"malformed JSON", "POST", "/api/v1/nodes", "{", "application/json", 400, "BadRequest"},
      {"too large", "POST", "/api/v1/nodes", std::string(3 * 1024 * 1024 + 1, ' '),
       "application/json", 413, "RequestEntityTooLarge"},
      {"invalid name", "POST", "/api/v1/nodes", R"({"metadata":{"name":"A"}})", "application/json",
       422, "Invalid"},
      {"dryRun", "POST", "/api/v1/nodes?dryRun=Some", "{}", "application/json", 422, "Invalid"},
      {"fieldValidation", "POST", "/api/v1/nodes?fieldValidation=Bad", "{}", "application/json",
       422, "Invalid"},
      {"selector", "GET", "/api/v1/nodes?labelSelector=a+in+b", "", "", 400, "BadRequest"},
      {"name of dots", "GET", "/api/v1/nodes/..", "", "", 400, "BadRequest"},
      {"encoded slash", "GET", "/api/v1/nodes/..%2fx", "", "", 404, ""},
      {"missing namespace", "POST", "/api/v1/namespaces/none/pods", R"({"metadata":{"name":"a"}})",
       "application/json", 404, "NotFound"},
  };
  for (const Case& c : cases) {
    const Answer answer = call(c.method, c.target, c.body, c.type);
    EXPECT_EQ(answer.status, c.status) << c.name;
    EXPECT_EQ(answer.reason(), c.reason) << c.name;
  }
}

TEST_F(ServerTest, NothingAcceptableIs406) {
  start();
  const Answer answer =
      send(*client_, {.target = std::string(kNodes), .headers = {{"Accept", "text/html"}}});
  EXPECT_EQ(answer.status, 406U);
  EXPECT_EQ(answer.reason(), "NotAcceptable");
}

TEST_F(ServerTest, PagesOfAListAreOneSnapshot) {
  start();
  for (const char* name : {"a", "b", "c"}) create_node(name);
  const Answer first = call("GET", "/api/v1/nodes?limit=1");
  EXPECT_EQ(int_at(first.body, "metadata.remainingItemCount"), 2);
  create_node("bb");
  EXPECT_EQ(call("DELETE", "/api/v1/nodes/c").status, 200U);

  std::vector<std::string> names;
  std::string token(string_at(first.body, "metadata.continue"));
  while (!token.empty()) {
    const Answer page =
        call("GET", fmt::format("/api/v1/nodes?limit=1&continue={}", io::percent_encode(token)));
    EXPECT_EQ(page.revision(), first.revision());
    for (const auto& item : *array_at(page.body, "items")) {
      names.emplace_back(string_at(item.get_object(), "metadata.name"));
    }
    token = string_at(page.body, "metadata.continue");
  }
  EXPECT_THAT(names, ElementsAre("b", "c"));
  const Answer exact = call(
      "GET",
      fmt::format("/api/v1/nodes?resourceVersion={}&resourceVersionMatch=Exact", first.revision()));
  EXPECT_EQ(array_at(exact.body, "items")->size(), 3U);
  EXPECT_EQ(array_at(call("GET", std::string(kNodes)).body, "items")->size(), 3U);
}

TEST_F(ServerTest, AWatchFromAListsRevisionSeesWhatFollows) {
  start();
  create_node("old");
  const std::string revision(call("GET", std::string(kNodes)).revision());
  Watch watching = watch(fmt::format("resourceVersion={}&timeoutSeconds=1", revision));
  create_node("n1");
  label_node("n1", "y");
  call("DELETE", "/api/v1/nodes/n1");
  EXPECT_EQ(next_text(watching), "ADDED n1");
  EXPECT_EQ(next_text(watching), "MODIFIED n1");
  EXPECT_EQ(next_text(watching), "DELETED n1");
  EXPECT_EQ(next_text(watching), "end");  // after timeoutSeconds, with the last chunk
}

TEST_F(ServerTest, AStreamedListEndsWithItsBookmarkAlsoWhenEmpty) {
  start();
  constexpr std::string_view kQuery =
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&"
      "timeoutSeconds=60";
  Watch empty = watch(kQuery);
  const auto bookmark = next(empty);
  ASSERT_TRUE(bookmark);
  EXPECT_EQ(string_at(*bookmark, "type"), "BOOKMARK");
  EXPECT_EQ(string_at(*bookmark, "object.kind"), "Node");
  EXPECT_EQ(boost::json::value(*bookmark).at_pointer(
                "/object/metadata/annotations/k8s.io~1initial-events-end"),
            "true");

  create_node("a");
  create_node("b", "y");
  Watch full = watch(fmt::format("{}&labelSelector=app%3Dx", kQuery));
  EXPECT_EQ(next_text(full), "ADDED a");
  EXPECT_EQ(next_text(full), "BOOKMARK ");
  label_node("b", "x");
  label_node("a", "y");
  EXPECT_EQ(next_text(full), "ADDED b");
  EXPECT_EQ(next_text(full), "DELETED a");
}

TEST_F(ServerTest, AWatchOfOneNameBeginsWithIt) {
  start();
  create_node("a");
  create_node("b");
  Watch watching = watch("resourceVersion=0&fieldSelector=metadata.name%3Db");
  EXPECT_EQ(next_text(watching), "ADDED b");
  label_node("a", "y");
  label_node("b", "y");
  EXPECT_EQ(next_text(watching), "MODIFIED b");
}

TEST_F(ServerTest, AWatchFromTooFarInTheFutureFailsInTheStream) {
  start();
  Watch watching = watch(
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1000000&"
      "timeoutSeconds=30");
  const auto event = next(watching);
  ASSERT_TRUE(event);
  EXPECT_EQ(string_at(*event, "type"), "ERROR");
  EXPECT_EQ(int_at(*event, "object.code"), 504);
}

TEST_F(ServerTest, TableWatchesPrintRows) {
  start();
  create_node("a");
  Watch watching =
      watch("resourceVersion=0", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
  const auto event = next(watching);
  ASSERT_TRUE(event);
  EXPECT_EQ(string_at(*event, "object.kind"), "Table");
  EXPECT_EQ(boost::json::value(*event).at_pointer("/object/rows/0/cells/0"), "a");
}

TEST_F(ServerTest, ACollectionIsDeletedBySelector) {
  start();
  create_node("a", "x");
  create_node("b", "y");
  create_node("c", "x");
  const Answer removed = call("DELETE", "/api/v1/nodes?labelSelector=app%3Dx");
  EXPECT_EQ(removed.status, 200U);
  EXPECT_EQ(string_at(removed.body, "kind"), "NodeList");
  EXPECT_EQ(array_at(removed.body, "items")->size(), 2U);
  EXPECT_EQ(array_at(call("GET", std::string(kNodes)).body, "items")->size(), 1U);
}

TEST_F(ServerTest, SystemNamespacesAreThereAndStay) {
  start();
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    EXPECT_EQ(call("GET", fmt::format("/api/v1/namespaces/{}", name)).status, 200U) << name;
  }
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/default").status, 403U);
}

TEST_F(ServerTest, ADeletedNamespaceIsEmptiedAndThenGone) {
  start();
  call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"team"}})");
  const Answer slice = call("POST", "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices",
                            R"({"metadata":{"name":"s"},"addressType":"IPv4","endpoints":[]})");
  ASSERT_EQ(slice.status, 201U) << boost::json::serialize(slice.body);
  auto opened = run_task(
      loop_,
      client_->open(
          {.target = "/api/v1/"
                     "namespaces?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dteam"},
          10s));
  ASSERT_TRUE(opened);
  Watch watching{.stream = *std::move(opened), .buffer = {}};
  EXPECT_EQ(next_text(watching), "ADDED team");
  const Answer deleted = call("DELETE", "/api/v1/namespaces/team");
  EXPECT_EQ(string_at(deleted.body, "status.phase"), "Terminating");
  EXPECT_EQ(next_text(watching), "MODIFIED team");
  EXPECT_EQ(next_text(watching), "DELETED team");
  EXPECT_EQ(call("GET", "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices/s").status, 404U);
}

TEST_F(ServerTest, ARestartKeepsObjectsRevisionsAndWatches) {
  const std::string folder = temporary_folder();
  start(folder);
  const std::string before(create_node("a").revision());
  const std::string ca = server_->pki().ca_pem();
  create_node("b");
  restart(folder);
  EXPECT_EQ(server_->pki().ca_pem(), ca);
  EXPECT_EQ(call("GET", "/api/v1/nodes/a").revision(), before);
  Watch watching = watch(fmt::format("resourceVersion={}", before));
  EXPECT_EQ(next_text(watching), "ADDED b");
  const Answer next_write = create_node("c");
  EXPECT_GT(std::stoull(std::string(next_write.revision())), std::stoull(before) + 1);
}

TEST_F(ServerTest, ASecondServerOfTheSameDirectoryIsRefused) {
  const std::string folder = temporary_folder();
  start(folder);
  ApiServer::Config config;
  config.data_directory = folder;
  config.kinds.service_cidrs = {*IpPrefix::parse("10.96.0.0/16")};
  const auto second = ApiServer::create(loop_.get_executor(), std::move(config));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another process uses it"));
}

TEST_F(ServerTest, CredentialsDecideOverTls) {
  start();
  const SocketAddress secure = server_->addresses()[1];
  const auto tls = [this](std::optional<io::KeyPair> identity) {
    auto made = io::TlsClient::create({.ca_pem = server_->pki().ca_pem(),
                                       .identity = std::move(identity),
                                       .server_name = "127.0.0.1"});
    EXPECT_TRUE(made);
    return *std::move(made);
  };
  const auto admin_identity =
      server_->pki().client_identity("root", {std::string(kMasters)}, Clock::real());
  ASSERT_TRUE(admin_identity);
  const auto nobody = connect(secure, tls(std::nullopt));
  const auto admin = connect(secure, tls(*admin_identity));

  EXPECT_EQ(send(*nobody, {.target = "/healthz"}).status, 200U);
  for (const std::string_view target :
       {std::string_view("/version"), std::string_view("/api"), kNodes})
    EXPECT_EQ(send(*nobody, {.target = std::string(target)}).status, 401U) << target;
  EXPECT_EQ(
      send(*nobody, {.target = "/version", .headers = {{"Authorization", "Bearer wrong"}}}).status,
      401U);
  EXPECT_EQ(send(*nobody, {.target = "/api", .headers = {{"Authorization", "Bearer alices-token"}}})
                .status,
            200U);
  EXPECT_EQ(send(*nobody, {.target = std::string(kNodes),
                           .headers = {{"Authorization", "Bearer alices-token"}}})
                .status,
            403U);
  EXPECT_EQ(send(*admin, {.target = std::string(kNodes)}).status, 200U);
  EXPECT_EQ(
      send(*admin, {.target = std::string(kNodes), .headers = {{"Impersonate-User", "x"}}}).status,
      403U);
}

TEST_F(ServerTest, DiscoveryAndOpenApiSatisfyKubectl) {
  start();
  const Answer apis =
      send(*client_,
           {.target = "/apis",
            .headers = {{"Accept",
                         "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}}});
  EXPECT_EQ(string_at(apis.body, "kind"), "APIGroupDiscoveryList");
  EXPECT_EQ(string_at(call("GET", "/api/v1").body, "kind"), "APIResourceList");
  const Answer index = call("GET", "/openapi/v3");
  const auto* core = index.body.at("paths").as_object().if_contains("api/v1");
  ASSERT_NE(core, nullptr);
  const std::string url(string_at(core->get_object(), "serverRelativeURL"));
  const Answer document = call("GET", url);
  EXPECT_EQ(document.status, 200U);
  EXPECT_THAT(boost::json::serialize(document.body), HasSubstr("fieldValidation"));
  EXPECT_EQ(call("GET", "/openapi/v3/api/v1?hash=old").status, 301U);
  EXPECT_EQ(call("GET", "/openapi/v2").status, 200U);
}

}  // namespace
}  // namespace fairlead::apiserver
