// ServiceCIDRs: where addresses come from, and what keeps a range from going (KEP-1880).
#include "apiserver/service_cidrs.hpp"

#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// The smallest range a server takes: two addresses.
KindsConfig tiny_cluster() {
  return {.service_cidrs = {*IpPrefix::parse("10.96.0.0/30")}, .node_ports = {}};
}

class ServiceCidrTest : public KindsTest {
 protected:
  void SetUp() override { open_with(tiny_cluster()); }
  void TearDown() override {
    keeper_.reset();
    KindsTest::TearDown();
  }
  void open_with(const KindsConfig& config) {
    keeper_.reset();
    open(config);
    keeper_ = std::make_unique<ServiceCidrKeeper>(*registry_, clock_, loop_.get_executor(),
                                                  config.service_cidrs);
    ASSERT_TRUE(run_task(loop_, keeper_->make_default()));
  }

  void add_range(std::string_view name, std::string_view cidrs) {
    const auto made = create(
        "servicecidrs",
        fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"cidrs":[{}]}}}})", name, cidrs));
    ASSERT_TRUE(made) << made.error().message;
  }
  // The address a new Service gets, or why it gets none.
  std::string address_for(std::string_view name, std::string_view asked_for = "") {
    const std::string clause =
        asked_for.empty() ? "" : fmt::format(R"(,"clusterIP":"{}")", asked_for);
    const auto made =
        create("services",
               fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"ports":[{{"port":80}}]{}}}}})",
                           name, clause));
    return made ? std::string(string_at(made->object, "spec.clusterIP")) : made.error().message;
  }
  std::optional<Document> range(const std::string& name) {
    const Resource& resource = find("servicecidrs");
    const ObjectPtr object = resource.cache.find(resource.key("", name));
    if (object == nullptr) return std::nullopt;
    return object->document();
  }
  // "True", "False Terminating"; "gone" when it is.
  std::string readiness(const std::string& name) {
    const auto object = range(name);
    if (!object) return "gone";
    for (const Document* condition : objects_at(*object, "status.conditions")) {
      if (string_at(*condition, "type") != "Ready") continue;
      const std::string_view reason = string_at(*condition, "reason");
      return fmt::format("{}{}{}", string_at(*condition, "status"), reason.empty() ? "" : " ",
                         reason);
    }
    return "unknown";
  }
  void settle() { EXPECT_TRUE(run_task(loop_, keeper_->settle())); }

  std::unique_ptr<ServiceCidrKeeper> keeper_;
};

constexpr std::string_view kNotInRange = "is not in the valid range";

TEST_F(ServiceCidrTest, IsReadyAndHeldFromItsFirstMoment) {
  const auto made = create("servicecidrs", R"({"metadata":{"name":"more","finalizers":["a/b"]},
      "spec":{"cidrs":["10.200.0.0/24"]},"status":{"conditions":[{"type":"Ready","status":"False"}]}})");
  ASSERT_TRUE(made);
  EXPECT_THAT(texts_at(made->object, "metadata.finalizers"),
              ElementsAre("a/b", kServiceCidrFinalizer));
  EXPECT_EQ(readiness("more"), "True");
  const auto* condition = objects_at(made->object, "status.conditions").at(0);
  EXPECT_EQ(string_at(*condition, "lastTransitionTime"), format_rfc3339(clock_.wall()));
}

TEST_F(ServiceCidrTest, AnAddressOfAFurtherRangeMayBeAskedFor) {
  EXPECT_THAT(address_for("a", "10.200.0.9"),
              AllOf(HasSubstr(kNotInRange), HasSubstr("valid IPs is 10.96.0.0/30")));
  add_range("more", R"("10.200.0.0/24")");
  EXPECT_EQ(address_for("a", "10.200.0.9"), "10.200.0.9");
  EXPECT_THAT(address_for("b", "10.200.0.9"), HasSubstr("already allocated"));
  EXPECT_THAT(address_for("b", "10.200.0.255"),
              AllOf(HasSubstr(kNotInRange), HasSubstr("10.96.0.0/30, 10.200.0.0/24")))
      << "the broadcast address";
}

TEST_F(ServiceCidrTest, WhenOneRangeIsFullTheNextOneGives) {
  add_range("more", R"("10.200.0.0/24")");
  EXPECT_THAT((std::vector{address_for("a"), address_for("b")}),
              testing::UnorderedElementsAre("10.96.0.1", "10.96.0.2"));
  EXPECT_THAT(address_for("c"), StartsWith("10.200.0."));
  ASSERT_TRUE(remove("servicecidrs", "more"));
  EXPECT_THAT(address_for("d"), HasSubstr("range is full"));
}

TEST_F(ServiceCidrTest, OneInUseStaysUntilItsLastAddressIsGivenBack) {
  add_range("more", R"("10.200.0.0/24")");
  ASSERT_EQ(address_for("a", "10.200.0.9"), "10.200.0.9");
  ASSERT_EQ(address_for("b", "10.200.0.10"), "10.200.0.10");
  ASSERT_TRUE(remove("servicecidrs", "more"));
  EXPECT_THAT(address_for("c", "10.200.0.11"), HasSubstr(kNotInRange)) << "before anybody noticed";
  settle();
  EXPECT_EQ(readiness("more"), "False Terminating");
  ASSERT_TRUE(remove("services", "a"));
  settle();
  EXPECT_EQ(readiness("more"), "False Terminating");
  ASSERT_TRUE(remove("services", "b"));
  settle();
  EXPECT_EQ(readiness("more"), "gone");
}

TEST_F(ServiceCidrTest, WhatAnotherRangeCoversHoldsNobody) {
  add_range("narrow", R"("10.200.0.0/24")");
  ASSERT_EQ(address_for("a", "10.200.0.9"), "10.200.0.9");
  add_range("wide", R"("10.200.0.0/16")");
  ASSERT_TRUE(remove("servicecidrs", "narrow"));
  settle();
  EXPECT_EQ(readiness("narrow"), "gone");
  ASSERT_TRUE(remove("servicecidrs", "wide"));
  settle();
  EXPECT_EQ(readiness("wide"), "False Terminating");
}

TEST_F(ServiceCidrTest, OthersOfOneNameAndOtherFinalizersAreLeftAlone) {
  ASSERT_TRUE(create("servicecidrs", R"({"metadata":{"name":"more","finalizers":["a/b"]},
      "spec":{"cidrs":["10.200.0.0/24"]}})"));
  ASSERT_TRUE(remove("servicecidrs", "more"));
  settle();
  ASSERT_TRUE(range("more"));
  EXPECT_THAT(texts_at(*range("more"), "metadata.finalizers"), ElementsAre("a/b"));
}

TEST_F(ServiceCidrTest, MarksThatWereTakenOffComeBack) {
  ASSERT_TRUE(patch("servicecidrs", "kubernetes", R"({"metadata":{"finalizers":null}})"));
  ASSERT_TRUE(patch("servicecidrs", "kubernetes", R"({"status":{"conditions":null}})", "status"));
  EXPECT_EQ(address_for("a", "10.96.0.1"), "10.96.0.1") << "nobody has said that it is not ready";
  settle();
  EXPECT_THAT(texts_at(*range("kubernetes"), "metadata.finalizers"),
              ElementsAre(kServiceCidrFinalizer));
  EXPECT_EQ(readiness("kubernetes"), "True");
}

TEST_F(ServiceCidrTest, WhoeverSaysThatItIsNotReadyIsObeyed) {
  ASSERT_TRUE(patch("servicecidrs", "kubernetes",
                    R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})", "status"));
  settle();
  EXPECT_THAT(address_for("a"), HasSubstr("range is full"));
}

TEST_F(ServiceCidrTest, AnAllocationHoldsOnlyWhileItsRangeIsUnchanged) {
  PendingTransaction transaction(*registry_, clock_.wall());
  const std::vector<IpPrefix> configured = tiny_cluster().service_cidrs;
  EXPECT_EQ(usable_service_ranges(transaction, configured), configured);
  transaction.put("/registry/ranges/test", Document{});
  ASSERT_TRUE(remove("servicecidrs", "kubernetes"));
  const auto committed = run_task(loop_, registry_->store().commit(transaction.build()));
  ASSERT_TRUE(committed);
  EXPECT_FALSE(committed->succeeded);
  EXPECT_EQ(committed->conflicting_key, "/registry/servicecidrs/kubernetes");
}

TEST_F(ServiceCidrTest, TheDefaultIsMadeAgain) {
  ASSERT_TRUE(remove("servicecidrs", "kubernetes"));
  settle();
  EXPECT_EQ(readiness("kubernetes"), "gone");
  settle();
  EXPECT_EQ(readiness("kubernetes"), "True");
}

TEST_F(ServiceCidrTest, TheDefaultIsGivenTheSecondFamilyAndIsOtherwiseLeftAlone) {
  const struct {
    std::string_view given;
    std::vector<std::string> becomes;
  } rows[] = {
      {R"("10.96.0.0/16")", {"10.96.0.0/16", "fd00:10:96::/112"}},
      {R"("10.97.0.0/16")", {"10.97.0.0/16"}},
      {R"("10.96.0.0/16","fd00:99::/112")", {"10.96.0.0/16", "fd00:99::/112"}},
  };
  for (const auto& row : rows) {
    keeper_.reset();
    const KindsConfig config = dual_stack_cluster();
    open(config);
    add_range("kubernetes", row.given);
    keeper_ = std::make_unique<ServiceCidrKeeper>(*registry_, clock_, loop_.get_executor(),
                                                  config.service_cidrs);
    settle();
    EXPECT_EQ(texts_at(*range("kubernetes"), "spec.cidrs"), row.becomes);
    // What the server was given counts besides, where no ServiceCIDR speaks of it.
    EXPECT_EQ(address_for("a", "10.96.0.7"), "10.96.0.7");
  }
}

}  // namespace
}  // namespace fairlead::apiserver
