#include "proxy/modes/nftables/snapshot.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

namespace fairlead::nftables {
namespace {

// The kernel's listing is without comments.
bool before(const Element& a, const Element& b) {
  return std::tie(a.set, a.key, a.key_end, a.data) < std::tie(b.set, b.key, b.key_end, b.data);
}

}  // namespace

bool has_every_set(const TableListing& listing) {
  return std::ranges::all_of(kAllSets, [&](SetId set) {
    return std::ranges::find(listing.sets, schema(set).name) != listing.sets.end();
  });
}

Result<Snapshot> read_table(Kernel& kernel, IpFamily family, const TableListing& listing) {
  Snapshot out{.sets = listing.sets};
  FAIRLEAD_TRY(rules, kernel.list_rules(family));
  out.rules = std::move(rules);
  for (const std::string& chain : listing.chains) out.rules[chain];
  for (const SetId set : kAllSets) {
    const bool present = std::ranges::find(listing.sets, schema(set).name) != listing.sets.end();
    if (schema(set).learnt || !present) continue;
    auto& elements = out.elements.at(static_cast<std::size_t>(set));
    FAIRLEAD_CHECK(kernel.list_elements(
        family, set, [&](Element element) { elements.push_back(std::move(element)); }));
    std::ranges::sort(elements);
  }
  return out;
}

void Expectation::add(Operation operation) {
  if (auto* o = std::get_if<AddElement>(&operation.action)) {
    table.elements.at(static_cast<std::size_t>(o->element.set)).push_back(std::move(o->element));
  } else if (const auto* set = std::get_if<AddSet>(&operation.action)) {
    table.sets.emplace_back(schema(set->set).name);
  } else if (auto* chain = std::get_if<AddChain>(&operation.action)) {
    table.rules[chain->chain.name];
    chains.push_back(std::move(chain->chain));
  } else if (auto* rule = std::get_if<AddRule>(&operation.action)) {
    table.rules[rule->chain].push_back(kernel_.describe(rule->rule, operation.family));
    const auto at = std::ranges::find(chains, rule->chain, &Chain::name);
    check(at != chains.end(), "a rule comes after its chain");
    at->rules.push_back(std::move(rule->rule));
  }
}

void Expectation::sort() {
  for (auto& elements : table.elements) std::ranges::sort(elements);
}

std::vector<Element> without(const std::vector<Element>& a, const std::vector<Element>& b) {
  std::vector<Element> out;
  std::ranges::set_difference(a, b, std::back_inserter(out), before);
  return out;
}

void compare_chains(const std::vector<Chain>& wanted, IpFamily family, const Kernel& kernel,
                    const std::map<std::string, std::vector<std::string>>& rules,
                    TableChange& change) {
  for (const Chain& chain : wanted) {
    const auto there = rules.find(chain.name);
    if (there == rules.end()) {
      change.fresh.push_back(chain);
      continue;
    }
    std::vector<std::string> texts;
    for (const Rule& rule : chain.rules) texts.push_back(kernel.describe(rule, family));
    if (texts != there->second) change.refilled.push_back(chain);
  }
}

TableChange difference(const Expectation& wanted, const Snapshot& there, IpFamily family,
                       const Kernel& kernel) {
  TableChange change;
  compare_chains(wanted.chains, family, kernel, there.rules, change);
  for (const auto& [chain, rules] : there.rules) {
    if (!wanted.table.rules.contains(chain)) change.stale.push_back(chain);
  }
  for (const std::string& set : there.sets) {
    if (!set_named(set)) change.stale_sets.push_back(set);
  }
  for (const SetId set : kAllSets) {
    std::ranges::move(without(there.of(set), wanted.table.of(set)),
                      std::back_inserter(change.removed));
    std::ranges::move(without(wanted.table.of(set), there.of(set)),
                      std::back_inserter(change.added));
  }
  return change;
}

}  // namespace fairlead::nftables
