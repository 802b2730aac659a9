// What becomes of dependents when their owners go; on a store in memory, with the real kinds.
#include "apiserver/garbage_collector.hpp"

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CollectorTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    collector_.emplace(*registry_, clock_, loop_.get_executor());
    registry_->on_change([this](const Resource& resource, const StoreEvent& event) {
      collector_->changed(resource, event);
    });
  }
  void TearDown() override {
    registry_->on_change({});
    collector_.reset();
    KindsTest::TearDown();
  }

  struct Owner {
    std::string name, uid;
    bool blocks = false;
    std::string kind = "ConfigMap";
  };
  // A ConfigMap; returns its uid.
  std::string make(const std::string& name, const std::vector<Owner>& owners = {},
                   const std::vector<std::string>& finalizers = {}) {
    boost::json::array references, held;
    for (const Owner& owner : owners) {
      references.push_back(Document{{"apiVersion", owner.kind == "ConfigMap" ? "v1" : "x.io/v1"},
                                    {"kind", owner.kind},
                                    {"name", owner.name},
                                    {"uid", owner.uid},
                                    {"blockOwnerDeletion", owner.blocks}});
    }
    for (const std::string& finalizer : finalizers) held.emplace_back(finalizer);
    Document metadata{{"name", name}, {"ownerReferences", references}, {"finalizers", held}};
    const auto made = create("configmaps", Document{{"metadata", metadata}});
    EXPECT_TRUE(made) << made.error().message;
    return std::string(string_at(made->object, "metadata.uid"));
  }
  ApiResult<Written> remove_with(const std::string& name, const std::string& policy) {
    DeleteOptions options;
    options.propagation_policy = policy;
    return remove("configmaps", name, options);
  }
  // Until nothing is left to do.
  void collect() {
    for (int i = 0; i < 20 && !collector_->is_idle(); ++i) {
      ASSERT_TRUE(run_task(loop_, collector_->work_off()));
    }
    ASSERT_TRUE(collector_->is_idle());
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const std::string& name : names_of("configmaps")) {
      if (name.starts_with("default/")) out.push_back(name.substr(8));
    }
    return out;
  }
  std::vector<std::string> owners_of(const std::string& name) {
    std::vector<std::string> out;
    Resource& maps = find("configmaps");
    for (const OwnerLink& link : maps.cache.find(maps.key("default", name))->owners) {
      out.push_back(link.name);
    }
    return out;
  }

  std::optional<GarbageCollector> collector_;
};

TEST_F(CollectorTest, DependentsGoWithTheirOwnerAndTakeTheirs) {
  const std::string a = make("a");
  const std::string b = make("b", {{"a", a}});
  make("c", {{"b", b}});
  make("d");
  collect();
  ASSERT_THAT(names(), ElementsAre("a", "b", "c", "d"));
  ASSERT_TRUE(remove("configmaps", "a"));
  collect();
  EXPECT_THAT(names(), ElementsAre("d"));
}

TEST_F(CollectorTest, OneOwnerThatStaysIsEnough) {
  const std::string a = make("a"), b = make("b");
  make("c", {{"a", a}, {"b", b}});
  ASSERT_TRUE(remove("configmaps", "a"));
  collect();
  EXPECT_THAT(names(), ElementsAre("b", "c"));
  EXPECT_THAT(owners_of("c"), ElementsAre("b"));
}

TEST_F(CollectorTest, AnOwnersNamesakeIsNotTheOwner) {
  make("a");
  make("b", {{"a", "another-uid"}});
  collect();
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(CollectorTest, OwnersOfKindsThatAreNotServedArePresent) {
  make("b", {{"a", "some-uid", false, "Machine"}});
  collect();
  EXPECT_THAT(names(), ElementsAre("b"));
}

TEST_F(CollectorTest, WhatWasMissedBeforeTheStartIsMadeUpFor) {
  registry_->on_change({});
  const std::string a = make("a");
  make("b", {{"a", a}});
  ASSERT_TRUE(remove("configmaps", "a"));
  ASSERT_TRUE(collector_->is_idle());
  collector_->load();
  collect();
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CollectorTest, ForegroundWaitsForDependentsThatBlock) {
  const std::string a = make("a");
  make("b", {{"a", a, true}}, {"example.com/hold"});
  make("c", {{"a", a, true}});
  make("d", {{"a", a, false}}, {"example.com/hold"});
  const auto answer = remove_with("a", "Foreground");
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->removed);
  collect();
  EXPECT_THAT(names(), ElementsAre("a", "b", "d")) << "b holds itself, and so a";
  ASSERT_TRUE(patch("configmaps", "b", R"({"metadata":{"finalizers":null}})"));
  collect();
  EXPECT_THAT(names(), ElementsAre("d")) << "d goes by itself, and blocks nobody";
}

TEST_F(CollectorTest, ForegroundReachesThroughAllLevels) {
  const std::string a = make("a");
  const std::string b = make("b", {{"a", a, true}});
  make("c", {{"b", b, true}}, {"example.com/hold"});
  ASSERT_TRUE(remove_with("a", "Foreground"));
  collect();
  EXPECT_THAT(names(), ElementsAre("a", "b", "c"));
  ASSERT_TRUE(patch("configmaps", "c", R"({"metadata":{"finalizers":null}})"));
  collect();
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CollectorTest, OrphansStayWithoutTheReference) {
  const std::string a = make("a"), b = make("b");
  make("c", {{"a", a, true}});
  make("d", {{"a", a}, {"b", b}});
  ASSERT_TRUE(remove_with("a", "Orphan"));
  collect();
  EXPECT_THAT(names(), ElementsAre("b", "c", "d"));
  EXPECT_THAT(owners_of("c"), IsEmpty());
  EXPECT_THAT(owners_of("d"), ElementsAre("b"));
}

TEST_F(CollectorTest, ALaterDeleteMayDecideOtherwise) {
  const std::string a = make("a", {}, {"example.com/hold"});
  make("b", {{"a", a, true}}, {"example.com/hold"});
  ASSERT_TRUE(remove_with("a", "Foreground"));
  collect();
  const auto orphaned = remove_with("a", "Orphan");
  ASSERT_TRUE(orphaned);
  EXPECT_EQ(texts_at(orphaned->object, "metadata.finalizers"),
            (std::vector<std::string>{"example.com/hold", "orphan"}));
  collect();
  EXPECT_THAT(owners_of("b"), IsEmpty());
  ASSERT_TRUE(patch("configmaps", "a", R"({"metadata":{"finalizers":null}})"));
  EXPECT_THAT(names(), ElementsAre("b"));
}

TEST_F(CollectorTest, ARingOfForegroundDeletesEnds) {
  const std::string a = make("a");
  const std::string b = make("b", {{"a", a, true}});
  ASSERT_TRUE(patch("configmaps", "a",
                    R"({"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap",)"
                    R"("name":"b","uid":")" +
                        b + R"(","blockOwnerDeletion":true}]}})"));
  ASSERT_TRUE(remove_with("a", "Foreground"));
  collect();
  EXPECT_THAT(names(), IsEmpty());
}

}  // namespace
}  // namespace fairlead::apiserver
