// What clients were learnt to stick to goes with the backend, in a real kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "proxy/modes/nftables/affinity.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"
#include "unit/nftables/namespace_guard.hpp"
#include "unit/nftables/plans.hpp"

namespace fairlead::nftables {
namespace {

using namespace testing;
using namespace std::chrono_literals;

plan::Plan sticky_plan(plan::Pool pool) {
  plan::Plan plan = empty_plan();
  plan::ServicePlan service = simple_service("web", "10.96.0.1", std::move(pool));
  service.affinity = 600s;
  put(plan, std::move(service));
  return plan;
}

std::uint32_t token_of(const plan::Backend& backend) {
  return *present(sticky_plan({backend}), IpFamily::V4).begin();
}

std::string pair_text(std::string_view client, const plan::Backend& backend) {
  const std::uint32_t token = token_of(backend);
  return fmt::format("{} . {:x}:{:x}", client, token >> 16U, token & 0xffffU);
}

void learn(std::string_view client, const plan::Backend& backend) {
  const std::string command = fmt::format(
      "nft 'add element ip fairlead affinity {{ {} timeout 600s }}'", pair_text(client, backend));
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

std::string learnt() {
  FILE* pipe = ::popen("nft list set ip fairlead affinity", "re");
  std::string out;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe))
    out.append(part.data(), n);
  ::pclose(pipe);
  return out;
}

const plan::Backend kStays = remote("10.0.0.1");
const plan::Backend kLeaves = remote("10.0.0.2");

void expect_forgotten(bool by_restart) {
  auto mode = create({});
  ASSERT_TRUE(mode) << mode.error().message;
  const plan::Plan before = sticky_plan({kStays, kLeaves});
  ASSERT_TRUE((*mode)->apply_full(before));
  learn("192.0.2.1", kStays);
  learn("192.0.2.2", kLeaves);
  learn("192.0.2.3", kLeaves);

  const plan::Plan after = sticky_plan({kStays});
  const auto applied =
      by_restart ? (*mode)->apply_full(after) : (*mode)->apply(after, plan::diff(before, after));
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_THAT(learnt(), ::testing::HasSubstr(pair_text("192.0.2.1", kStays)));
  EXPECT_THAT(learnt(), ::testing::Not(::testing::HasSubstr("192.0.2.2")));
  EXPECT_THAT(learnt(), ::testing::Not(::testing::HasSubstr("192.0.2.3")));
}

TEST(NftablesAffinity, DepartedBackendIsForgottenWithTheChange) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] { expect_forgotten(false); });
}

TEST(NftablesAffinity, BackendThatLeftBeforeARestartIsForgottenByIt) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] { expect_forgotten(true); });
}

TEST(NftablesAffinity, OnlyBackendsOfServicesWithAffinityAreLookedFor) {
  plan::Plan before = empty_plan();
  put(before, simple_service("web", "10.96.0.1", {kStays, kLeaves}));
  plan::Plan after = empty_plan();
  put(after, simple_service("web", "10.96.0.1", {kStays}));
  EXPECT_THAT(departed(plan::diff(before, after), IpFamily::V4), ::testing::IsEmpty());
  EXPECT_THAT(
      departed(plan::diff(sticky_plan({kStays, kLeaves}), sticky_plan({kStays})), IpFamily::V4),
      ::testing::ElementsAre(token_of(kLeaves)));
  EXPECT_THAT(departed(plan::diff(sticky_plan({kLeaves}), empty_plan()), IpFamily::V4),
              ::testing::ElementsAre(token_of(kLeaves)));
}

}  // namespace
}  // namespace fairlead::nftables
