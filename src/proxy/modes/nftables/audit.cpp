#include "proxy/modes/nftables/audit.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "proxy/modes/nftables/snapshot.hpp"

namespace fairlead::nftables {
namespace {

class Report {
 public:
  Report(IpFamily family, std::size_t limit)
      : table_(family == IpFamily::V4 ? "ip fairlead" : "ip6 fairlead"), limit_(limit) {}
  bool empty() const { return lines_.empty(); }
  bool full() const { return lines_.size() >= limit_; }
  void add(std::string_view what) {
    if (!full()) lines_.push_back(fmt::format("table {}: {}", table_, what));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::string table_;
  std::size_t limit_;
  std::vector<std::string> lines_;
};

void compare_names(const std::set<std::string>& expected, const std::set<std::string>& present,
                   std::string_view kind, Report& report) {
  for (const std::string& name : expected) {
    if (!present.contains(name)) report.add(fmt::format("{} {} is missing", kind, name));
  }
  for (const std::string& name : present) {
    if (!expected.contains(name)) report.add(fmt::format("{} {} is not ours", kind, name));
  }
}

using RulesByChain = std::map<std::string, std::vector<std::string>>;

std::set<std::string> names_of(const RulesByChain& rules) {
  std::set<std::string> names;
  for (const auto& [chain, of_chain] : rules) names.insert(chain);
  return names;
}

void compare_rules(const RulesByChain& expected, const RulesByChain& actual, Report& report) {
  for (const auto& [chain, rules] : expected) {
    const auto it = actual.find(chain);
    const std::vector<std::string> none;
    const auto& present = it == actual.end() ? none : it->second;
    if (present.size() != rules.size()) {
      report.add(
          fmt::format("chain {} has {} rules instead of {}", chain, present.size(), rules.size()));
      continue;
    }
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if (rules[i] == present[i]) continue;
      report.add(
          fmt::format("chain {}: rule {} is {} instead of {}", chain, i + 1, present[i], rules[i]));
    }
  }
}

void compare_elements(SetId set, IpFamily family, const Snapshot& expected, const Snapshot& actual,
                      Report& report) {
  const auto say = [&](std::vector<Element> elements, std::string_view what) {
    for (Element& element : elements) {
      if (report.full()) return;
      element.comment.clear();
      report.add(
          fmt::format("{}: element {} {}", schema(set).name, to_text(element, family), what));
    }
  };
  say(without(expected.of(set), actual.of(set)), "is missing");
  say(without(actual.of(set), expected.of(set)), "should not be there");
}

void compare(const Snapshot& expected, const Snapshot& actual, IpFamily family, Report& report) {
  compare_names({expected.sets.begin(), expected.sets.end()},
                {actual.sets.begin(), actual.sets.end()}, "set", report);
  compare_names(names_of(expected.rules), names_of(actual.rules), "chain", report);
  compare_rules(expected.rules, actual.rules, report);
  for (const SetId set : kAllSets) {
    const bool present = std::ranges::find(actual.sets, schema(set).name) != actual.sets.end();
    if (present) compare_elements(set, family, expected, actual, report);
  }
}

Expectation expectation(Kernel& kernel, Renderer& renderer, const plan::Plan& plan) {
  Expectation wanted(kernel);
  renderer.expected(plan, wanted);
  wanted.sort();
  return wanted;
}

// Forgets chains that only a number leads to which `wanted` does not have, and those numbers.
void forgive_unused(Snapshot& table, const Snapshot& wanted) {
  std::erase_if(table.elements.at(static_cast<std::size_t>(SetId::Shapes)),
                [&](const Element& way) {
                  const auto* verdict = std::get_if<Verdict>(&way.data);
                  if (verdict == nullptr || wanted.rules.contains(verdict->chain)) return false;
                  return table.rules.erase(verdict->chain) > 0;
                });
}

// Compares what is quickly read: the names of chains, and rules.
Result<void> audit_rules(Kernel& kernel, const Renderer& renderer, Report& report) {
  const IpFamily family = renderer.family();
  FAIRLEAD_TRY(listing, kernel.list(family));
  if (!listing) return {};
  FAIRLEAD_TRY(rules, kernel.list_rules(family));
  for (const std::string& chain : listing->chains) rules[chain];
  RulesByChain expected;
  for (const Chain& chain : renderer.chains()) {
    std::vector<std::string>& texts = expected[chain.name];
    for (const Rule& rule : chain.rules) texts.push_back(kernel.describe(rule, family));
  }
  compare_names(names_of(expected), names_of(rules), "chain", report);
  compare_rules(expected, rules, report);
  return {};
}

// Nothing when there is no table, or one of another layout.
Result<std::optional<Snapshot>> readable(Kernel& kernel, IpFamily family, Report& report) {
  FAIRLEAD_TRY(listing, kernel.list(family));
  if (!listing) {
    report.add("does not exist");
    return std::optional<Snapshot>{};
  }
  if (listing->comment != kTableComment) {
    report.add(
        fmt::format("its comment is \"{}\" instead of \"{}\"", listing->comment, kTableComment));
    return std::optional<Snapshot>{};
  }
  FAIRLEAD_TRY(table, read_table(kernel, family, *listing));
  return std::optional(std::move(table));
}

}  // namespace

Result<std::vector<std::string>> audit(Kernel& kernel, Renderer& renderer, const plan::Plan& plan,
                                       std::size_t limit) {
  Report report(renderer.family(), limit);
  FAIRLEAD_CHECK(audit_rules(kernel, renderer, report));
  if (!report.empty()) return report.take();
  FAIRLEAD_TRY(actual, readable(kernel, renderer.family(), report));
  if (!actual) return report.take();
  const Expectation wanted = expectation(kernel, renderer, plan);
  compare(wanted.table, *actual, renderer.family(), report);
  return report.take();
}

Result<std::vector<std::string>> audit_of_another(Kernel& kernel, IpFamily family,
                                                  const plan::Plan& plan, std::size_t limit) {
  Report report(family, limit);
  FAIRLEAD_TRY(actual, readable(kernel, family, report));
  if (!actual) return report.take();
  Renderer renderer(family);
  renderer.adopt(plan, *actual);
  const Expectation wanted = expectation(kernel, renderer, plan);
  forgive_unused(*actual, wanted.table);
  compare(wanted.table, *actual, family, report);
  return report.take();
}

}  // namespace fairlead::nftables
