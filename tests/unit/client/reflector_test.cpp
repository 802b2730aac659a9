#include "client/reflector.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/informer.hpp"
#include "unit/client/fake_api.hpp"

namespace fairlead::client {
namespace {

using namespace std::chrono_literals;
using testing::Answer;
using ::testing::ElementsAre;
using testing::FakeApi;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::status_json;

std::string node(std::string_view name, int revision) {
  return fmt::format(
      R"({{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{}","resourceVersion":"{}"}}}})",
      name, revision);
}
std::string event(std::string_view type, std::string_view object) {
  return fmt::format(R"({{"type":"{}","object":{}}})", type, object);
}
std::string added(std::string_view name, int revision) {
  return event("ADDED", node(name, revision));
}
std::string bookmark(int revision, bool end_of_initial_events = false) {
  return event(
      "BOOKMARK",
      fmt::format(
          R"({{"kind":"Node","apiVersion":"v1","metadata":{{"resourceVersion":"{}"{}}}}})",
          revision,
          end_of_initial_events ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : ""));
}
std::string error_event(int code, std::string_view reason) {
  return event("ERROR", status_json(code, reason, "scripted"));
}
std::string list(int revision, std::string_view continue_token,
                 const std::vector<std::string>& items) {
  return fmt::format(
      R"({{"kind":"NodeList","apiVersion":"v1","metadata":{{"resourceVersion":"{}","continue":"{}"}},"items":[{}]}})",
      revision, continue_token, fmt::join(items, ","));
}

// Writes down what it is told, and can be awaited.
class Notebook final : public ReflectorHandler<kube::Node> {
 public:
  explicit Notebook(io::Executor executor) : changed_(std::move(executor)) {}
  void upsert(kube::Node object) override {
    write("+" + object.metadata.name + "@" + object.metadata.resource_version);
  }
  void remove(const kube::NamespacedName& key) override { write("-" + key.name); }
  void synced() override { write("synced"); }

  // Until `count` entries were written or 10 s have passed.
  io::Task<void> wait_for(std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (entries.size() < count && co_await changed_.wait_until(deadline)) {
    }
  }
  std::vector<std::string> entries;

 private:
  void write(std::string entry) {
    entries.push_back(std::move(entry));
    changed_.notify();
  }
  io::Event changed_;
};

// Everything a reflector test needs; the reflector runs from start() to the end of the test.
class ReflectorTest : public ::testing::Test {
 protected:
  void start(const std::string& url, ReflectorOptions options = {}) {
    options.backoff = {.first = 1ms, .longest = 4ms, .seed = 7};
    client_ = testing::client_to(&loop_, {.server = url});
    reflector_.emplace(Reflector<kube::Node>::Config{
        .client = client_.get(), .handler = &notebook_, .options = std::move(options)});
    group_.spawn(reflector_->run());
  }
  std::vector<std::string> entries_after(std::size_t count) {
    loop_.run(notebook_.wait_for(count));
    return notebook_.entries;
  }
  // Until the server has been asked `count` times.
  void wait_for_requests(std::size_t count) { loop_.run(poll_requests(&api_, count)); }
  static io::Task<void> poll_requests(const FakeApi* api, std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (api->requests().size() < count && std::chrono::steady_clock::now() < deadline) {
      co_await io::sleep_for(1ms);
    }
  }
  static io::Task<void> until_disconnected(const Reflector<kube::Node>* reflector) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (reflector->connected() && std::chrono::steady_clock::now() < deadline)
      co_await io::sleep_for(1ms);
  }
  void TearDown() override { loop_.run(group_.close()); }

  test::Loop loop_;
  FakeApi api_{&loop_};
  Notebook notebook_{loop_.executor()};
  std::unique_ptr<ApiClient> client_;
  std::optional<Reflector<kube::Node>> reflector_;
  io::TaskGroup group_{loop_.executor(), "reflector test"};
};

ReflectorOptions paged() { return {.streaming_list = false}; }

TEST_F(ReflectorTest, StreamingListDeliversThenSyncsThenFollows) {
  api_.script({.lines = {added("a", 1), added("b", 2), bookmark(5, true),
                         event("MODIFIED", node("a", 6)), event("DELETED", node("b", 7))},
               .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(5), ElementsAre("+a@1", "+b@2", "synced", "+a@6", "-b"));
  ASSERT_THAT(api_.targets(), SizeIs(1));
  EXPECT_THAT(
      api_.targets()[0],
      MatchesRegex(
          "/api/v1/nodes\\?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
          "&allowWatchBookmarks=true&timeoutSeconds=[3-6][0-9][0-9]"));
  EXPECT_TRUE(reflector_->synced());
  EXPECT_TRUE(reflector_->connected());
}

TEST_F(ReflectorTest, EmptyCollectionIsSyncedByItsBookmark) {
  api_.script({.lines = {bookmark(5, true)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(1), ElementsAre("synced"));
}

TEST_F(ReflectorTest, SelectorsAndNamespaceAreInEveryRequest) {
  api_.script({.status = 400, .body = status_json(400, "BadRequest", "no streaming here")});
  api_.script({.body = list(3, "", {})});
  start(api_.url(), {.label_selector = "!a/b,c", .field_selector = "metadata.name=n1"});
  wait_for_requests(3);
  for (const auto& target : api_.targets()) {
    EXPECT_THAT(target, HasSubstr("&labelSelector=%21a%2Fb%2Cc&fieldSelector=metadata.name%3Dn1"));
  }
}

TEST_F(ReflectorTest, RefusedStreamingListFallsBackToPages) {
  api_.script(
      {.status = 422, .body = status_json(422, "Invalid", "sendInitialEvents is forbidden")});
  api_.script({.body = list(9, "next page", {node("a", 1), node("b", 2)})});
  api_.script({.body = list(9, "", {node("c", 3)})});
  api_.script({.lines = {added("d", 10)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(5), ElementsAre("+a@1", "+b@2", "+c@3", "synced", "+d@10"));
  const auto targets = api_.targets();
  ASSERT_THAT(targets, SizeIs(4));
  EXPECT_EQ(targets[1], "/api/v1/nodes?limit=500&resourceVersion=0");
  EXPECT_EQ(targets[2], "/api/v1/nodes?limit=500&continue=next%20page");
  EXPECT_THAT(targets[3],
              StartsWith("/api/v1/nodes?watch=true&resourceVersion=9&allowWatchBookmarks=true&"));
}

TEST_F(ReflectorTest, ServerThatIgnoresTheStreamingListIsListedInPages) {
  api_.script({.lines = {added("a", 1)}, .hold = true});  // and never the closing bookmark
  api_.script({.body = list(4, "", {node("a", 1)})});
  start(api_.url(), {.streaming_patience = 30ms});
  EXPECT_THAT(entries_after(3), ElementsAre("+a@1", "+a@1", "synced"));
}

TEST_F(ReflectorTest, WatchThatEndsIsResumedFromTheLastRevisionSeen) {
  api_.script({.body = list(5, "", {})});
  api_.script({.lines = {added("a", 6), bookmark(8)}});
  api_.script({.lines = {added("b", 9)}, .cut = true});
  api_.script({.lines = {added("c", 10)}, .hold = true});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(4), ElementsAre("synced", "+a@6", "+b@9", "+c@10"));
  const auto targets = api_.targets();
  ASSERT_THAT(targets, SizeIs(4));
  EXPECT_THAT(targets[1], HasSubstr("resourceVersion=5&"));
  EXPECT_THAT(targets[2], HasSubstr("resourceVersion=8&"));
  EXPECT_THAT(targets[3], HasSubstr("resourceVersion=9&"));
}

TEST_F(ReflectorTest, ExpiredEventRelistsAndRemovesWhatWentMeanwhile) {
  api_.script({.body = list(5, "", {node("gone", 1), node("kept", 2)})});
  api_.script({.lines = {error_event(410, "Expired")}});
  api_.script({.body = list(9, "", {node("kept", 2), node("new", 8)})});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(7),
              ElementsAre("+gone@1", "+kept@2", "synced", "+kept@2", "+new@8", "-gone", "synced"));
  wait_for_requests(4);
  const auto targets = api_.targets();
  EXPECT_EQ(targets[2], "/api/v1/nodes?limit=500");  // never older than what was seen
  EXPECT_THAT(targets[3], HasSubstr("resourceVersion=9&"));
}

TEST_F(ReflectorTest, ExpiredAnswerRelistsToo) {
  api_.script({.body = list(5, "", {})});
  api_.script({.status = 410, .body = status_json(410, "Expired", "too old")});
  api_.script({.body = list(9, "", {node("a", 8)})});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(3), ElementsAre("synced", "+a@8", "synced"));
}

TEST_F(ReflectorTest, ExpiredStreamIsStreamedAgainAndCompared) {
  api_.script({.lines = {added("gone", 1), added("kept", 2), bookmark(2, true),
                         error_event(410, "Expired")}});
  api_.script({.lines = {added("kept", 2), bookmark(9, true)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(6),
              ElementsAre("+gone@1", "+kept@2", "synced", "+kept@2", "-gone", "synced"));
}

TEST_F(ReflectorTest, StreamingListThatIsCutOffRemovesNothing) {
  api_.script({.lines = {added("a", 1), added("b", 2), bookmark(2, true)}, .cut = true});
  api_.script({.lines = {error_event(410, "Expired")}});
  api_.script({.lines = {added("a", 1)}, .cut = true});  // before its end: b may exist
  api_.script({.lines = {added("a", 1), added("b", 2), bookmark(9, true)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(7),
              ElementsAre("+a@1", "+b@2", "synced", "+a@1", "+a@1", "+b@2", "synced"));
}

TEST_F(ReflectorTest, PageTokenThatExpiresStartsTheListOver) {
  api_.script({.body = list(5, "token", {node("a", 1)})});
  api_.script({.status = 410, .body = status_json(410, "Expired", "token too old")});
  api_.script({.body = list(6, "", {node("a", 1), node("b", 6)})});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(4), ElementsAre("+a@1", "+a@1", "+b@6", "synced"));
}

TEST_F(ReflectorTest, EventThatCannotBeReadIsSkipped) {
  api_.script({.lines = {bookmark(5, true), R"({"type":"ADDED","object":{"metadata":{"name":7}}})",
                         "not json", added("b", 7)},
               .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(2), ElementsAre("synced", "+b@7"));
}

TEST_F(ReflectorTest, OtherErrorEventKeepsTheRevision) {
  api_.script({.body = list(5, "", {})});
  api_.script({.lines = {added("a", 6), error_event(500, "InternalError")}});
  api_.script({.lines = {added("b", 7)}, .hold = true});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(3), ElementsAre("synced", "+a@6", "+b@7"));
  EXPECT_THAT(api_.targets()[2], HasSubstr("resourceVersion=6&"));
}

TEST_F(ReflectorTest, ServerWhoseCounterWentBackIsListedAnew) {
  api_.script({.body = list(500, "", {node("a", 1)})});
  api_.script({.lines = {error_event(504, "Timeout")}});
  api_.script({.body = list(3, "", {node("b", 2)})});
  start(api_.url(), paged());
  EXPECT_THAT(entries_after(5), ElementsAre("+a@1", "synced", "+b@2", "-a", "synced"));
}

TEST_F(ReflectorTest, ForbiddenIsRetriedWithoutGivingUpStreaming) {
  api_.script({.status = 403, .body = status_json(403, "Forbidden", "no")});
  api_.script({.lines = {added("a", 1), bookmark(2, true)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(2), ElementsAre("+a@1", "synced"));
  EXPECT_THAT(api_.targets()[1], HasSubstr("sendInitialEvents=true"));
}

TEST_F(ReflectorTest, SurvivesAServerThatDiesAndComesBack) {
  Port port{};
  {
    FakeApi first(&loop_);
    port = first.port();
    first.script({.lines = {added("a", 1), bookmark(4, true)}, .hold = true});
    start(first.url());
    EXPECT_THAT(entries_after(2), ElementsAre("+a@1", "synced"));
  }
  // While it is away, attempts fail and nothing known is dropped.
  loop_.run(until_disconnected(&*reflector_));
  EXPECT_FALSE(reflector_->connected());
  EXPECT_THAT(notebook_.entries, SizeIs(2));
  FakeApi second(&loop_, port);
  second.script({.body = list(4, "", {node("a", 1)})});
  second.script({.lines = {event("MODIFIED", node("a", 6))}, .hold = true});
  EXPECT_THAT(entries_after(3), ElementsAre("+a@1", "synced", "+a@6"));
  EXPECT_EQ(second.targets()[0], "/api/v1/nodes?limit=1") << "where does it stand?";
  EXPECT_THAT(second.targets()[1], HasSubstr("resourceVersion=4&"));
  EXPECT_TRUE(reflector_->connected());
  loop_.run(group_.close());
}

TEST_F(ReflectorTest, ServerThatComesBackBehindIsListedAnew) {
  Port port{};
  {
    FakeApi first(&loop_);
    port = first.port();
    first.script({.lines = {added("a", 100), bookmark(400, true)}, .hold = true});
    start(first.url());
    EXPECT_THAT(entries_after(2), ElementsAre("+a@100", "synced"));
  }
  loop_.run(until_disconnected(&*reflector_));
  FakeApi second(&loop_, port);  // restored from a backup: its counter is at 7
  second.script({.body = list(7, "", {node("b", 6)})});
  second.script({.lines = {added("b", 6), bookmark(7, true)}, .hold = true});
  EXPECT_THAT(entries_after(5), ElementsAre("+a@100", "synced", "+b@6", "-a", "synced"));
  loop_.run(group_.close());
}

TEST_F(ReflectorTest, LargeInitialStateArrivesWhole) {
  constexpr int kObjects = 5000;
  std::string all;
  for (int i = 0; i < kObjects; ++i) all += added(fmt::format("n{}", i), i) + "\n";
  api_.script({.lines = {all + bookmark(kObjects, true)}, .hold = true});
  start(api_.url());
  EXPECT_THAT(entries_after(kObjects + 1), SizeIs(kObjects + 1));
  EXPECT_EQ(notebook_.entries.back(), "synced");
}

TEST(Store, HoldsObjectsAndReportsOnlyRealChanges) {
  std::vector<std::string> changes;
  Store<kube::Node> store;
  store.on_change([&changes](const kube::Node* before, const kube::Node* after) {
    changes.push_back(fmt::format("{}->{}", before ? before->metadata.resource_version : "none",
                                  after ? after->metadata.resource_version : "none"));
  });
  kube::Node one;
  one.metadata.name = "n";
  one.metadata.resource_version = "1";
  auto two = one;
  two.metadata.resource_version = "2";
  store.upsert(one);
  store.upsert(one);
  store.upsert(two);
  ASSERT_NE(store.get({.namespace_ = "", .name = "n"}), nullptr);
  EXPECT_EQ(*store.get({.namespace_ = "", .name = "n"}), two);
  store.remove({.namespace_ = "", .name = "n"});
  store.remove({.namespace_ = "", .name = "n"});
  EXPECT_EQ(store.size(), 0U);
  EXPECT_THAT(changes, ElementsAre("none->1", "1->2", "2->none"));
}

TEST_F(ReflectorTest, ResourceThatTheServerLacksIsAskedForAgainAfterItsPause) {
  api_.script({.status = 404, .body = "404 page not found\n"});  // the streaming list
  api_.script({.status = 404, .body = "404 page not found\n"});  // the list in pages
  api_.script({.body = list(7, "", {node("a", 5)})});
  const auto begin = std::chrono::steady_clock::now();
  start(api_.url(), {.absence_pause = 200ms});
  EXPECT_THAT(entries_after(2), ElementsAre("+a@5", "synced"));
  // The backoff of these tests is 4 ms at most.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
}

}  // namespace
}  // namespace fairlead::client
