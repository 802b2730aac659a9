#include "controllers/service_slices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;
using kube::EndpointSlice;
using kube::NamespacedName;
using testing::ElementsAre;
using testing::IsEmpty;

const NamespacedName kShop{.namespace_ = "ns", .name = "shop"};
const NamespacedName kBank{.namespace_ = "ns", .name = "bank"};

EndpointSlice slice(const std::string& name, const std::string& service, int revision) {
  EndpointSlice out;
  out.metadata = {.name = name, .namespace_ = "ns", .resource_version = std::to_string(revision)};
  if (!service.empty()) out.metadata.labels[kube::label::kServiceName] = service;
  return out;
}

class ServiceSlicesTest : public testing::Test {
 protected:
  ServiceSlicesTest() {
    store_.on_change([this](const EndpointSlice* before, const EndpointSlice* after) {
      concerned_ = slices_.changed(before, after);
    });
  }
  std::vector<std::string> names_of(const NamespacedName& service) const {
    std::vector<std::string> out;
    for (const EndpointSlice* known : slices_.of(service)) out.push_back(known->metadata.name);
    return out;
  }

  client::Store<EndpointSlice> store_;
  FakeClock clock_;
  ServiceSlices slices_{store_, clock_};
  std::vector<NamespacedName> concerned_;  // by the last news
};

TEST_F(ServiceSlicesTest, FollowTheLabel) {
  store_.upsert(slice("b", "shop", 1));
  store_.upsert(slice("a", "shop", 2));
  EXPECT_THAT(names_of(kShop), ElementsAre("a", "b"));
  EXPECT_THAT(concerned_, ElementsAre(kShop));

  store_.upsert(slice("b", "bank", 3));
  EXPECT_THAT(concerned_, ElementsAre(kShop, kBank));
  EXPECT_THAT(names_of(kShop), ElementsAre("a"));
  EXPECT_THAT(names_of(kBank), ElementsAre("b"));

  store_.upsert(slice("b", "", 4));
  EXPECT_THAT(concerned_, ElementsAre(kBank));
  store_.remove({"ns", "a"});
  EXPECT_THAT(concerned_, ElementsAre(kShop));
  EXPECT_THAT(names_of(kShop), IsEmpty());
  EXPECT_THAT(names_of(kBank), IsEmpty());

  store_.upsert(slice("c", "", 5));
  EXPECT_THAT(concerned_, IsEmpty());
}

TEST_F(ServiceSlicesTest, AWriteIsWaitedForUntilTheWatchHasIt) {
  slices_.written(kShop, slice("a", "shop", 7));
  EXPECT_TRUE(slices_.waits_for_own_writes(kShop));
  EXPECT_FALSE(slices_.waits_for_own_writes(kBank));
  store_.upsert(slice("a", "shop", 6));
  EXPECT_TRUE(slices_.waits_for_own_writes(kShop)) << "an older version of it";
  store_.upsert(slice("a", "shop", 7));
  EXPECT_FALSE(slices_.waits_for_own_writes(kShop));

  slices_.removed(kShop, "a");
  EXPECT_TRUE(slices_.waits_for_own_writes(kShop));
  store_.remove({"ns", "a"});
  EXPECT_FALSE(slices_.waits_for_own_writes(kShop));
}

TEST_F(ServiceSlicesTest, AWatchQuickerThanTheAnswerIsNotWaitedFor) {
  store_.upsert(slice("a", "shop", 8));
  slices_.written(kShop, slice("a", "shop", 7));
  slices_.removed(kShop, "gone");
  EXPECT_FALSE(slices_.waits_for_own_writes(kShop));
}

TEST_F(ServiceSlicesTest, WhatSomebodyElseTookAwayIsNotWaitedFor) {
  store_.upsert(slice("a", "shop", 1));
  store_.upsert(slice("b", "shop", 1));
  slices_.written(kShop, slice("a", "shop", 7));
  slices_.written(kShop, slice("b", "shop", 8));
  store_.remove({"ns", "a"});
  EXPECT_TRUE(slices_.waits_for_own_writes(kShop));
  store_.upsert(slice("b", "bank", 9));
  EXPECT_FALSE(slices_.waits_for_own_writes(kShop));
}

TEST_F(ServiceSlicesTest, PatienceEnds) {
  slices_.written(kShop, slice("a", "shop", 7));
  clock_.advance(ServiceSlices::kPatience - 1ms);
  EXPECT_TRUE(slices_.waits_for_own_writes(kShop));
  clock_.advance(1ms);
  EXPECT_FALSE(slices_.waits_for_own_writes(kShop));
}

}  // namespace
}  // namespace fairlead::controllers
