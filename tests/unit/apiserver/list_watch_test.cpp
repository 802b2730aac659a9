// Lists and watches over HTTP: what each resourceVersion means, what is too old, what is too new,
// and what happens to who does not read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/json/array.hpp>

#include "apiserver/store/sqlite_store.hpp"
#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Names = std::vector<std::string>;

class ListWatchTest : public ServerTest {
 protected:
  // On a store that the test can compact and that outlives the server.
  void start_on_store() {
    if (!store_) {
      auto opened =
          open_sqlite_store(loop_.get_executor(), {.path = ":memory:", .queued_commits = 100});
      ASSERT_TRUE(opened) << opened.error().message;
      store_ = *std::move(opened);
    }
    start();
  }
  void restart_on_store() {
    run_task(loop_, server_->close());
    client_.reset();
    server_.reset();
    start_on_store();
  }
  void compact() { ASSERT_TRUE(run_task(loop_, store_->compact(store_->current_revision()))); }
  std::string revision_now() { return std::string(call("GET", std::string(kNodes)).revision()); }
  Answer list(std::string_view query) { return call("GET", fmt::format("{}?{}", kNodes, query)); }
  static Names names(const Answer& answer) {
    Names out;
    const auto* items = array_at(answer.body, "items");
    if (items == nullptr) return {"no list"};
    for (const auto& item : *items) out.emplace_back(string_at(item.get_object(), "metadata.name"));
    return out;
  }
};

TEST_F(ListWatchTest, AListIsAsOldAsItsResourceVersionAllows) {
  start_on_store();
  create_node("a");
  const std::string first = revision_now();
  create_node("b");
  const std::string second = revision_now();
  create_node("c");
  call("DELETE", "/api/v1/nodes/a");
  const std::string now = revision_now();
  struct Case {
    std::string query;
    Names names;
    std::string revision;
  };
  const Case cases[] = {
      {"", {"b", "c"}, now},
      {"limit=1", {"b"}, now},
      {"resourceVersion=", {"b", "c"}, now},
      {"resourceVersion=0", {"b", "c"}, now},
      {"resourceVersion=0&limit=1", {"b", "c"}, now},  // the limit does not count, as upstream
      {"resourceVersion=0&resourceVersionMatch=NotOlderThan", {"b", "c"}, now},
      {"resourceVersion=" + first, {"b", "c"}, now},
      {"resourceVersion=" + first + "&limit=5", {"a"}, first},  // the legacy rule: exactly
      {"resourceVersion=" + first + "&resourceVersionMatch=NotOlderThan", {"b", "c"}, now},
      {"resourceVersion=" + first + "&resourceVersionMatch=NotOlderThan&limit=1", {"b"}, now},
      {"resourceVersion=" + first + "&resourceVersionMatch=Exact", {"a"}, first},
      {"resourceVersion=" + second + "&resourceVersionMatch=Exact", {"a", "b"}, second},
      {"resourceVersion=" + second + "&resourceVersionMatch=Exact&limit=1", {"a"}, second},
      {"resourceVersion=" + now + "&resourceVersionMatch=Exact", {"b", "c"}, now},
  };
  for (const Case& c : cases) {
    const Answer answer = list(c.query);
    EXPECT_EQ(answer.status, 200U) << c.query;
    EXPECT_EQ(names(answer), c.names) << c.query;
    EXPECT_EQ(answer.revision(), c.revision) << c.query;
  }
}

TEST_F(ListWatchTest, AnObjectIsReadAtLeastAsNewAsAsked) {
  start_on_store();
  create_node("a");
  const std::string first = revision_now();
  label_node("a", "y");
  for (const std::string& query :
       {std::string(), std::string("resourceVersion=0"), "resourceVersion=" + first}) {
    const Answer answer = call("GET", fmt::format("/api/v1/nodes/a?{}", query));
    EXPECT_EQ(string_at(answer.body, "metadata.labels.app"), "y") << query;
  }
  EXPECT_EQ(call("GET", "/api/v1/nodes/a?resourceVersion=x").status, 400U);
}

TEST_F(ListWatchTest, WhatTheStoreHasNotReachedIsATimeoutWithItsCause) {
  start_on_store();
  struct Case {
    std::string target;
    Answer answer = {};
    bool done = false;
  };
  std::vector<Case> cases;
  for (const char* target :
       {"/api/v1/nodes?resourceVersion=9000000",
        "/api/v1/nodes?resourceVersion=9000000&resourceVersionMatch=NotOlderThan",
        "/api/v1/nodes?resourceVersion=9000000&resourceVersionMatch=Exact",
        "/api/v1/nodes/a?resourceVersion=9000000"}) {
    cases.push_back({.target = target});
  }
  for (Case& c : cases) {  // they wait at the same time
    io::asio::co_spawn(loop_, client_->send({.target = c.target}, 10s),
                       [&c](const std::exception_ptr&, Result<io::HttpResponse> got) {
                         c.done = true;
                         if (!got) return;
                         c.answer = {.status = got->status, .headers = got->headers};
                         c.answer.body = boost::json::parse(got->body).as_object();
                       });
  }
  ASSERT_TRUE(run_until(loop_, [&cases] {
    return std::ranges::all_of(cases, [](const Case& c) { return c.done; });
  }));
  for (const Case& c : cases) {
    EXPECT_EQ(c.answer.status, 504U) << c.target;
    EXPECT_EQ(c.answer.reason(), "Timeout") << c.target;
    EXPECT_THAT(string_at(c.answer.body, "message"),
                HasSubstr("Too large resource version: 9000000, current: "));
    const boost::json::value body(c.answer.body);
    EXPECT_EQ(body.at_pointer("/details/causes/0/reason"), "ResourceVersionTooLarge") << c.target;
    EXPECT_EQ(body.at_pointer("/details/retryAfterSeconds"), 1) << c.target;
    EXPECT_EQ(io::find_header(c.answer.headers, "Retry-After"), "1") << c.target;
  }
}

TEST_F(ListWatchTest, AListOfACompactedRevisionIsExpired) {
  start_on_store();
  for (const char* name : {"a", "b", "c"}) create_node(name);
  const Answer page = list("limit=1");
  const std::string old(page.revision());
  const std::string token = io::percent_encode(string_at(page.body, "metadata.continue"));
  call("DELETE", "/api/v1/nodes/b");
  create_node("d");
  compact();

  const Answer exact = list("resourceVersion=" + old + "&resourceVersionMatch=Exact");
  EXPECT_EQ(exact.status, 410U);
  EXPECT_EQ(exact.reason(), "Expired");
  EXPECT_EQ(string_at(exact.body, "metadata.continue"), "");

  // The rest of the list is still to be had, but of another state.
  const Answer next = list("limit=1&continue=" + token);
  EXPECT_EQ(next.status, 410U);
  EXPECT_EQ(next.reason(), "Expired");
  const std::string fresh = io::percent_encode(string_at(next.body, "metadata.continue"));
  const Answer rest = list("continue=" + fresh);
  EXPECT_EQ(rest.status, 200U);
  EXPECT_THAT(names(rest), ElementsAre("c", "d"));
  EXPECT_EQ(rest.revision(), revision_now());
}

TEST_F(ListWatchTest, AWatchFromACompactedRevisionIsExpiredInItsStream) {
  start_on_store();
  create_node("a");
  const std::string old = revision_now();
  create_node("b");
  compact();
  const std::string now = revision_now();
  restart_on_store();  // and with it the memory of what the store has forgotten
  Watch expired = watch("resourceVersion=" + old);
  const auto event = next(expired);
  ASSERT_TRUE(event);
  EXPECT_EQ(string_at(*event, "type"), "ERROR");
  EXPECT_EQ(string_at(*event, "object.kind"), "Status");
  EXPECT_EQ(int_at(*event, "object.code"), 410);
  EXPECT_EQ(string_at(*event, "object.reason"), "Expired");
  EXPECT_EQ(next_text(expired), "end");

  Watch good = watch("resourceVersion=" + now);
  create_node("c");
  EXPECT_EQ(next_text(good), "ADDED c");
}

TEST_F(ListWatchTest, AWatchBeginsWhereItsParametersSay) {
  start_on_store();
  create_node("a");
  const std::string first = revision_now();
  create_node("b");
  struct Case {
    std::string query;
    Names before;  // of the object that is made after the watch has begun
  };
  const std::string streamed =
      "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  const Case cases[] = {
      {"", {"ADDED a", "ADDED b"}},
      {"resourceVersion=0", {"ADDED a", "ADDED b"}},
      {"resourceVersion=0&allowWatchBookmarks=true", {"ADDED a", "ADDED b", "BOOKMARK "}},
      {"resourceVersion=" + first, {"ADDED b"}},
      {"resourceVersion=" + first + "&allowWatchBookmarks=true", {"ADDED b"}},
      {streamed.substr(1), {"ADDED a", "ADDED b", "BOOKMARK "}},
      {"resourceVersion=0" + streamed, {"ADDED a", "ADDED b", "BOOKMARK "}},
      {"resourceVersion=" + first + streamed, {"ADDED a", "ADDED b", "BOOKMARK "}},
      {"sendInitialEvents=true&resourceVersionMatch=NotOlderThan", {"ADDED a", "ADDED b"}},
      {"sendInitialEvents=false&resourceVersionMatch=NotOlderThan", {}},
      {"sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", {}},
  };
  std::vector<Watch> watches;
  for (const Case& c : cases) watches.push_back(watch(c.query));
  create_node("c");
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    Names seen;
    for (std::string text; text != "ADDED c" && text != "end"; seen.push_back(text))
      text = next_text(watches[i]);
    Names wanted = cases[i].before;
    wanted.emplace_back("ADDED c");
    EXPECT_EQ(seen, wanted) << cases[i].query;
  }
}

TEST_F(ListWatchTest, ABookmarkComesBeforeTheEndAndTheEndIsClean) {
  start_on_store();
  const std::string before = revision_now();
  Watch watching =
      watch("resourceVersion=" + before + "&allowWatchBookmarks=true&timeoutSeconds=3");
  Watch without = watch("resourceVersion=" + before + "&timeoutSeconds=3");
  // A change of another resource moves the bookmark too.
  call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"other"}})");
  const auto event = next(watching);
  ASSERT_TRUE(event);
  EXPECT_EQ(string_at(*event, "type"), "BOOKMARK");
  EXPECT_EQ(string_at(*event, "object.kind"), "Node");
  EXPECT_EQ(string_at(*event, "object.apiVersion"), "v1");
  EXPECT_EQ(boost::json::value(*event).at_pointer("/object/metadata").as_object().size(), 1U);
  EXPECT_GT(std::stoull(std::string(string_at(*event, "object.metadata.resourceVersion"))),
            std::stoull(before));
  EXPECT_EQ(next_text(watching), "end");
  EXPECT_EQ(next_text(without), "end");
}

TEST_F(ListWatchTest, AWatchThatDoesNotReadIsToldSoAndOthersAreUnharmed) {
  start();
  constexpr std::string_view kConfigMaps = "/api/v1/namespaces/default/configmaps";
  const auto write = [this, kConfigMaps](std::string method, std::string_view name, int round) {
    const Answer answer = call(std::move(method), fmt::format("{}{}", kConfigMaps, name),
                               fmt::format(R"({{"metadata":{{"name":"a"}},"data":{{"{}":"{}"}}}})",
                                           round, std::string(1024 * 1024, 'x')));
    EXPECT_LT(answer.status, 300U);
  };
  Watch slow = watch("resourceVersion=0", "application/json", kConfigMaps);
  Watch quick = watch("resourceVersion=0", "application/json", kConfigMaps);
  constexpr int kRounds = 40;  // above what sockets and the ring hold together
  for (int i = 0; i < kRounds; ++i) {
    write(i == 0 ? "POST" : "PUT", i == 0 ? "" : "/a", i);
    EXPECT_EQ(next_text(quick), i == 0 ? "ADDED a" : "MODIFIED a");
  }

  EXPECT_EQ(next_text(slow), "ADDED a");
  std::optional<Document> event;
  int seen = 0;
  while ((event = next(slow)) && string_at(*event, "type") == "MODIFIED") ++seen;
  EXPECT_LT(seen, kRounds - 1);
  ASSERT_TRUE(event);
  EXPECT_EQ(string_at(*event, "type"), "ERROR");
  EXPECT_EQ(int_at(*event, "object.code"), 410);
  EXPECT_EQ(string_at(*event, "object.reason"), "Expired");
  EXPECT_EQ(next_text(slow), "end");
}

}  // namespace
}  // namespace fairlead::apiserver
