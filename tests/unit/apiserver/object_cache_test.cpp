#include "apiserver/object_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <limits>
#include <set>

#include "unit/apiserver/run_task.hpp"
#include "unit/apiserver/test_kinds.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

class ObjectCacheTest : public testing::Test {
 protected:
  ObjectCacheTest() : cache_(strategy_, loop_.get_executor()) {
    cache_.load({.items = {}, .more = false, .revision = 10});
  }

  static std::string key(std::string_view ns, std::string_view name) {
    return fmt::format("/registry/widgets/{}/{}", ns, name);
  }
  void put(std::string_view ns, std::string_view name, std::string_view label = {},
           std::string_view colour = {}) {
    const std::string stored = fmt::format(
        R"({{"kind":"Widget","metadata":{{"name":"{}","namespace":"{}","labels":{{"app":"{}"}}}},"spec":{{"colour":"{}"}}}})",
        name, ns, label, colour);
    apply({.key = key(ns, name),
           .value = std::make_shared<const std::string>(stored),
           .revision = ++revision_});
  }
  void remove(std::string_view ns, std::string_view name) {
    apply({.key = key(ns, name), .value = nullptr, .revision = ++revision_});
  }
  void apply(StoreEvent event) {
    const std::vector<StoreEvent> events{std::move(event)};
    cache_.apply({.events = events, .revision = revision_});
  }
  std::unique_ptr<Watcher> watch(Selection selection, Revision after) {
    auto made = cache_.watch(std::move(selection), after);
    EXPECT_TRUE(made) << made.error().message;
    return made ? *std::move(made) : nullptr;
  }
  static std::vector<std::string> texts(Watcher& watcher) {
    std::vector<std::string> out;
    for (const WatchedEvent& event : watcher.take(kAll)) {
      const char sign = event.type == EventType::Added      ? '+'
                        : event.type == EventType::Modified ? '~'
                                                            : '-';
      out.push_back(fmt::format("{}{}@{}", sign, event.object->name, event.object->revision));
    }
    return out;
  }
  static std::vector<std::string> names(const ObjectCache::Page& page) {
    std::vector<std::string> out;
    for (const ObjectPtr& object : page.items) out.push_back(object->ns + "/" + object->name);
    return out;
  }
  static Selection labelled(std::string_view text) {
    return {.ns = {}, .labels = *kube::LabelSelector::parse(text), .fields = {}};
  }

  io::asio::io_context loop_;
  TestWidgets strategy_;
  ObjectCache cache_;
  Revision revision_ = 10;
};

TEST_F(ObjectCacheTest, ObjectsCarryTheirRevisionInTheirJson) {
  put("a", "x");
  const ObjectPtr object = cache_.find(key("a", "x"));
  ASSERT_NE(object, nullptr);
  EXPECT_NE(object->json->find(R"("resourceVersion":"11")"), std::string::npos) << *object->json;
  EXPECT_EQ(object->document().at("metadata").as_object().if_contains("resourceVersion"), nullptr);
}

TEST_F(ObjectCacheTest, WatchFromThePastReplaysThenGoesOn) {
  put("a", "x");
  put("a", "y");
  const auto watcher = watch({}, 11);
  EXPECT_THAT(texts(*watcher), ElementsAre("+y@12"));
  put("a", "x");
  remove("a", "y");
  EXPECT_THAT(texts(*watcher), ElementsAre("~x@13", "-y@14"));
  EXPECT_THAT(texts(*watcher), IsEmpty());
  EXPECT_EQ(watcher->passed(), 14U);
}

TEST_F(ObjectCacheTest, WatchFromTheFutureIsSilentUntilThen) {
  const auto watcher = watch({}, 12);
  put("a", "x");
  put("a", "y");
  put("a", "z");
  EXPECT_THAT(texts(*watcher), ElementsAre("+z@13"));
}

TEST_F(ObjectCacheTest, SelectorTransitionsAreAddedAndDeleted) {
  const auto watcher = watch(labelled("app=web"), 10);
  put("a", "x", "other");
  put("a", "x", "web");
  put("a", "x", "web", "red");
  const auto before = watcher->take(kAll);
  ASSERT_EQ(before.size(), 2U);
  EXPECT_EQ(before[0].type, EventType::Added);
  EXPECT_EQ(before[1].type, EventType::Modified);
  put("a", "x", "other");
  const auto left = watcher->take(kAll);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].type, EventType::Deleted);
  EXPECT_EQ(left[0].object->labels.at("app"), "web");  // the old content ...
  EXPECT_EQ(left[0].object->revision, 14U);            // ... at the new revision
  EXPECT_NE(left[0].object->json->find(R"("resourceVersion":"14")"), std::string::npos);
  remove("a", "x");
  EXPECT_THAT(texts(*watcher), IsEmpty());
}

TEST_F(ObjectCacheTest, FieldSelectorsMatchNamesAndTheKindsOwnFields) {
  put("a", "x", "", "red");
  put("a", "y", "", "blue");
  EXPECT_THAT(names(cache_.list({.fields = {{.field = "metadata.name", .value = "y"}}}, {}, 0)),
              ElementsAre("a/y"));
  EXPECT_THAT(names(cache_.list({.fields = {{.field = "spec.colour", .value = "red"}}}, {}, 0)),
              ElementsAre("a/x"));
  EXPECT_THAT(names(cache_.list(
                  {.fields = {{.field = "spec.colour", .value = "red", .negated = true}}}, {}, 0)),
              ElementsAre("a/y"));
}

TEST_F(ObjectCacheTest, ListsAreOrderedAndPaged) {
  for (const char* name : {"c", "a", "b"}) put("two", name);
  put("one", "z");
  EXPECT_THAT(names(cache_.list({}, {}, 0)), ElementsAre("one/z", "two/a", "two/b", "two/c"));
  EXPECT_THAT(names(cache_.list({.ns = "two"}, {}, 0)), ElementsAre("two/a", "two/b", "two/c"));
  const auto page = cache_.list({.ns = "two"}, {}, 1);
  EXPECT_THAT(names(page), ElementsAre("two/a"));
  EXPECT_EQ(page.next, key("two", "b"));
  EXPECT_EQ(page.remaining, 2U);
  const auto rest = cache_.list({.ns = "two"}, page.next, 2);
  EXPECT_THAT(names(rest), ElementsAre("two/b", "two/c"));
  EXPECT_EQ(rest.next, "");
}

TEST_F(ObjectCacheTest, NamespacesThatAreAPrefixOfAnotherAreNotMixed) {
  put("a", "x");
  put("ab", "y");
  EXPECT_THAT(names(cache_.list({.ns = "a"}, {}, 0)), ElementsAre("a/x"));
}

TEST_F(ObjectCacheTest, AWatchBelowTheRingIsExpired) {
  EXPECT_TRUE(cache_.watch({}, 10));
  const auto old = cache_.watch({}, 9);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, 410U);
  EXPECT_EQ(old.error().reason, "Expired");
}

TEST_F(ObjectCacheTest, TheRingIsBoundedAndSaysSo) {
  for (std::size_t i = 0; i < ObjectCache::kMaxRingEvents + 5; ++i) put("a", "x");
  EXPECT_EQ(cache_.oldest(), 15U);
  EXPECT_FALSE(cache_.watch({}, 14));
  EXPECT_TRUE(cache_.watch({}, 15));
}

TEST_F(ObjectCacheTest, AWatcherThatDoesNotKeepUpIsCutOff) {
  const auto watcher = watch({}, 10);
  const auto quick = watch({}, 10);
  for (std::size_t i = 0; i < ObjectCache::kMaxRingEvents; ++i) {
    put("a", "x");
    quick->take(kAll);
  }
  EXPECT_FALSE(watcher->cut_off());
  put("a", "x");
  EXPECT_TRUE(watcher->cut_off());
  EXPECT_THAT(watcher->take(kAll), IsEmpty());
  EXPECT_THAT(texts(*quick), ElementsAre(fmt::format("~x@{}", revision_)));
  EXPECT_FALSE(quick->cut_off());
}

TEST_F(ObjectCacheTest, AWatcherToWhomNothingHappensIsNotCutOff) {
  const auto watcher = watch({.ns = "b"}, 10);
  for (std::size_t i = 0; i < ObjectCache::kMaxRingEvents + 1; ++i) put("a", "x");
  EXPECT_FALSE(watcher->cut_off());
  EXPECT_FALSE(watcher->has_events());
  put("b", "y");
  EXPECT_THAT(texts(*watcher), ElementsAre(fmt::format("+y@{}", revision_)));
}

TEST_F(ObjectCacheTest, SlowWatchersKeepNothingThatTheRingForgot) {
  std::vector<std::unique_ptr<Watcher>> slow(50);
  for (auto& watcher : slow) watcher = watch({}, 10);
  put("a", "x");
  const std::weak_ptr<const CachedObject> first = cache_.find(key("a", "x"));
  put("a", "x");
  const std::string large(1024 * 1024, 'x');
  for (std::size_t i = 0; i < ObjectCache::kMaxRingBytes / large.size() / 2 - 1; ++i) {
    put("a", "y", "", large);
    EXPECT_FALSE(first.expired()) << i;
  }
  for (int i = 0; i < 3; ++i) put("a", "y", "", large);
  EXPECT_TRUE(first.expired());
  for (const auto& watcher : slow) EXPECT_TRUE(watcher->cut_off());
}

TEST_F(ObjectCacheTest, EventsAreTakenByTheirSize) {
  const auto watcher = watch(labelled("app=web"), 10);
  const std::string large(1000, 'x');
  for (const char* name : {"a", "b", "c"}) put("a", name, "web", large);
  put("a", "d", "other");
  EXPECT_EQ(watcher->take(1001).size(), 1U);
  EXPECT_EQ(watcher->take(1500).size(), 2U);
  EXPECT_FALSE(watcher->has_events());
}

// The bytes are made once an object, whoever reads them.
TEST_F(ObjectCacheTest, AllWatchersShareTheBytesOfAnEvent) {
  std::vector<std::unique_ptr<Watcher>> watchers(100);
  for (auto& watcher : watchers) watcher = watch(labelled("app=web"), 10);
  put("a", "x", "web");
  put("a", "x", "web", "red");
  put("a", "x", "other");  // leaves the selection: at another revision, made on demand
  std::set<const std::string*> json;
  for (const auto& watcher : watchers) {
    for (const WatchedEvent& event : watcher->take(kAll)) json.insert(event.object->json.get());
  }
  EXPECT_EQ(json.size(), 3U);
}

TEST_F(ObjectCacheTest, ForeignChangesAdvanceTheRevisionOnly) {
  put("a", "x");
  cache_.apply({.events = {}, .revision = 40});
  EXPECT_EQ(cache_.revision(), 40U);
  EXPECT_EQ(cache_.last_change(), 11U);
}

TEST_F(ObjectCacheTest, WaitingForARevisionEndsWhenItComesOrTimeIsUp) {
  EXPECT_FALSE(run_task(loop_, cache_.wait_for(11, std::chrono::steady_clock::now())));
  io::asio::post(loop_, [this] { put("a", "x"); });
  EXPECT_TRUE(run_task(
      loop_, cache_.wait_for(11, std::chrono::steady_clock::now() + std::chrono::seconds(10))));
}

}  // namespace
}  // namespace fairlead::apiserver
