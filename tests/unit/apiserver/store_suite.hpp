// What every Store must do, written once and run for each implementation (INSTANTIATE_TEST_SUITE_P
// in its own test file).
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/store/store.hpp"
#include "unit/apiserver/run_task.hpp"
#include "unit/apiserver/store_maker.hpp"

namespace fairlead::apiserver {

class StoreSuite : public testing::TestWithParam<StoreMaker> {
 protected:
  void SetUp() override {
    auto made = GetParam().make(loop_);
    ASSERT_TRUE(made) << made.error().message;
    behind_ = std::move(made->behind);
    store_ = std::move(made->store);
  }
  void TearDown() override {
    if (store_) run_task(loop_, store_->close());
  }

  static SharedBytes bytes(std::string text) {
    return std::make_shared<const std::string>(std::move(text));
  }
  Result<CommitResult> commit(StoreTransaction transaction) {
    return run_task(loop_, store_->commit(std::move(transaction)));
  }
  // The revision of a create that must succeed.
  Revision create(const std::string& key, const std::string& value) {
    auto result = commit(create_key(key, bytes(value)));
    EXPECT_TRUE(result && result->succeeded) << key;
    return result && result->succeeded ? result->revisions.at(0) : 0;
  }
  Revision update(const std::string& key, Revision expected, const std::string& value) {
    auto result = commit(update_key(key, expected, bytes(value)));
    EXPECT_TRUE(result && result->succeeded) << key;
    return result && result->succeeded ? result->revisions.at(0) : 0;
  }
  Revision remove(const std::string& key, Revision expected) {
    auto result = commit(delete_key(key, expected));
    EXPECT_TRUE(result && result->succeeded) << key;
    return result && result->succeeded ? result->revisions.at(0) : 0;
  }
  // "key=value@mod" of each item.
  std::vector<std::string> list(ListRequest request) {
    auto page = run_task(loop_, store_->list(std::move(request)));
    if (!page) return {"error " + std::string(to_string(page.error().code))};
    std::vector<std::string> out;
    for (const KeyValue& item : page->items) {
      out.push_back(fmt::format("{}={}@{}", item.key, *item.value, item.mod_revision));
    }
    if (page->more) out.emplace_back("...");
    return out;
  }
  static std::string text_of(const StoreEvent& event) {
    return fmt::format("{}{}={}@{}",
                       event.value == nullptr                    ? "-"
                       : event.create_revision == event.revision ? "+"
                                                                 : "~",
                       event.key, event.value == nullptr ? "" : *event.value, event.revision);
  }
  // A watch that notes its events.
  struct Seen {
    std::vector<std::string> events;
    Revision upto = 0;
    std::unique_ptr<StoreWatch> watch;
  };
  std::shared_ptr<Seen> watch(const std::string& prefix, Revision after) {
    auto seen = std::make_shared<Seen>();
    auto made =
        run_task(loop_, store_->watch(prefix, after, [seen = seen.get()](const EventBatch& batch) {
          for (const StoreEvent& event : batch.events) seen->events.push_back(text_of(event));
          seen->upto = batch.revision;
        }));
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
    if (made) seen->watch = *std::move(made);
    return seen;
  }

  io::asio::io_context loop_;
  std::shared_ptr<void> behind_;
  std::unique_ptr<Store> store_;
};

using Texts = std::vector<std::string>;

TEST_P(StoreSuite, EmptyStoreHasARevisionThatIsNotZero) {
  EXPECT_EQ(store_->current_revision(), 1U);
  EXPECT_EQ(list({.prefix = "/r/"}), Texts{});
}

TEST_P(StoreSuite, EveryChangeGetsTheNextRevision) {
  const Revision a = create("/r/a", "1");
  EXPECT_EQ(a, 2U);
  EXPECT_EQ(update("/r/a", a, "2"), 3U);
  EXPECT_EQ(create("/r/b", "1"), 4U);
  EXPECT_EQ(remove("/r/a", 3), 5U);
  EXPECT_EQ(store_->current_revision(), 5U);
  EXPECT_EQ(list({.prefix = "/r/"}), Texts{"/r/b=1@4"});
}

TEST_P(StoreSuite, GetTellsBothRevisionsAndOldStates) {
  create("/r/a", "1");
  update("/r/a", 2, "2");
  const auto now = run_task(loop_, store_->get("/r/a"));
  ASSERT_TRUE(now && *now);
  EXPECT_EQ(*(*now)->value, "2");
  EXPECT_EQ((*now)->create_revision, 2U);
  EXPECT_EQ((*now)->mod_revision, 3U);
  const auto before = run_task(loop_, store_->get("/r/a", 2));
  ASSERT_TRUE(before && *before);
  EXPECT_EQ(*(*before)->value, "1");
  const auto absent = run_task(loop_, store_->get("/r/b"));
  ASSERT_TRUE(absent);
  EXPECT_FALSE(*absent);
}

TEST_P(StoreSuite, CreateOfAnExistingKeyFailsAndChangesNothing) {
  create("/r/a", "1");
  const auto again = commit(create_key("/r/a", bytes("2")));
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->succeeded);
  EXPECT_EQ(again->conflicting_key, "/r/a");
  EXPECT_EQ(list({.prefix = "/r/"}), Texts{"/r/a=1@2"});
  EXPECT_EQ(store_->current_revision(), 2U);
}

TEST_P(StoreSuite, UpdateWithAStaleRevisionFails) {
  create("/r/a", "1");
  update("/r/a", 2, "2");
  const auto stale = commit(update_key("/r/a", 2, bytes("3")));
  ASSERT_TRUE(stale);
  EXPECT_FALSE(stale->succeeded);
  EXPECT_EQ(list({.prefix = "/r/"}), Texts{"/r/a=2@3"});
}

TEST_P(StoreSuite, AKeyCanBeCreatedAgainAfterItsDeletion) {
  create("/r/a", "1");
  remove("/r/a", 2);
  EXPECT_EQ(create("/r/a", "2"), 4U);
  const auto got = run_task(loop_, store_->get("/r/a"));
  ASSERT_TRUE(got && *got);
  EXPECT_EQ((*got)->create_revision, 4U);
}

TEST_P(StoreSuite, ATransactionIsAllOrNothing) {
  create("/r/a", "1");
  StoreTransaction both;
  both.compares = {{.key = "/r/a", .mod_revision = 2}, {.key = "/r/b", .mod_revision = 0}};
  both.operations = {{.key = "/r/a", .value = nullptr}, {.key = "/r/b", .value = bytes("x")}};
  const auto done = commit(both);
  ASSERT_TRUE(done && done->succeeded);
  EXPECT_EQ(done->revisions.size(), 2U);
  EXPECT_LE(done->revisions[0], done->revisions[1]);
  EXPECT_EQ(list({.prefix = "/r/"}).size(), 1U);
  const auto again = commit(both);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->succeeded);
  EXPECT_EQ(list({.prefix = "/r/"}).size(), 1U);
}

TEST_P(StoreSuite, DeletingAnAbsentKeyIsNoChange) {
  const auto result =
      commit({.compares = {}, .operations = {{.key = "/r/none", .value = nullptr}}});
  ASSERT_TRUE(result && result->succeeded);
  EXPECT_EQ(result->revisions, std::vector<Revision>{0});
  EXPECT_EQ(store_->current_revision(), 1U);
}

TEST_P(StoreSuite, ValuesAboveTheLimitAreRefused) {
  const auto result = commit(create_key("/r/big", bytes(std::string(kMaxValueBytes + 1, 'x'))));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::TooLarge);
}

TEST_P(StoreSuite, ListsAreOrderedBoundedByPrefixAndPaged) {
  create("/r/b", "1");
  create("/r/a", "1");
  create("/r2/a", "1");
  create("/r/c", "1");
  EXPECT_EQ(list({.prefix = "/r/"}), (Texts{"/r/a=1@3", "/r/b=1@2", "/r/c=1@5"}));
  EXPECT_EQ(list({.prefix = "/r/", .limit = 2}), (Texts{"/r/a=1@3", "/r/b=1@2", "..."}));
  EXPECT_EQ(list({.prefix = "/r/", .from = "/r/c", .limit = 2}), Texts{"/r/c=1@5"});
  EXPECT_EQ(list({.prefix = "/r/", .limit = 3}), (Texts{"/r/a=1@3", "/r/b=1@2", "/r/c=1@5"}));
}

TEST_P(StoreSuite, ListAtARevisionIsThatSnapshot) {
  create("/r/a", "1");
  create("/r/b", "1");
  update("/r/a", 2, "2");
  remove("/r/b", 3);
  EXPECT_EQ(list({.prefix = "/r/", .revision = 3}), (Texts{"/r/a=1@2", "/r/b=1@3"}));
  EXPECT_EQ(list({.prefix = "/r/", .revision = 4}), (Texts{"/r/a=2@4", "/r/b=1@3"}));
  EXPECT_EQ(list({.prefix = "/r/", .revision = 5}), Texts{"/r/a=2@4"});
  EXPECT_EQ(list({.prefix = "/r/", .revision = 6}), Texts{"error Invalid"});
}

TEST_P(StoreSuite, WatchDeliversHistoryThenLiveChangesOfItsPrefixOnce) {
  create("/r/a", "1");
  create("/other/a", "1");
  update("/r/a", 2, "2");
  const auto seen = watch("/r/", 2);
  EXPECT_EQ(seen->events, Texts{"~/r/a=2@4"});
  create("/r/b", "1");
  create("/other/b", "1");
  remove("/r/a", 4);
  EXPECT_EQ(seen->events, (Texts{"~/r/a=2@4", "+/r/b=1@5", "-/r/a=@7"}));
  EXPECT_EQ(seen->upto, 7U);
}

TEST_P(StoreSuite, WatchLearnsOfForeignRevisions) {
  const auto seen = watch("/r/", 1);
  create("/other/a", "1");
  EXPECT_EQ(seen->events, Texts{});
  EXPECT_EQ(seen->upto, 2U);
}

TEST_P(StoreSuite, AnEndedWatchHearsNothing) {
  const auto seen = watch("/r/", 1);
  seen->watch.reset();
  create("/r/a", "1");
  EXPECT_EQ(seen->events, Texts{});
}

TEST_P(StoreSuite, WhoCommittedFindsItsChangeInAWatchFedCache) {
  const auto seen = watch("/r/", 1);
  for (int i = 0; i < 20; ++i) {
    create(fmt::format("/r/{:02}", i), "1");
    ASSERT_EQ(seen->events.size(), static_cast<std::size_t>(i) + 1);
  }
}

TEST_P(StoreSuite, CompactionForgetsOldStatesOnly) {
  create("/r/a", "1");
  update("/r/a", 2, "2");
  create("/r/b", "1");
  remove("/r/b", 4);
  update("/r/a", 3, "3");
  ASSERT_TRUE(run_task(loop_, store_->compact(5)));
  EXPECT_EQ(store_->compacted_revision(), 5U);
  EXPECT_EQ(list({.prefix = "/r/", .revision = 4}), Texts{"error Expired"});
  EXPECT_EQ(list({.prefix = "/r/", .revision = 5}), Texts{"/r/a=2@3"});
  EXPECT_EQ(list({.prefix = "/r/"}), Texts{"/r/a=3@6"});
  EXPECT_EQ(watch("/r/", 5)->events, Texts{"~/r/a=3@6"});
  const auto old = run_task(loop_, store_->watch("/r/", 4, [](const EventBatch&) {}));
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::Expired);
}

TEST_P(StoreSuite, CompactionRefusesTheFutureAndRepeatsGladly) {
  create("/r/a", "1");
  EXPECT_TRUE(run_task(loop_, store_->compact(2)));
  EXPECT_TRUE(run_task(loop_, store_->compact(1)));
  const auto future = run_task(loop_, store_->compact(3));
  ASSERT_FALSE(future);
  EXPECT_EQ(future.error().code, ErrorCode::Invalid);
}

TEST_P(StoreSuite, ConcurrentWritersOfOneKeyHaveOneWinnerARound) {
  create("/r/a", "0");
  for (int round = 0; round < 20; ++round) {
    const auto now = run_task(loop_, store_->get("/r/a"));
    ASSERT_TRUE(now && *now);
    std::vector<Result<CommitResult>> results;
    for (int writer = 0; writer < 2; ++writer) {
      io::asio::co_spawn(loop_,
                         store_->commit(update_key("/r/a", (*now)->mod_revision, bytes("x"))),
                         [&results](const std::exception_ptr&, Result<CommitResult> result) {
                           results.push_back(std::move(result));
                         });
    }
    ASSERT_TRUE(run_until(loop_, [&results] { return results.size() == 2; }));
    ASSERT_TRUE(results[0] && results[1]);
    EXPECT_NE(results[0]->succeeded, results[1]->succeeded);
  }
}

// Writes that are under way at once may be committed in any order; the answers say in which.
TEST_P(StoreSuite, WatchersStartedInTheMidstOfWritesSeeEverythingOnce) {
  std::vector<std::shared_ptr<Seen>> watchers;
  std::vector<Revision> starts;
  std::map<Revision, std::string> committed;
  for (int i = 0; i < 200; ++i) {
    const std::string key = fmt::format("/r/{:04}", i);
    io::asio::co_spawn(loop_, store_->commit(create_key(key, bytes("x"))),
                       [&committed, key](const std::exception_ptr&, Result<CommitResult> result) {
                         if (result && result->succeeded)
                           committed.emplace(result->revisions.at(0), key);
                       });
    if (i % 20 != 0) continue;
    starts.push_back(store_->current_revision());
    watchers.push_back(watch("/r/", starts.back()));
  }
  ASSERT_TRUE(run_until(loop_, [&committed] { return committed.size() == 200; }));
  EXPECT_EQ(committed.begin()->first, 2U);
  EXPECT_EQ(committed.rbegin()->first, 201U);
  for (std::size_t i = 0; i < watchers.size(); ++i) {
    Texts expected;
    for (const auto& [revision, key] : committed) {
      if (revision > starts[i]) expected.push_back(fmt::format("+{}=x@{}", key, revision));
    }
    EXPECT_EQ(watchers[i]->events, expected) << "watching from " << starts[i];
  }
}

TEST_P(StoreSuite, SynchronizeAnswersTheNewestRevision) {
  create("/r/a", "1");
  const auto now = run_task(loop_, store_->synchronize());
  ASSERT_TRUE(now);
  EXPECT_EQ(*now, 2U);
}

}  // namespace fairlead::apiserver
