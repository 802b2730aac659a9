// A server that starts while others write: the store goes on, and forgets, between what the server
// asks of it one after the other.
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

// After each of the first lists somebody writes, and the store forgets the state just read.
class BusyStore final : public Store {
 public:
  BusyStore(Store& store, int times) : store_(store), times_(times) {}

  io::Task<Result<ListPage>> list(ListRequest request) override {
    auto page = co_await store_.list(request);
    if (page && lists_++ < times_) {
      EXPECT_TRUE(co_await store_.commit(create_key(fmt::format("/busy/{}", lists_), kValue)));
      EXPECT_TRUE(co_await store_.compact(page->revision + 1));
    }
    co_return page;
  }
  Revision current_revision() const override { return store_.current_revision(); }
  Revision compacted_revision() const override { return store_.compacted_revision(); }
  io::Task<Result<Revision>> synchronize() override { return store_.synchronize(); }
  io::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision) override {
    return store_.get(std::move(key), revision);
  }
  io::Task<Result<CommitResult>> commit(StoreTransaction transaction) override {
    return store_.commit(std::move(transaction));
  }
  io::Task<Result<std::unique_ptr<StoreWatch>>> watch(std::string prefix, Revision after,
                                                      EventHandler handler) override {
    return store_.watch(std::move(prefix), after, std::move(handler));
  }
  io::Task<Result<void>> compact(Revision revision) override { return store_.compact(revision); }
  io::Task<void> close() override { co_return; }

  int lists() const { return lists_; }

 private:
  inline static const SharedBytes kValue = std::make_shared<const std::string>("{}");
  Store& store_;
  int times_;
  int lists_ = 0;
};

class BusyStoreTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(create("configmaps", fmt::format(R"({{"metadata":{{"name":"m{}"}}}})", i)));
    ASSERT_TRUE(remove("configmaps", "m7"));
  }
};

TEST_F(BusyStoreTest, WhatIsForgottenMeanwhileIsReadAgainFromLaterOn) {
  BusyStore busy(*store_, 12);
  Registry registry(loop_.get_executor(), busy, make_strategies(dual_stack_cluster()));
  const auto loaded = run_task(loop_, registry.load());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_GT(busy.lists(), 12);
  const ObjectCache& cache = registry.find("", "v1", "configmaps")->cache;
  EXPECT_EQ(cache.objects().size(), 39U);
  EXPECT_EQ(cache.find(find("configmaps").key("default", "m7")), nullptr);
  ASSERT_TRUE(create("configmaps", R"({"metadata":{"name":"later"}})"));
  EXPECT_NE(cache.find(find("configmaps").key("default", "later")), nullptr);
}

// Where nobody writes, the past is kept for watches.
TEST_F(BusyStoreTest, WhatIsNotForgottenIsReadOnce) {
  BusyStore calm(*store_, 0);
  Registry registry(loop_.get_executor(), calm, make_strategies(dual_stack_cluster()));
  ASSERT_TRUE(run_task(loop_, registry.load()));
  EXPECT_EQ(static_cast<std::size_t>(calm.lists()), registry.resources().size() + 1);
}

}  // namespace
}  // namespace fairlead::apiserver
