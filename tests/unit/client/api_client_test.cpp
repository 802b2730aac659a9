#include "client/api_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/backoff.hpp"
#include "client/line_splitter.hpp"
#include "unit/client/fake_api.hpp"

namespace fairlead::client {
namespace {

using namespace std::chrono_literals;
using testing::client_to;
using testing::FakeApi;
using testing::status_json;

struct UrlCase {
  std::string text;
  ServerUrl url;
};

TEST(ParseServerUrl, TakesWhatOperatorsWrite) {
  const std::vector<UrlCase> rows{
      {"https://10.0.0.1:6443",
       {.tls = true, .host = "10.0.0.1", .port = Port{6443}, .prefix = ""}},
      {"https://api.example/",
       {.tls = true, .host = "api.example", .port = Port{443}, .prefix = ""}},
      {"http://[fd00::1]:8080",
       {.tls = false, .host = "fd00::1", .port = Port{8080}, .prefix = ""}},
      {"http://[::1]", {.tls = false, .host = "::1", .port = Port{80}, .prefix = ""}},
      {"127.0.0.1:8001", {.tls = false, .host = "127.0.0.1", .port = Port{8001}, .prefix = ""}},
      {"https://r.example/k8s/clusters/c-1//",
       {.tls = true, .host = "r.example", .port = Port{443}, .prefix = "/k8s/clusters/c-1"}},
  };
  for (const auto& row : rows) {
    const auto url = parse_server_url(row.text);
    ASSERT_TRUE(url.has_value()) << row.text;
    EXPECT_TRUE(*url == row.url) << row.text << " -> "
                                 << fmt::format("{} {} {}", url->host, url->port, url->prefix);
  }
}

struct BadUrlCase {
  std::string text, message;
};

TEST(ParseServerUrl, SaysWhatIsWrong) {
  const std::vector<BadUrlCase> rows{
      {"ftp://h", "server \"ftp://h\": the scheme is neither http nor https"},
      {"https://", "server \"https://\": the host is missing"},
      {"https://h:x", "server \"https://h:x\": \"x\" is not a port"},
      {"https://h:0", "server \"https://h:0\": \"0\" is not a port"},
      {"https://h:", "server \"https://h:\": \"\" is not a port"},
      {"https://[::1", "server \"https://[::1\": the '[' of the address is not closed"},
      {"https://[::1]6443", "server \"https://[::1]6443\": \"443\" is not a port"},
      {"https://u:p@h",
       "server \"https://u:p@h\": only a scheme, host, port and path may be given"},
      {"https://h/?q", "server \"https://h/?q\": only a scheme, host, port and path may be given"},
  };
  for (const auto& row : rows) {
    const auto url = parse_server_url(row.text);
    ASSERT_FALSE(url.has_value()) << row.text;
    EXPECT_EQ(url.error(), make_error(ErrorCode::Invalid, "{}", row.message));
  }
}

TEST(Paths, FollowTheGroupAndTheNamespace) {
  EXPECT_EQ(collection_path<kube::Service>("web"), "/api/v1/namespaces/web/services");
  EXPECT_EQ(collection_path<kube::EndpointSlice>(""), "/apis/discovery.k8s.io/v1/endpointslices");
  EXPECT_EQ(collection_path<kube::Node>("ignored"), "/api/v1/nodes");
  EXPECT_EQ(object_path<kube::Pod>({.namespace_ = "a", .name = "b"}),
            "/api/v1/namespaces/a/pods/b");
}

TEST(ApiClient, SendsPrefixCredentialsAndContentType) {
  test::Loop loop;
  FakeApi api(&loop);
  api.script({.status = 201,
              .body = R"({"kind":"Namespace","metadata":{"name":"n","resourceVersion":"7"}})"});
  ClusterAccess access;
  access.server = api.url() + "/prefix";
  access.username = "user";
  access.password = "pass";
  access.impersonate_user = "jane";
  access.impersonate_groups = {"g"};
  const auto client = client_to(&loop, access);
  kube::Namespace object;
  object.metadata.name = "n";
  const auto created = loop.run(client->create_object(object));
  ASSERT_TRUE(created && *created) << created->error().message;
  EXPECT_EQ((*created)->metadata.resource_version, "7");
  const auto& request = api.requests().at(0);
  EXPECT_EQ(request.method + " " + request.target, "POST /prefix/api/v1/namespaces");
  EXPECT_EQ(io::find_header(request.headers, "Authorization"), "Basic dXNlcjpwYXNz");
  EXPECT_EQ(io::find_header(request.headers, "Impersonate-User"), "jane");
  EXPECT_EQ(io::find_header(request.headers, "Impersonate-Group"), "g");
  EXPECT_EQ(io::find_header(request.headers, "Content-Type"), "application/json");
  EXPECT_EQ(request.body, kube::encode(object));
}

TEST(ApiClient, StatusBodiesBecomeErrorsThatNameTheRequest) {
  test::Loop loop;
  FakeApi api(&loop);
  api.script({.status = 409,
              .body = status_json(409, "AlreadyExists", "namespaces \\\"n\\\" already exists")});
  api.script({.status = 503, .body = "upstream is down"});
  const auto client = client_to(&loop, {.server = api.url()});
  auto answer = loop.run(client->post("/api/v1/namespaces", "{}"));
  ASSERT_TRUE(answer && !*answer);
  EXPECT_EQ(answer->error(),
            make_error(ErrorCode::AlreadyExists,
                       "POST /api/v1/namespaces: namespaces \"n\" already exists"));
  answer = loop.run(client->get("/x"));
  ASSERT_TRUE(answer && !*answer);
  EXPECT_EQ(answer->error().code, ErrorCode::Unavailable);
}

TEST(ApiClient, MethodsArriveAsTheyAreCalled) {
  test::Loop loop;
  FakeApi api(&loop);
  for (int i = 0; i < 5; ++i) api.script({.body = R"({"kind":"Node","metadata":{"name":"n"}})"});
  const auto client = client_to(&loop, {.server = api.url()});
  kube::Node node;
  node.metadata.name = "n";
  EXPECT_TRUE(
      loop.run(client->get_object<kube::Node>({.namespace_ = "", .name = "n"}))->has_value());
  EXPECT_TRUE(loop.run(client->replace_object(node))->has_value());
  EXPECT_TRUE(loop.run(client->replace_status(node))->has_value());
  EXPECT_TRUE(loop.run(client->patch("/p", "application/merge-patch+json", "{}"))->has_value());
  EXPECT_TRUE(
      loop.run(client->remove_object<kube::Node>({.namespace_ = "", .name = "n"}))->has_value());
  std::vector<std::string> lines;
  for (const auto& request : api.requests()) lines.push_back(request.method + " " + request.target);
  EXPECT_EQ(lines, (std::vector<std::string>{"GET /api/v1/nodes/n", "PUT /api/v1/nodes/n",
                                             "PUT /api/v1/nodes/n/status", "PATCH /p",
                                             "DELETE /api/v1/nodes/n"}));
  EXPECT_EQ(io::find_header(api.requests()[3].headers, "Content-Type"),
            "application/merge-patch+json");
}

TEST(ApiClient, TokenFileIsReadAgainAfterAMinuteAndAfterA401) {
  test::Loop loop;
  FakeApi api(&loop);
  std::string name = std::filesystem::temp_directory_path() / "fairlead-token-XXXXXX";
  const io::UniqueFd fd(::mkstemp(name.data()));
  const auto rewrite = [&name](std::string_view token) { std::ofstream(name) << token << "\n"; };
  FakeClock clock;
  rewrite("one");
  auto client = ApiClient::create(
      loop.executor(), {.access = {.server = api.url(), .token_file = name}, .clock = &clock});
  ASSERT_TRUE(client.has_value()) << client.error().message;
  const auto ask = [&](unsigned status) {
    api.script({.status = status, .body = "{}"});
    static_cast<void>(loop.run((*client)->get("/")));
    return std::string(
        io::find_header(api.requests().back().headers, "Authorization").value_or("none"));
  };
  EXPECT_EQ(ask(200), "Bearer one");
  rewrite("two");
  clock.advance(59s);
  EXPECT_EQ(ask(200), "Bearer one");
  clock.advance(1s);
  EXPECT_EQ(ask(401), "Bearer two");
  rewrite("three");
  EXPECT_EQ(ask(200), "Bearer three");
  std::filesystem::remove(name);
  clock.advance(2min);
  EXPECT_EQ(ask(200), "Bearer three");  // better an old token than none
}

TEST(ApiClient, TokenFileThatCannotBeReadIsAnError) {
  test::Loop loop;
  const auto client = ApiClient::create(
      loop.executor(), {.access = {.server = "http://h", .token_file = "/nowhere/token"}});
  ASSERT_FALSE(client.has_value());
  EXPECT_EQ(client.error().message, "bearer token: read /nowhere/token: No such file or directory");
}

TEST(TokenBucket, GivesABurstThenASteadyRate) {
  const MonoTime start{};
  TokenBucket bucket({.per_second = 10, .burst = 2}, start);
  EXPECT_EQ(bucket.take(start), 0ns);
  EXPECT_EQ(bucket.take(start), 0ns);
  EXPECT_EQ(bucket.take(start), 100ms);
  EXPECT_EQ(bucket.take(start), 200ms);
  EXPECT_EQ(bucket.take(start + 300ms), 0ns);  // both debts and one new token
  EXPECT_EQ(bucket.take(start + 1h), 0ns);     // never more than the burst is saved up
  EXPECT_EQ(bucket.take(start + 1h), 0ns);
  EXPECT_EQ(bucket.take(start + 1h), 100ms);
}

TEST(Backoff, DoublesWithJitterUpToItsLimitAndStartsOverAfterReset) {
  Backoff backoff({.first = 800ms, .longest = 30s, .seed = 1});
  auto low = 800ms;
  for (int i = 0; i < 12; ++i) {
    const auto pause = backoff.next();
    EXPECT_GE(pause, std::min(low, std::chrono::milliseconds{30s})) << i;
    EXPECT_LE(pause, std::min(low * 2, std::chrono::milliseconds{30s})) << i;
    low = std::min(low * 2, std::chrono::milliseconds{30s});
  }
  EXPECT_EQ(backoff.next(), 30s);
  backoff.reset();
  EXPECT_LE(backoff.next(), 1600ms);
}

std::vector<std::string> lines_of(const std::vector<std::string>& chunks) {
  LineSplitter splitter(1000);
  std::vector<std::string> out;
  for (const auto& chunk : chunks) {
    EXPECT_TRUE(splitter.feed(chunk).has_value());
    while (const auto line = splitter.next()) out.emplace_back(*line);
  }
  if (splitter.has_partial_line()) out.emplace_back("(partial)");
  return out;
}

TEST(LineSplitter, CutsLinesWhereverChunksEnd) {
  const std::string text = "one\ntwo\r\n\n\nthree\n";
  const std::vector<std::string> expected{"one", "two", "three"};
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      EXPECT_EQ(lines_of({text.substr(0, a), text.substr(a, b - a), text.substr(b)}), expected)
          << a << " " << b;
    }
  }
  EXPECT_EQ(lines_of({"one\ntw", "o"}), (std::vector<std::string>{"one", "(partial)"}));
}

TEST(LineSplitter, KeepsLinesThatWereNotTakenBeforeTheNextFeed) {
  LineSplitter splitter(1000);
  ASSERT_TRUE(splitter.feed("a\nb\nc").has_value());
  EXPECT_EQ(splitter.next(), "a");
  ASSERT_TRUE(splitter.feed("d\n").has_value());
  EXPECT_EQ(splitter.next(), "b");
  EXPECT_EQ(splitter.next(), "cd");
  EXPECT_EQ(splitter.next(), std::nullopt);
}

TEST(LineSplitter, RefusesALineWithoutEnd) {
  LineSplitter splitter(100);
  Result<void> fed;
  int feeds = 0;
  for (; fed && feeds < 100; ++feeds) {
    fed = splitter.feed(std::string(10, 'x'));
    EXPECT_EQ(splitter.next(), std::nullopt);
  }
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error(), make_error(ErrorCode::TooLarge, "a line is longer than 100 bytes"));
  EXPECT_EQ(feeds, 12);
}

}  // namespace
}  // namespace fairlead::client
