#include "proxy/modes/nftables/audit.hpp"

#include <fmt/ranges.h>

#include <set>

namespace fairlead::nftables {
namespace {

// The expected table, taken from the renderer's operations.
class Expectation final : public OperationSink {
 public:
  explicit Expectation(const Kernel& kernel) : kernel_(kernel) {}

  void add(Operation operation) override {
    if (auto* o = std::get_if<AddElement>(&operation.action)) {
      o->element.comment.clear();
      elements[static_cast<std::size_t>(o->element.set)].push_back(std::move(o->element));
    } else if (auto* chain = std::get_if<AddChain>(&operation.action)) {
      chains[chain->chain.name];
    } else if (auto* rule = std::get_if<AddRule>(&operation.action)) {
      chains[rule->chain].push_back(kernel_.describe(rule->rule, operation.family));
    }
  }

  std::array<std::vector<Element>, kSetCount> elements;
  std::map<std::string, std::vector<std::string>> chains;

 private:
  const Kernel& kernel_;
};

class Report {
 public:
  Report(IpFamily family, std::size_t limit)
      : table_(family == IpFamily::V4 ? "ip fairlead" : "ip6 fairlead"), limit_(limit) {}
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

void compare_names(const std::set<std::string>& expected, const std::vector<std::string>& actual,
                   std::string_view kind, Report& report) {
  const std::set<std::string> present(actual.begin(), actual.end());
  for (const std::string& name : expected) {
    if (!present.contains(name)) report.add(fmt::format("{} {} is missing", kind, name));
  }
  for (const std::string& name : present) {
    if (!expected.contains(name)) report.add(fmt::format("{} {} is not ours", kind, name));
  }
}

void compare_rules(const std::map<std::string, std::vector<std::string>>& expected,
                   const std::map<std::string, std::vector<std::string>>& actual, Report& report) {
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

void compare_elements(SetId set, IpFamily family, std::vector<Element>& expected,
                      std::vector<Element>& actual, Report& report) {
  std::ranges::sort(expected);
  std::ranges::sort(actual);
  std::vector<Element> missing;
  std::vector<Element> surplus;
  std::ranges::set_difference(expected, actual, std::back_inserter(missing));
  std::ranges::set_difference(actual, expected, std::back_inserter(surplus));
  const auto say = [&](const std::vector<Element>& elements, std::string_view what) {
    for (const Element& element : elements) {
      if (report.full()) return;
      report.add(
          fmt::format("{}: element {} {}", schema(set).name, to_text(element, family), what));
    }
  };
  say(missing, "is missing");
  say(surplus, "should not be there");
}

}  // namespace

Result<std::vector<std::string>> audit(Kernel& kernel, Renderer& renderer, const plan::Plan& plan,
                                       std::size_t limit) {
  const IpFamily family = renderer.family();
  Report report(family, limit);
  FAIRLEAD_TRY(listing, kernel.list(family));
  if (!listing) {
    report.add("does not exist");
    return report.take();
  }
  Expectation expected(kernel);
  renderer.expected(plan, expected);
  std::set<std::string> sets;
  for (const SetId set : kAllSets) sets.emplace(schema(set).name);
  std::set<std::string> chains;
  for (const auto& [name, rules] : expected.chains) chains.insert(name);
  compare_names(sets, listing->sets, "set", report);
  compare_names(chains, listing->chains, "chain", report);
  FAIRLEAD_TRY(rules, kernel.list_rules(family));
  compare_rules(expected.chains, rules, report);
  for (const SetId set : kAllSets) {
    const bool present = std::ranges::find(listing->sets, schema(set).name) != listing->sets.end();
    if (report.full() || schema(set).learnt || !present) continue;
    std::vector<Element> actual;
    FAIRLEAD_CHECK(kernel.list_elements(
        family, set, [&](Element element) { actual.push_back(std::move(element)); }));
    compare_elements(set, family, expected.elements[static_cast<std::size_t>(set)], actual, report);
  }
  return report.take();
}

}  // namespace fairlead::nftables
