// A table that is already there, in a real kernel: what a new process makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "proxy/modes/nftables/nftables_mode.hpp"
#include "unit/nftables/namespace_guard.hpp"
#include "unit/nftables/plans.hpp"

namespace fairlead::nftables {
namespace {

using namespace testing;
using ::testing::IsEmpty;

// What it sent to get to the plan, whatever was there.
plan::ApplyStats start_with(const plan::Plan& plan) {
  auto mode = create({});
  EXPECT_TRUE(mode) << mode.error().message;
  if (!mode) return {};
  const auto applied = (*mode)->apply_full(plan);
  EXPECT_TRUE(applied) << applied.error().message;
  const auto differences = (*mode)->verify(plan, 20);
  EXPECT_TRUE(differences) << differences.error().message;
  EXPECT_THAT(differences.value_or(std::vector<std::string>{}), IsEmpty());
  return applied.value_or(plan::ApplyStats{});
}

void nft(const std::string& command) {
  EXPECT_EQ(std::system(fmt::format("nft '{}'", command).c_str()), 0) << command;
}

TEST(NftablesAdoption, NothingIsSentWhenTheTableIsWhatItShouldBe) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    EXPECT_GT(start_with(example_plan()).elements, 0U);
    EXPECT_EQ(start_with(example_plan()), plan::ApplyStats{});
  });
}

// Places that backends have come to by changes are kept.
TEST(NftablesAdoption, NoElementIsSentAfterARowOfChanges) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    std::mt19937 random(7);
    plan::Plan plan = example_plan();
    auto mode = create({});
    ASSERT_TRUE(mode) << mode.error().message;
    ASSERT_TRUE((*mode)->apply_full(plan));
    plan::Plan less = plan;
    for (auto& [key, service] : less.services) {
      plan::ServicePlan changed = *service;
      for (plan::Pool* pool : {&changed.cluster_pool, &changed.local_pool}) {
        if (pool->size() > 1) pool->erase(pool->begin());
      }
      service = std::make_shared<const plan::ServicePlan>(std::move(changed));
    }
    ASSERT_TRUE((*mode)->apply(less, plan::diff(plan, less)));
    // Chains of sizes no longer in use, and their numbers, are all there is to do.
    EXPECT_LE(start_with(less).transactions, 2U);
    EXPECT_EQ(start_with(less), plan::ApplyStats{});
    ASSERT_TRUE((*mode)->apply_full(plan));
    EXPECT_EQ(start_with(plan), plan::ApplyStats{});
  });
}

TEST(NftablesAdoption, OnlyTheDifferenceIsSent) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    constexpr int kServices = 50;
    constexpr int kBackends = 5;
    plan::Plan plan = large_plan(kServices, kBackends);
    start_with(plan);
    plan::ServicePlan service = *plan.services.at(key("service-00003"));
    service.cluster_pool.erase(service.cluster_pool.begin());
    put(plan, std::move(service));
    const plan::ApplyStats sent = start_with(plan);
    EXPECT_GT(sent.elements, 0U);
    EXPECT_LE(sent.elements, 7U) << "the way to the pool, two numbers, three slots";
  });
}

// What was flushed is found without reading a single element, however large the cluster.
TEST(NftablesAdoption, LostRulesOfALargeTableAreNoticedAndPutBack) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    constexpr int kServices = 10'000;
    constexpr int kBackends = 10;
    auto mode = create({});
    ASSERT_TRUE(mode) << mode.error().message;
    const plan::Plan plan = large_plan(kServices, kBackends);
    ASSERT_TRUE((*mode)->apply_full(plan));
    EXPECT_FALSE(*(*mode)->tampered());
    nft("flush table ip fairlead");
    EXPECT_TRUE(*(*mode)->tampered());
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE((*mode)->verify(plan, 1)->empty());
    const auto noticed = std::chrono::steady_clock::now();
    const auto mended = (*mode)->apply_full(plan);
    const auto end = std::chrono::steady_clock::now();
    ASSERT_TRUE(mended) << mended.error().message;
    EXPECT_EQ(mended->elements, 0U) << "no element was touched";
    EXPECT_LT(noticed - start, end - noticed) << "the audit reads all elements";
    if (std::getenv("SHOW")) {
      fmt::print("found after {} us, all compared {} us later\n",
                 (noticed - start) / std::chrono::microseconds(1),
                 (end - noticed) / std::chrono::microseconds(1));
    }
    EXPECT_THAT(*(*mode)->verify(plan, 20), IsEmpty());
  });
}

TEST(NftablesAdoption, TableOfAnotherLayoutIsReplaced) {
  for (const std::string_view comment : {"", "comment \"Services, layout 1\";"}) {
    FAIRLEAD_IN_PRIVATE_NETWORK([comment] {
      nft(fmt::format("add table ip fairlead {{ {} }}", comment));
      nft("add map ip fairlead services { type ipv4_addr : verdict; }");
      nft("add chain ip fairlead left-over");
      start_with(example_plan());
    });
  }
}

TEST(NftablesAdoption, AnyDamageIsMended) {
  for (const std::string_view damage : {
           "flush table ip fairlead",
           "flush map ip fairlead services",
           "flush map ip fairlead slots",
           "flush map ip fairlead shapes",
           "flush set ip fairlead cluster-ips",
           "flush chain ip fairlead dispatch",
           "delete table ip fairlead",
           "add chain ip fairlead foreign; add set ip fairlead strange { type ipv4_addr; }",
           "add element ip fairlead slots { 10.1.2.3 . tcp . 80 . fa00:0 : 10.1.1.1 . 80 }",
           "add element ip fairlead shapes { fa00:77 : drop }",
           "insert rule ip fairlead dispatch drop",
       }) {
    SCOPED_TRACE(damage);
    FAIRLEAD_IN_PRIVATE_NETWORK([damage] {
      auto mode = create({});
      ASSERT_TRUE(mode) << mode.error().message;
      const plan::Plan plan = example_plan();
      ASSERT_TRUE((*mode)->apply_full(plan));
      EXPECT_FALSE(*(*mode)->tampered());
      nft(std::string(damage));
      EXPECT_TRUE(*(*mode)->tampered());
      const auto mended = (*mode)->apply_full(plan);
      ASSERT_TRUE(mended) << mended.error().message;
      EXPECT_THAT(*(*mode)->verify(plan, 20), IsEmpty());
    });
  }
}

}  // namespace
}  // namespace fairlead::nftables
