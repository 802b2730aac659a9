// Rendering: whole tables as text (golden files, which nft itself must accept), and changes, which
// must lead to the same table as rendering anew.
//
// FAIRLEAD_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before committing it.
#include "proxy/modes/nftables/render.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "unit/nftables/namespace_guard.hpp"
#include "unit/nftables/plans.hpp"
#include "unit/nftables/table_copy.hpp"

namespace fairlead::nftables {
namespace {

using namespace testing;
using plan::Plan;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OperationList final : public OperationSink {
 public:
  void add(Operation operation) override { list.push_back(std::move(operation)); }
  std::vector<Operation> list;
};

// ---- golden files ----

// One sticky Service with a node port, one without endpoints: most sets have something in them.
Plan small_plan() {
  Plan plan;
  plan.nodes[IpFamily::V4] = node_settings(IpFamily::V4);
  put(plan, simple_service("plain", "10.96.0.1",
                           {local("10.0.1.3"), remote("10.0.2.3"), remote("10.0.2.4")}));
  plan::ServicePlan sticky = simple_service("sticky", "10.96.0.2", {remote("10.0.2.5")});
  sticky.affinity = std::chrono::seconds{600};
  put(plan, std::move(sticky));
  plan::ServicePlan none = simple_service("none", "10.96.0.3", {});
  none.frontends.front().target = plan::Target::Reject;
  put(plan, std::move(none));
  return plan;
}

Plan small_plan_after_a_change() {
  Plan plan = small_plan();
  put(plan, simple_service("plain", "10.96.0.1", {local("10.0.1.3"), remote("10.0.2.4")}));
  return plan;
}

std::filesystem::path golden(std::string_view name) {
  return std::filesystem::path(FAIRLEAD_SOURCE_DIR) / "tests/golden/nftables" / name;
}

void expect_golden(std::string_view name, const std::string& text) {
  const auto path = golden(name);
  if (std::getenv("FAIRLEAD_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ostringstream wanted;
  wanted << std::ifstream(path).rdbuf();
  EXPECT_EQ(text, wanted.str()) << "differs from " << path;
}

TEST(NftablesRender, SmallPlanIsTheGoldenText) {
  OperationList full;
  Renderer(IpFamily::V4).full(small_plan(), full);
  expect_golden("small.nft", to_script(full.list));
}

TEST(NftablesRender, EndpointThatLeavesIsTheGoldenChange) {
  Renderer renderer(IpFamily::V4);
  OperationList full;
  renderer.full(small_plan(), full);
  const auto delta = plan::diff(small_plan(), small_plan_after_a_change());
  std::string text;
  for (const auto& step : renderer.delta(delta)) text += "# step\n" + to_script(step);
  expect_golden("small-endpoint-left.nft", text);
}

// nft checks the table, loads it, and checks the change on top of it.
TEST(NftablesRender, NftAcceptsTheGoldenFiles) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    for (const std::string_view step :
         {"nft -c -f {0}", "nft -f {0}", "nft -c -f {1}", "nft -f {1}"}) {
      const std::string command = fmt::format(fmt::runtime(step), golden("small.nft").string(),
                                              golden("small-endpoint-left.nft").string());
      EXPECT_EQ(std::system(command.c_str()), 0) << command;
    }
  });
}

// ---- what goes first ----

TableCopy rendered_anew(const Plan& plan, IpFamily family) {
  TableCopy table(family);
  Renderer(family).full(plan, table);
  return table;
}

TEST(NftablesRender, ApiServerAndDnsGoFirst) {
  Plan plan = small_plan();
  const auto put_named = [&plan](std::string_view name_space, std::string_view name, Port port,
                                 std::string_view address) {
    plan::ServicePlan service =
        simple_service(std::string(name), address, {local("10.0.1.9", number(port))});
    service.key.service_port.namespace_ = name_space;
    service.frontends.front().port = port;
    put(plan, std::move(service));
  };
  put_named("default", "kubernetes", Port{443}, "10.96.1.1");
  put_named("kube-system", "any-dns", Port{53}, "10.96.1.2");
  put_named("kube-system", "metrics", Port{443}, "10.96.1.3");
  put_named("other", "dns", Port{53}, "10.96.1.4");
  Renderer renderer(IpFamily::V4);
  TableCopy table(IpFamily::V4);
  renderer.first(plan, table);
  std::set<std::string> first;
  for (const auto& [name, datum] : table.elements()) {
    if (name.first == SetId::Services) first.insert(datum.comment);
  }
  EXPECT_THAT(first, ElementsAre("default/kubernetes:p", "kube-system/any-dns:p"));
  renderer.rest(plan, table);
  EXPECT_THAT(table.complaints(), IsEmpty());
  EXPECT_EQ(table.elements(), rendered_anew(plan, IpFamily::V4).elements());
}

// ---- changes ----

// Slots and tokens of a pool may be in another order: which of its backends sits where is left out.
using Unordered = std::map<std::tuple<SetId, Key, bool>, std::multiset<TableCopy::Datum>>;
Unordered unordered(const TableCopy::Elements& elements) {
  Unordered out;
  for (const auto& [name, datum] : elements) {
    const auto& [set, key] = name;
    const bool slot = schema(set).key.back() == FieldType::Slot;
    const auto bytes = key.bytes();
    const Key frontend = slot ? Key{}.raw(bytes.first(bytes.size() - 4)) : key;
    std::uint32_t number = 0;
    if (slot) std::memcpy(&number, bytes.last(4).data(), sizeof number);
    out[{set, frontend, number >= kLocalSlots}].insert(datum);
  }
  return out;
}
std::set<std::pair<SetId, Key>> names(const TableCopy::Elements& elements) {
  std::set<std::pair<SetId, Key>> out;
  for (const auto& [name, datum] : elements) out.insert(name);
  return out;
}

// Chains of one or two rules come with the first need and stay, so which there are depends on what
// was before.
TableCopy::Chains without_lasting(TableCopy::Chains chains) {
  const std::regex lasting("(masquerade-(others-)?)?(node-port-)?pick-(local-)?[0-9]+");
  std::erase_if(chains, [&](const auto& chain) {
    return std::regex_match(chain.first, lasting) && chain.second.size() <= 2;
  });
  return chains;
}
TableCopy::Elements without_ways_to_lasting(TableCopy::Elements elements) {
  std::erase_if(elements, [](const auto& element) {
    const auto* verdict = std::get_if<Verdict>(&element.second.data);
    return verdict != nullptr && without_lasting({{verdict->chain, {}}}).empty();
  });
  return elements;
}

void expect_same_but_for_slots(const TableCopy& table, const TableCopy& anew) {
  const auto elements = without_ways_to_lasting(table.elements());
  const auto wanted = without_ways_to_lasting(anew.elements());
  EXPECT_EQ(names(elements), names(wanted));
  EXPECT_EQ(unordered(elements), unordered(wanted));
  EXPECT_EQ(without_lasting(table.chains()), without_lasting(anew.chains()));
}

// Steps from one random plan to the next; the kernel's rules about references hold all the way.
void expect_changes_lead_to_the_plan(std::uint32_t seed, IpFamily family) {
  constexpr int kSteps = 12;
  std::mt19937 random(seed);
  Plan plan = random_plan(random);
  Renderer renderer(family);
  TableCopy table(family);
  renderer.full(plan, table);
  for (int step = 0; step < kSteps; ++step) {
    const Plan next = random_plan(random);
    for (const auto& operations : renderer.delta(plan::diff(plan, next))) {
      for (const Operation& operation : operations) table.add(operation);
    }
    plan = next;
    ASSERT_THAT(table.complaints(), IsEmpty()) << "seed " << seed << " step " << step;
    expect_same_but_for_slots(table, rendered_anew(plan, family));
    TableCopy expected(family);
    renderer.expected(plan, expected);
    ASSERT_EQ(table.elements(), expected.elements()) << "seed " << seed << " step " << step;
    ASSERT_EQ(table.chains(), expected.chains()) << "seed " << seed << " step " << step;
  }
}

TEST(NftablesRender, AnyRowOfChangesLeadsToThePlan) {
  constexpr std::uint32_t kSeeds = 40;
  for (std::uint32_t seed = 0; seed < kSeeds && !::testing::Test::HasFailure(); ++seed) {
    expect_changes_lead_to_the_plan(seed, IpFamily::V4);
    expect_changes_lead_to_the_plan(seed, IpFamily::V6);
  }
}

TEST(NftablesRender, BackendsKeepTheirPlaces) {
  const auto a = remote("10.0.0.1");
  const auto b = remote("10.0.0.2");
  const auto c = remote("10.0.0.3");
  const auto d = remote("10.0.0.4");
  EXPECT_EQ(keep_places({a, b, c}, {a, b, c}), (plan::Pool{a, b, c}));
  EXPECT_EQ(keep_places({a, b, c}, {b, c}), (plan::Pool{c, b})) << "the last fills the gap";
  EXPECT_EQ(keep_places({a, b}, {a, b, c, d}), (plan::Pool{a, b, c, d}));
  EXPECT_EQ(keep_places({a, b, c}, {b, d}), (plan::Pool{d, b}));
  EXPECT_EQ(keep_places({}, {b, d}), (plan::Pool{b, d}));
  EXPECT_EQ(keep_places({a, b}, {}), plan::Pool{});
}

}  // namespace
}  // namespace fairlead::nftables
