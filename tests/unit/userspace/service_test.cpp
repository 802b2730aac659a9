#include "proxy/modes/userspace/service.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

const Service::Clock::time_point kStart{1h};

plan::Backend backend(int n) {
  return {.address = *IpAddress::parse(fmt::format("10.0.0.{}", n)), .port = Port{80}};
}

plan::ServicePlanPtr plan_of(plan::Pool cluster, plan::Pool local = {},
                             std::optional<std::chrono::seconds> affinity = {}) {
  return std::make_shared<const plan::ServicePlan>(plan::ServicePlan{.key = {},
                                                                     .affinity = affinity,
                                                                     .cluster_pool = cluster,
                                                                     .local_pool = local,
                                                                     .frontends = {}});
}

const IpAddress kClient = *IpAddress::parse("192.0.2.1");
const IpAddress kOther = *IpAddress::parse("192.0.2.2");

// The last number of the addresses chosen.
std::vector<int> choices(Service& service, int count, std::vector<plan::Backend> avoid = {},
                         PoolKind pool = PoolKind::Cluster) {
  std::vector<int> out;
  for (int i = 0; i < count; ++i) {
    const auto chosen = service.choose(pool, kClient, avoid, kStart);
    out.push_back(chosen ? chosen->address.bytes()[3] : 0);
  }
  return out;
}

TEST(UserspaceService, RoundRobinTakesThePlansOrder) {
  Service service(plan_of({backend(1), backend(2), backend(3)}), Choice::RoundRobin);
  EXPECT_THAT(choices(service, 7), ElementsAre(1, 2, 3, 1, 2, 3, 1));
}

TEST(UserspaceService, EachPoolIsItsOwn) {
  Service service(plan_of({backend(1), backend(2)}, {backend(9)}), Choice::RoundRobin);
  EXPECT_THAT(choices(service, 2, {}, PoolKind::Local), ElementsAre(9, 9));
}

TEST(UserspaceService, AnEmptyPoolGivesNothing) {
  Service service(plan_of({backend(1)}), Choice::RoundRobin);
  EXPECT_THAT(choices(service, 1, {}, PoolKind::Local), ElementsAre(0));
}

TEST(UserspaceService, EndpointsThatFailedAreAvoidedWhileThereAreOthers) {
  Service service(plan_of({backend(1), backend(2), backend(3)}), Choice::RoundRobin);
  EXPECT_THAT(choices(service, 3, {backend(1), backend(3)}), ElementsAre(2, 2, 2));
  EXPECT_THAT(choices(service, 1, {backend(1), backend(2), backend(3)}),
              testing::Not(ElementsAre(0)));
}

TEST(UserspaceService, LeastConnectionsTakesTheIdleOne) {
  Service service(plan_of({backend(1), backend(2), backend(3)}), Choice::LeastConnections);
  service.opened(backend(1));
  service.opened(backend(1));
  service.opened(backend(2));
  EXPECT_THAT(choices(service, 3), ElementsAre(3, 3, 3));
  service.opened(backend(3));
  service.opened(backend(3));
  EXPECT_THAT(choices(service, 3), ElementsAre(2, 2, 2));
  service.closed(backend(1));
  service.closed(backend(1));
  EXPECT_THAT(choices(service, 3), ElementsAre(1, 1, 1));
}

TEST(UserspaceService, RandomOfTwoSeldomTakesTheBusiest) {
  Service service(plan_of({backend(1), backend(2), backend(3), backend(4)}), Choice::RandomOfTwo);
  for (int i = 0; i < 100; ++i) service.opened(backend(1));
  const auto chosen = choices(service, 2000);
  // Only when both picks fall on it: one in sixteen.
  EXPECT_NEAR(static_cast<double>(std::ranges::count(chosen, 1)), 125.0, 75.0);
  for (const int other : {2, 3, 4}) EXPECT_GT(std::ranges::count(chosen, other), 300);
}

TEST(UserspaceService, AClientSticksUntilItsTimeIsOver) {
  Service service(plan_of({backend(1), backend(2), backend(3)}, {}, 10s), Choice::RoundRobin);
  const auto first = service.choose(PoolKind::Cluster, kClient, {}, kStart);
  service.chosen(kClient, *first, kStart);
  service.choose(PoolKind::Cluster, kOther, {}, kStart);  // moves the turn on
  EXPECT_EQ(service.choose(PoolKind::Cluster, kClient, {}, kStart + 9s), first);
  service.chosen(kClient, *first, kStart + 9s);
  EXPECT_EQ(service.choose(PoolKind::Cluster, kClient, {}, kStart + 18s), first) << "renewed";
  EXPECT_NE(service.choose(PoolKind::Cluster, kClient, {}, kStart + 19s), first) << "over";
}

TEST(UserspaceService, AClientOfAnEndpointThatWentIsBalancedAnewAndStaysWhenItReturns) {
  Service service(plan_of({backend(1), backend(2)}, {}, 1h), Choice::RoundRobin);
  service.chosen(kClient, backend(1), kStart);
  service.set_plan(plan_of({backend(2), backend(3)}, {}, 1h));
  const auto next = service.choose(PoolKind::Cluster, kClient, {}, kStart);
  ASSERT_TRUE(next);
  service.chosen(kClient, *next, kStart);
  service.set_plan(plan_of({backend(1), backend(2), backend(3)}, {}, 1h));
  EXPECT_EQ(service.choose(PoolKind::Cluster, kClient, {}, kStart), next);
}

TEST(UserspaceService, AnEndpointThatDoesNotAnswerIsLeftInSpiteOfAffinity) {
  Service service(plan_of({backend(1), backend(2)}, {}, 1h), Choice::RoundRobin);
  service.chosen(kClient, backend(1), kStart);
  EXPECT_THAT(choices(service, 2, {backend(1)}), ElementsAre(2, 2));
}

}  // namespace
}  // namespace fairlead::userspace
