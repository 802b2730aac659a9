// A server whose caches lag behind what other servers wrote: it answers as if they did not, and
// asks the store for what it missed only where its commit does not prove that there is nothing.
#include <deque>

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// What this server sees of a store: events of other servers come only when it asks for them, its
// own with its commits.
class LaggingStore final : public Store {
 public:
  explicit LaggingStore(Store& store) : store_(store), seen_(store.current_revision()) {}

  Revision current_revision() const override { return seen_; }
  Revision compacted_revision() const override { return store_.compacted_revision(); }
  io::Task<Result<Revision>> synchronize() override {
    ++synchronized_;
    co_return catch_up();
  }
  io::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision) override {
    return store_.get(std::move(key), revision);
  }
  io::Task<Result<ListPage>> list(ListRequest request) override {
    return store_.list(std::move(request));
  }
  io::Task<Result<CommitResult>> commit(StoreTransaction transaction) override {
    auto result = co_await store_.commit(std::move(transaction));
    if (result && result->succeeded) catch_up();
    co_return result;
  }
  io::Task<Result<std::unique_ptr<StoreWatch>>> watch(std::string prefix, Revision after,
                                                      EventHandler handler) override {
    auto late = [this, handler = std::move(handler)](const EventBatch& batch) {
      std::vector<StoreEvent> events(batch.events.begin(), batch.events.end());
      waiting_.push_back([handler, events = std::move(events), revision = batch.revision] {
        handler(EventBatch{.events = events, .revision = revision});
      });
    };
    auto out = co_await store_.watch(std::move(prefix), after, std::move(late));
    catch_up();
    co_return out;
  }
  io::Task<Result<void>> compact(Revision revision) override { return store_.compact(revision); }
  io::Task<void> close() override { co_return; }

  int synchronized() const { return synchronized_; }

 private:
  Revision catch_up() {
    while (!waiting_.empty()) {
      const auto deliver = std::move(waiting_.front());
      waiting_.pop_front();
      deliver();
    }
    return seen_ = store_.current_revision();
  }

  Store& store_;
  Revision seen_;
  std::deque<std::function<void()>> waiting_;
  int synchronized_ = 0;
};

// The fixture's own writer is the other server.
class StaleViewTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    lagging_.emplace(*store_);
    mine_.emplace(loop_.get_executor(), *lagging_, make_strategies(dual_stack_cluster()));
    ASSERT_TRUE(run_task(loop_, mine_->load()));
    my_writer_.emplace(*mine_);
  }
  void TearDown() override {
    my_writer_.reset();
    mine_.reset();
    lagging_.reset();
    KindsTest::TearDown();
  }
  WriteRequest my_request(std::string name, std::string ns = "default") const {
    WriteRequest out;
    out.context = {.now = clock_.wall(), .dry_run = false, .user = "u", .field_manager = "m"};
    out.ns = std::move(ns);
    out.name = std::move(name);
    return out;
  }
  Resource& my(std::string_view resource) {
    return *mine_->find(resource == "leases" ? "coordination.k8s.io" : "", "v1", resource);
  }
  ApiResult<Written> my_create(std::string_view name, std::string ns = "default") {
    return run_task(
        loop_, my_writer_->create(my("configmaps"), my_request("", std::move(ns)), map(name, "A")));
  }
  ApiResult<Written> my_put(std::string_view resource, const std::string& name,
                            const Document& body) {
    return run_task(
        loop_, my_writer_->update(my(resource), my_request(name),
                                  [body](const Document&) -> ApiResult<Document> { return body; }));
  }
  ApiResult<Written> my_remove(const std::string& name) {
    return run_task(loop_, my_writer_->remove(my("configmaps"), my_request(name), {}));
  }
  static Document map(std::string_view name, std::string_view value,
                      std::string_view revision = "") {
    Document metadata{{"name", name}};
    if (!revision.empty()) metadata["resourceVersion"] = revision;
    return {{"metadata", std::move(metadata)}, {"data", Document{{"k", value}}}};
  }
  ObjectPtr theirs(std::string_view resource, std::string_view name) {
    return find(resource).cache.find(find(resource).key("default", name));
  }
  // As the store has it.
  std::string value_of(const std::string& name) {
    const ObjectPtr held = theirs("configmaps", name);
    return held == nullptr ? "none" : std::string(string_at(held->document(), "data.k"));
  }

  std::optional<LaggingStore> lagging_;
  std::optional<Registry> mine_;
  std::optional<ObjectWriter> my_writer_;
};

TEST_F(StaleViewTest, WhatSucceedsAsksForNothing) {
  EXPECT_THAT(refusals(my_create("a")), ElementsAre());
  EXPECT_THAT(refusals(my_put("configmaps", "a", map("a", "B"))), ElementsAre());
  EXPECT_THAT(refusals(my_remove("a")), ElementsAre());
  EXPECT_EQ(lagging_->synchronized(), 0);
}

TEST_F(StaleViewTest, WhatOthersMadeIsThere) {
  ASSERT_TRUE(create("namespaces", R"({"metadata":{"name":"new"}})"));
  EXPECT_THAT(refusals(my_create("a", "new")), ElementsAre());
  ASSERT_TRUE(create("configmaps", map("theirs", "A")));
  EXPECT_THAT(refusals(my_create("theirs")),
              ElementsAre(HasSubstr("409 configmaps \"theirs\" already exists")));
  ASSERT_TRUE(create("configmaps", map("short", "A")));
  EXPECT_THAT(refusals(my_remove("short")), ElementsAre());
  EXPECT_EQ(value_of("short"), "none");
  ASSERT_TRUE(create("configmaps", map("put", "A")));
  EXPECT_THAT(refusals(my_put("configmaps", "put", map("put", "B"))), ElementsAre());
  EXPECT_EQ(value_of("put"), "B");
}

TEST_F(StaleViewTest, WhatOthersRemovedIsGone) {
  for (const char* name : {"made", "deleted", "put"}) ASSERT_TRUE(my_create(name));
  for (const char* name : {"made", "deleted", "put"}) ASSERT_TRUE(remove("configmaps", name));
  EXPECT_THAT(refusals(my_create("made")), ElementsAre());
  EXPECT_THAT(refusals(my_remove("deleted")), ElementsAre(HasSubstr("404")));
  EXPECT_THAT(refusals(my_put("configmaps", "put", map("put", "B"))),
              ElementsAre(HasSubstr("404")));
}

// The caches hold A, the store holds B: to write A is a change.
TEST_F(StaleViewTest, NothingToDoIsSaidOfTheLatestStateAlone) {
  ASSERT_TRUE(my_create("a"));
  ASSERT_TRUE(put("configmaps", "a", map("a", "B")));
  EXPECT_THAT(refusals(my_put("configmaps", "a", map("a", "A"))), ElementsAre());
  EXPECT_EQ(value_of("a"), "A");
}

TEST_F(StaleViewTest, PreconditionsAreOfTheLatestState) {
  const auto first = my_create("a");
  ASSERT_TRUE(first);
  const auto second = put("configmaps", "a", map("a", "B"));
  ASSERT_TRUE(second);
  EXPECT_THAT(refusals(my_put("configmaps", "a", map("a", "C", std::to_string(first->revision)))),
              ElementsAre(HasSubstr("409")));
  ASSERT_TRUE(put("configmaps", "a", map("a", "D")));
  const ObjectPtr third = theirs("configmaps", "a");
  EXPECT_THAT(refusals(my_put("configmaps", "a", map("a", "E", std::to_string(third->revision)))),
              ElementsAre());
  EXPECT_EQ(value_of("a"), "E");
}

// A PUT creates a Lease that is not there. If it is, after all, it is an update, which needs the
// version it is of.
TEST_F(StaleViewTest, APutThatMayCreateIsAnUpdateOfWhatOthersMade) {
  const auto lease = [](std::string_view holder, std::string_view revision) {
    Document metadata{{"name", "l"}};
    if (!revision.empty()) metadata["resourceVersion"] = revision;
    return Document{{"metadata", std::move(metadata)},
                    {"spec", Document{{"holderIdentity", holder}}}};
  };
  ASSERT_TRUE(create("leases", lease("other", "")));
  const std::string current = std::to_string(theirs("leases", "l")->revision);
  EXPECT_THAT(refusals(my_put("leases", "l", lease("me", ""))),
              ElementsAre("FieldValueInvalid metadata.resourceVersion"));
  EXPECT_THAT(refusals(my_put("leases", "l", lease("me", current))), ElementsAre());
  EXPECT_EQ(string_at(theirs("leases", "l")->document(), "spec.holderIdentity"), "me");
}

// Allocation reads ServiceCIDRs and what is reserved: all of it is compared.
TEST_F(StaleViewTest, NoAddressIsGivenOutTwice) {
  constexpr std::string_view kOf =
      R"({{"metadata":{{"name":"{}"}},"spec":{{"clusterIP":"10.96.0.7",)"
      R"("ports":[{{"port":80}}]}}}})";
  ASSERT_TRUE(create("services", fmt::format(kOf, "theirs")));
  const auto second = run_task(loop_, my_writer_->create(my("services"), my_request(""),
                                                         parse_document(fmt::format(kOf, "mine"))));
  EXPECT_THAT(refusals(second), ElementsAre("FieldValueInvalid spec.clusterIPs"));
  ASSERT_TRUE(remove("services", "theirs"));
  const auto third = run_task(loop_, my_writer_->create(my("services"), my_request(""),
                                                        parse_document(fmt::format(kOf, "mine"))));
  EXPECT_THAT(refusals(third), ElementsAre());
}

}  // namespace
}  // namespace fairlead::apiserver
