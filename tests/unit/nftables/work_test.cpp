// A change costs what changed, whatever the size of the cluster: counted, not timed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/modes/nftables/nftables_mode.hpp"
#include "unit/nftables/counting_kernel.hpp"
#include "unit/nftables/plans.hpp"

namespace fairlead::nftables::testing {

// Found by GoogleTest.
void PrintTo(const KernelWork& work, std::ostream* out) {
  *out << fmt::format("{} transactions, {} messages, {} elements, {} bytes, {} listings",
                      work.sent.transactions, work.sent.messages, work.sent.elements,
                      work.sent.bytes, work.listings);
}

}  // namespace fairlead::nftables::testing

namespace fairlead::nftables {
namespace {

using namespace testing;
using plan::Plan;
using plan::ServicePlan;

constexpr int kBackends = 10;

// What the kernel is asked to do for the second plan once it has the first.
KernelWork work_of(const Plan& before, const Plan& after) {
  KernelWork work;
  NftablesMode mode(std::make_unique<CountingKernel>(&work));
  EXPECT_TRUE(mode.apply_full(before));
  work = {};
  EXPECT_TRUE(mode.apply(after, plan::diff(before, after)));
  return work;
}

ServicePlan service_of(const Plan& plan, std::string name) {
  return *plan.services.at(key(std::move(name)));
}

using Edit = Plan (*)(Plan);

Plan without_last_backend(Plan plan) {
  ServicePlan service = service_of(plan, "service-00003");
  service.cluster_pool.pop_back();
  put(plan, std::move(service));
  return plan;
}
Plan without_first_backend(Plan plan) {
  ServicePlan service = service_of(plan, "service-00003");
  service.cluster_pool.erase(service.cluster_pool.begin());
  put(plan, std::move(service));
  return plan;
}
Plan with_another_backend(Plan plan) {
  ServicePlan service = service_of(plan, "service-00003");
  service.cluster_pool.push_back(remote("10.200.0.1"));
  put(plan, std::move(service));
  return plan;
}
Plan with_a_backend_replaced(Plan plan) {
  ServicePlan service = service_of(plan, "service-00003");
  service.cluster_pool.back() = remote("10.200.0.1");
  put(plan, std::move(service));
  return plan;
}
Plan with_another_service(Plan plan) {
  put(plan, simple_service("new", "10.97.0.1", {remote("10.200.0.1")}));
  return plan;
}
Plan without_a_service(Plan plan) {
  plan.services.erase(key("service-00003"));
  return plan;
}

struct WorkCase {
  std::string_view name;
  Edit edit;
  std::uint64_t transactions;   // the steps it takes so that no packet is lost on its way
  std::uint64_t most_elements;  // added and deleted
};

// Pools of the sizes that changes lead to are in use somewhere, as they are in any large cluster.
Plan with_neighbouring_sizes(Plan plan) {
  for (const int size : {1, kBackends - 1, kBackends + 1}) {
    plan::Pool pool;
    for (int i = 0; i < size; ++i) pool.push_back(remote(fmt::format("10.201.{}.{}", size, i)));
    put(plan, simple_service(fmt::format("size-{}", size), fmt::format("10.98.0.{}", size),
                             std::move(pool)));
  }
  return plan;
}

class ChangeOfOne : public ::testing::TestWithParam<WorkCase> {};

TEST_P(ChangeOfOne, CostsTheSameInAClusterAHundredTimesAsLarge) {
  const auto [name, edit, transactions, most_elements] = GetParam();
  const auto work = [&](int services) {
    const Plan plan = with_neighbouring_sizes(large_plan(services, kBackends));
    return work_of(plan, edit(plan));
  };
  const KernelWork few = work(10);
  EXPECT_EQ(work(1000), few);
  EXPECT_EQ(few.listings, 0) << "nothing is read back on the way of a change";
  EXPECT_EQ(few.sent.transactions, transactions);
  EXPECT_GT(few.sent.elements, 0U);
  EXPECT_LE(few.sent.elements, most_elements);
  EXPECT_LE(few.sent.messages, 5U);
  EXPECT_LT(few.sent.bytes, 2000U);
}

// The way to the pool (one number, deleted and added) and at most three slots.
INSTANTIATE_TEST_SUITE_P(NftablesWork, ChangeOfOne,
                         ::testing::Values(WorkCase{.name = "LastBackendLeaves",
                                                    .edit = without_last_backend,
                                                    .transactions = 2,
                                                    .most_elements = 3},
                                           WorkCase{.name = "FirstBackendLeaves",
                                                    .edit = without_first_backend,
                                                    .transactions = 2,
                                                    .most_elements = 5},
                                           WorkCase{.name = "BackendJoins",
                                                    .edit = with_another_backend,
                                                    .transactions = 1,
                                                    .most_elements = 3},
                                           WorkCase{.name = "BackendReplaced",
                                                    .edit = with_a_backend_replaced,
                                                    .transactions = 1,
                                                    .most_elements = 2},
                                           WorkCase{.name = "ServiceAdded",
                                                    .edit = with_another_service,
                                                    .transactions = 1,
                                                    .most_elements = 3},
                                           WorkCase{.name = "ServiceRemoved",
                                                    .edit = without_a_service,
                                                    .transactions = 1,
                                                    .most_elements = 2 + kBackends}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(NftablesWork, NothingIsSentForAnEmptyDelta) {
  const Plan plan = large_plan(10, kBackends);
  EXPECT_EQ(work_of(plan, plan), KernelWork{});
}

TEST(NftablesWork, OnlyTheLearntPairsAreListedWhenABackendWithAffinityLeaves) {
  Plan before = large_plan(10, kBackends);
  ServicePlan service = service_of(before, "service-00003");
  service.affinity = std::chrono::seconds{60};
  put(before, service);
  Plan joined = before;
  service.cluster_pool.push_back(remote("10.200.0.1"));
  put(joined, service);
  EXPECT_EQ(work_of(before, joined).listings, 0);
  EXPECT_EQ(work_of(joined, before).listings, 1);
}

// A chain that begins to use a map makes the kernel look at all of the map, and an element that
// leads to a chain makes it look at every element that leads to one.
TEST(NftablesWork, ChangesOfPoolsTouchNothingThatGrowsWithTheCluster) {
  for (const Edit edit : {without_last_backend, with_another_backend, with_another_service}) {
    const Plan before = large_plan(10, kBackends);
    Renderer renderer(IpFamily::V4);
    Batch ignored(1);
    renderer.full(before, ignored);
    for (const auto& step : renderer.delta(plan::diff(before, edit(before)))) {
      for (const Operation& operation : step) {
        if (const auto* added = std::get_if<AddElement>(&operation.action);
            added != nullptr && std::holds_alternative<Verdict>(added->element.data))
          EXPECT_EQ(added->element.set, SetId::Shapes);
        const auto* rule = std::get_if<AddRule>(&operation.action);
        if (rule == nullptr) continue;
        for (const Statement& statement : rule->rule.statements) {
          EXPECT_FALSE(std::holds_alternative<DestinationNat>(statement)) << rule->chain;
          EXPECT_FALSE(std::holds_alternative<MatchSet>(statement)) << rule->chain;
        }
      }
    }
  }
}

TEST(NftablesWork, ChainsOfALargePoolStayOnceMade) {
  const Plan large = large_plan(10, 40);
  const Plan larger = with_another_backend(large);
  KernelWork work;
  NftablesMode mode(std::make_unique<CountingKernel>(&work));
  ASSERT_TRUE(mode.apply_full(large));
  const auto messages_of = [&](const Plan& from, const Plan& to) {
    work = {};
    EXPECT_TRUE(mode.apply(to, plan::diff(from, to)));
    return work.sent.messages;
  };
  const auto first = messages_of(large, larger);
  messages_of(larger, large);
  EXPECT_EQ(messages_of(large, larger) + 6, first)
      << "two chains, their rules and a message of their numbers";
}

}  // namespace
}  // namespace fairlead::nftables
