// The steps of a change, held against what a packet does that meets a commit on its way: it was
// sent to a chain by one state of the sets and looks up the rest in the next one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "proxy/modes/nftables/render.hpp"
#include "unit/nftables/plans.hpp"

namespace fairlead::nftables {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using ::testing::IsEmpty;

// A table as a value.
struct Table : OperationSink {
  std::map<std::pair<SetId, Key>, Element> elements;
  std::map<std::string, std::size_t> chains;  // with the number of their rules

  void add(Operation operation) override {
    std::visit(Overloaded{[&](AddElement& o) {
                            elements.insert_or_assign({o.element.set, o.element.key}, o.element);
                          },
                          [&](DeleteElement& o) { elements.erase({o.element.set, o.element.key}); },
                          [&](AddChain& o) { chains[o.chain.name]; },
                          [&](AddRule& o) { ++chains[o.chain]; },
                          [&](FlushRules& o) { chains[o.chain] = 0; },
                          [&](DeleteChain& o) { chains.erase(o.name); }, [](auto&) {}},
               operation.action);
  }

  const Element* find(SetId set, const Key& key) const {
    const auto found = elements.find({set, key});
    return found == elements.end() ? nullptr : &found->second;
  }
};

Table full(const plan::Plan& plan, Renderer& renderer) {
  Table table;
  renderer.full(plan, table);
  return table;
}

bool is_entry(const Element& element) {
  return element.set == SetId::Services || element.set == SetId::NodePorts;
}

// Where a packet goes that looked up the frontend in one state of the table and its number in
// another; empty: nowhere.
std::string chain_of(const Element& entry, const Table& table) {
  const Element* way = table.find(SetId::Shapes, std::get<Key>(entry.data));
  return way == nullptr ? "" : std::get<Verdict>(way->data).chain;
}

// Whether the slots that `chain` may choose from are all there for the frontend, and with affinity
// what each slot's token means.
bool can_be_served(const Table& table, const Key& frontend, const std::string& chain) {
  if (chain.empty()) return false;
  static const std::regex pick_names("(node-port-)?pick-(local-)?([0-9]+)(-sticky-[0-9]+s)?");
  for (std::sregex_iterator pick(chain.begin(), chain.end(), pick_names), end; pick != end;
       ++pick) {
    const bool node_port = (*pick)[1].matched;
    const bool sticky = (*pick)[4].matched;
    const std::uint32_t base = (*pick)[2].matched ? kLocalSlots : kClusterSlots;
    const auto size = static_cast<std::uint32_t>(std::stoul((*pick)[3]));
    for (std::uint32_t slot = base; slot < base + size; ++slot) {
      const Key key = Key{frontend}.number_in_host_order(slot);
      if (!sticky) {
        if (!table.find(node_port ? SetId::NodePortSlots : SetId::Slots, key)) return false;
        continue;
      }
      const Element* token = table.find(node_port ? SetId::NodePortTokens : SetId::Tokens, key);
      if (token == nullptr) return false;
      Key member{frontend};
      member.raw(std::get<Key>(token->data).bytes());
      if (!table.find(node_port ? SetId::NodePortMembers : SetId::Members, member)) return false;
    }
  }
  return true;
}

// What goes wrong for packets between two consecutive states; `last` is where all this leads.
std::vector<std::string> troubles(const Table& before, const Table& after, const Table& last) {
  std::vector<std::string> out;
  for (const auto& [key, element] : before.elements) {
    if (!is_entry(element) || !last.find(element.set, element.key)) continue;
    const bool served = chain_of(element, before) == chain_of(element, after) &&
                        can_be_served(after, element.key, chain_of(element, before));
    if (!served) out.push_back(to_text(element, IpFamily::V4) + ": no longer served");
  }
  for (const auto& [key, element] : after.elements) {
    if (!is_entry(element)) continue;
    const std::string chain = chain_of(element, after);
    const auto found = before.chains.find(chain);
    if (found == before.chains.end() || found->second == 0)
      out.push_back(to_text(element, IpFamily::V4) + ": leads to a chain without rules");
    if (!can_be_served(after, element.key, chain))
      out.push_back(to_text(element, IpFamily::V4) + ": not served");
  }
  return out;
}

struct Walk {
  std::vector<std::vector<Operation>> steps;
  std::vector<std::string> troubles;
};

Walk walk(const plan::Plan& from, const plan::Plan& to) {
  Renderer renderer(IpFamily::V4);
  Table table = full(from, renderer);
  Walk out{.steps = renderer.delta(plan::diff(from, to))};
  Table last = table;
  for (const auto& step : out.steps) {
    for (const Operation& operation : step) last.add(operation);
  }
  for (const auto& step : out.steps) {
    const Table before = table;
    for (const Operation& operation : step) table.add(operation);
    for (std::string& trouble : troubles(before, table, last))
      out.troubles.push_back(std::move(trouble));
  }
  return out;
}

plan::Plan one_service(plan::Pool pool, std::vector<IpPrefix> ranges = {}) {
  plan::Plan plan = empty_plan();
  plan::ServicePlan service = simple_service("web", "10.96.0.1", std::move(pool));
  if (!ranges.empty()) {
    plan::Frontend balancer = service.frontends.front();
    balancer.kind = plan::FrontendKind::LoadBalancerIp;
    balancer.address = ip("198.51.100.9");
    balancer.source_ranges = std::move(ranges);
    service.frontends.push_back(std::move(balancer));
  }
  put(plan, std::move(service));
  // Keeps the chains for one and two backends.
  put(plan, simple_service("one", "10.96.0.2", {remote("10.0.9.1")}));
  put(plan, simple_service("two", "10.96.0.3", {remote("10.0.9.1"), remote("10.0.9.2")}));
  return plan;
}

const plan::Backend kBackendA = remote("10.0.0.1");
const plan::Backend kBackendB = remote("10.0.0.2");
const plan::Backend kBackendC = remote("10.0.0.3");

TEST(NftablesSteps, FrequentChangesAreOneStep) {
  EXPECT_EQ(walk(one_service({kBackendA}), one_service({kBackendA, kBackendB})).steps.size(), 1U)
      << "grows";
  EXPECT_EQ(
      walk(one_service({kBackendA, kBackendB}), one_service({kBackendA, kBackendC})).steps.size(),
      1U)
      << "replaced";
  EXPECT_EQ(walk(one_service({}), one_service({kBackendA})).steps.size(), 2U) << "refusals go last";
}

TEST(NftablesSteps, SlotGoesAfterNothingLeadsToItAnyMore) {
  const Walk shrinks = walk(one_service({kBackendA, kBackendB}), one_service({kBackendA}));
  EXPECT_EQ(shrinks.steps.size(), 2U);
  EXPECT_THAT(shrinks.troubles, IsEmpty());
}

TEST(NftablesSteps, ChainHasRulesBeforeAnythingLeadsToIt) {
  const Walk grows =
      walk(one_service({kBackendA, kBackendB}), one_service({kBackendA, kBackendB, kBackendC}));
  EXPECT_EQ(grows.steps.size(), 2U);
  EXPECT_THAT(grows.troubles, IsEmpty());
}

bool has_element(const std::vector<Operation>& step, SetId set) {
  return std::ranges::any_of(step, [set](const Operation& operation) {
    const auto* added = std::get_if<AddElement>(&operation.action);
    return added != nullptr && added->element.set == set;
  });
}

TEST(NftablesSteps, AddressIsRestrictedBeforeItLeadsAnywhere) {
  const plan::Plan none = empty_plan();
  const Walk made = walk(none, one_service({kBackendA}, {cidr("192.0.2.0/24")}));
  ASSERT_EQ(made.steps.size(), 2U);
  EXPECT_TRUE(has_element(made.steps[0], SetId::Firewalled));
  EXPECT_TRUE(has_element(made.steps[0], SetId::AllowedSources));
  EXPECT_FALSE(has_element(made.steps[0], SetId::Services));
}

TEST(NftablesSteps, OverlappingRangesAreExchangedInOneStep) {
  const Walk changed = walk(one_service({kBackendA}, {cidr("192.0.2.0/24")}),
                            one_service({kBackendA}, {cidr("192.0.2.0/25"), cidr("192.0.3.0/24")}));
  EXPECT_EQ(changed.steps.size(), 1U);
}

// Two services claimed an address; the one that has it goes, with the ranges they have in common.
TEST(NftablesSteps, AnAddressThatPassesOnKeepsTheNewOwnersRanges) {
  plan::Plan before = one_service({kBackendA}, {cidr("192.0.2.0/24"), cidr("192.0.3.0/24")});
  plan::Plan after = one_service({kBackendA});
  plan::ServicePlan heir = simple_service("heir", "10.96.0.4", {kBackendB});
  plan::Frontend balancer = heir.frontends.front();
  balancer.kind = plan::FrontendKind::LoadBalancerIp;
  balancer.address = ip("198.51.100.9");
  balancer.source_ranges = {cidr("192.0.2.0/24")};
  heir.frontends.push_back(balancer);
  put(after, std::move(heir));
  Renderer renderer(IpFamily::V4);
  Table table = full(before, renderer);
  for (const auto& step : renderer.delta(plan::diff(before, after))) {
    for (const Operation& operation : step) table.add(operation);
  }
  Renderer fresh(IpFamily::V4);
  const Table wanted = full(after, fresh);
  const auto ranges = [](const Table& from) {
    std::vector<std::pair<SetId, Key>> out;
    for (const auto& [place, element] : from.elements) {
      if (place.first == SetId::AllowedSources || place.first == SetId::Firewalled)
        out.push_back(place);
    }
    return out;
  };
  EXPECT_EQ(ranges(table), ranges(wanted));
  EXPECT_EQ(ranges(wanted).size(), 2U);
}

TEST(NftablesSteps, NoRandomChangeStrandsAPacket) {
  std::mt19937 random(20);
  plan::Plan from = empty_plan();
  for (int i = 0; i < 300; ++i) {
    const plan::Plan to = random_plan(random);
    ASSERT_THAT(walk(from, to).troubles, IsEmpty()) << "change " << i;
    from = to;
  }
}

}  // namespace
}  // namespace fairlead::nftables
