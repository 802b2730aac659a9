// Lists that are snapshots and watches without gaps: checks W of docs/apiserver-checks.md.
#include <boost/json/serialize.hpp>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::ElementsAre;

class WatchChecks : public HttpTest {
 protected:
  // Everything below is asked of ConfigMaps: there are none but the test's own.
  static constexpr std::string_view kMaps = "/api/v1/namespaces/default/configmaps";
  Answer create_map(std::string_view name, std::string_view labels = "{}") {
    return call("POST", kMaps,
                fmt::format(R"({{"metadata":{{"name":"{}","labels":{}}}}})", name, labels));
  }
  static std::string maps(std::string_view query) { return fmt::format("{}?{}", kMaps, query); }
  static std::string map(std::string_view name) { return fmt::format("{}/{}", kMaps, name); }
  std::vector<std::string> names(std::string_view query) {
    const Answer list = get(maps(query));
    std::vector<std::string> out;
    for (int i = 0; !list.at(fmt::format("/items/{}", i)).empty(); ++i)
      out.push_back(list.at(fmt::format("/items/{}/metadata/name", i)));
    if (list.status != 200) out.push_back(list.outcome());
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, WatchChecks, both_stores(), name_of);

TEST_P(WatchChecks, PagesOfAListAreOneSnapshot) {
  start();
  for (const char* name : {"a", "b", "d"}) create_map(name);
  const Answer first = get(maps("limit=1"));
  EXPECT_EQ(first.at("/metadata/remainingItemCount"), "2");
  create_map("c");
  ASSERT_EQ(call("DELETE", map("d")).status, 200U);
  const auto follow = [this](const Answer& page) {
    return get(maps("limit=1&continue=" + io::percent_encode(page.at("/metadata/continue"))));
  };
  const Answer second = follow(first);
  EXPECT_EQ(second.at("/metadata/remainingItemCount"), "1");
  const Answer third = follow(second);
  EXPECT_EQ(first.at("/items/0/metadata/name") + second.at("/items/0/metadata/name") +
                third.at("/items/0/metadata/name"),
            "abd");
  EXPECT_THAT((std::vector{second.revision(), third.revision()}),
              ElementsAre(first.revision(), first.revision()));
  EXPECT_EQ(third.at("/metadata/continue"), "");
}

TEST_P(WatchChecks, AListIsExactlyOfTheRevisionAskedFor) {
  start();
  const std::string revision = create_map("a").revision();
  create_map("b");
  const Answer old = get(maps("resourceVersionMatch=Exact&resourceVersion=" + revision));
  EXPECT_EQ(old.revision(), revision);
  EXPECT_EQ(old.at("/items/0/metadata/name") + old.at("/items/1"), "a");
}

TEST_P(WatchChecks, AWatchBeginsWithWhatIsThere) {
  start();
  for (const char* query : {"watch=true", "watch=true&resourceVersion=0"}) {
    const std::string made = create_map("a").revision();
    WatchStream all = watch(maps(query));
    EXPECT_EQ(next(all), "ADDED a " + made) << query;
    const std::string changed = patch(map("a"), R"({"data":{"x":"y"}})").revision();
    EXPECT_EQ(next(all), "MODIFIED a " + changed);
    ASSERT_EQ(call("DELETE", map("a")).status, 200U);
    EXPECT_THAT(next(all), testing::StartsWith("DELETED a "));
  }
}

TEST_P(WatchChecks, AStreamedListEndsWithItsBookmark) {
  start();
  constexpr std::string_view kStreaming =
      "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks="
      "true";
  WatchStream empty = watch(maps(kStreaming));
  const boost::json::value end = next_event(empty);
  EXPECT_EQ(end.at("type").as_string(), "BOOKMARK");
  EXPECT_EQ(end.at("object").at("kind").as_string(), "ConfigMap");
  EXPECT_EQ(end.at("object").at("apiVersion").as_string(), "v1");
  EXPECT_EQ(boost::json::serialize(end.at("object").at("metadata").at("annotations")),
            R"({"k8s.io/initial-events-end":"true"})");
  const std::string a = create_map("a").revision();
  EXPECT_EQ(next(empty), "ADDED a " + a);
  WatchStream one = watch(maps(kStreaming));
  EXPECT_EQ(next(one), "ADDED a " + a);
  EXPECT_THAT(next(one), testing::StartsWith("BOOKMARK  "));
  EXPECT_EQ(get(maps("watch=true&sendInitialEvents=true&allowWatchBookmarks=true")).status, 422U);
  WatchStream live =
      watch(maps("watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"));
  const std::string b = create_map("b").revision();
  EXPECT_EQ(next(live), "ADDED b " + b);
}

TEST_P(WatchChecks, AWatchEndsCleanlyWhenItsTimeIsUp) {
  start();
  const auto began = std::chrono::steady_clock::now();
  WatchStream quiet = watch(maps("watch=true&timeoutSeconds=1"));
  EXPECT_EQ(next(quiet), "end");
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
}

TEST_P(WatchChecks, ASelectorGainsKeepsAndLosesAnObject) {
  start();
  const std::string begin = create_map("a").revision();
  WatchStream selected = watch(maps("watch=true&labelSelector=app%3Dx&resourceVersion=" + begin));
  const std::string gained = patch(map("a"), R"({"metadata":{"labels":{"app":"x"}}})").revision();
  const std::string kept = patch(map("a"), R"({"data":{"k":"old"}})").revision();
  const std::string lost =
      patch(map("a"), R"({"metadata":{"labels":{"app":"y"}},"data":{"k":"new"}})").revision();
  EXPECT_EQ(next(selected), "ADDED a " + gained);
  EXPECT_EQ(next(selected), "MODIFIED a " + kept);
  const boost::json::value event = next_event(selected);
  EXPECT_EQ(event.at("type").as_string(), "DELETED");
  EXPECT_EQ(event.at("object").at("metadata").at("resourceVersion").as_string(), lost);
  EXPECT_EQ(event.at("object").at("data").at("k").as_string(), "old");
}

TEST_P(WatchChecks, SelectorsSelect) {
  start();
  create_map("m1", R"({"a":"b"})");
  create_map("m2", R"({"a":"c","d":""})");
  create_map("m3", R"({"a":"7"})");
  create_map("m4");
  struct Case {
    std::string_view selector;
    std::vector<std::string> names;
  };
  const Case cases[] = {
      {"a in (b,c),!d", {"m1"}},
      {"a in (b,c)", {"m1", "m2"}},
      {"a notin (b)", {"m2", "m3", "m4"}},
      {"a", {"m1", "m2", "m3"}},
      {"a!=b", {"m2", "m3", "m4"}},
      {"a>1", {"m3"}},
      {"!a", {"m4"}},
      {"a=b", {"m1"}},
      {"a in b", {"400 BadRequest"}},
      {"a=b,", {"400 BadRequest"}},
  };
  for (const Case& c : cases)
    EXPECT_EQ(names("labelSelector=" + io::percent_encode(c.selector)), c.names) << c.selector;
  EXPECT_EQ(names("fieldSelector=metadata.name%3Dm4"), std::vector<std::string>{"m4"});
  EXPECT_EQ(names("fieldSelector=data%3Dm4"), std::vector<std::string>{"400 BadRequest"});
}

TEST_P(WatchChecks, EveryWatcherSeesEveryRevisionOnceWheneverItCame) {
  start();
  const std::string begin = create_map("a").revision();
  constexpr std::size_t kWrites = 200;
  std::vector<std::string> revisions{begin};
  std::vector<std::pair<std::size_t, WatchStream>> watchers;
  for (std::size_t i = 1; i <= kWrites; ++i) {
    revisions.push_back(patch(map("a"), fmt::format(R"({{"data":{{"n":"{}"}}}})", i)).revision());
    // From the newest it knows, and from an old one.
    if (i % 8 != 0) continue;
    for (const std::size_t from : {i, i / 2})
      watchers.emplace_back(from, watch(maps("watch=true&resourceVersion=" + revisions[from])));
  }
  EXPECT_EQ(watchers.size(), 50U);
  for (auto& [from, stream] : watchers) {
    for (std::size_t i = from + 1; i <= kWrites; ++i)
      ASSERT_EQ(next(stream), "MODIFIED a " + revisions[i]) << "watcher from " << from;
  }
}

}  // namespace
}  // namespace fairlead::api_test
