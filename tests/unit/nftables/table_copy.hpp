// A table in memory that takes operations as strictly as nf_tables does: nothing is added twice,
// nothing absent is deleted, nothing points at a chain that is not there. Whole values, comparable.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables::testing {

class TableCopy final : public OperationSink {
 public:
  struct Datum {
    Key key_end;
    std::variant<std::monostate, Key, Verdict> data;
    std::string comment;
    auto operator<=>(const Datum&) const = default;
  };
  using Elements = std::map<std::pair<SetId, Key>, Datum>;
  using Chains = std::map<std::string, std::vector<std::string>>;  // rules as text

  explicit TableCopy(IpFamily family) : family_(family) {}

  void add(Operation operation) override {
    if (operation.family != family_) return complain("another family's operation");
    std::visit(Overloaded{[](const AddTable&) {}, [](const AddSet&) {},
                          [&](const AddChain& o) {
                            if (!chains_.try_emplace(o.chain.name).second)
                              complain("chain twice: " + o.chain.name);
                          },
                          [&](const AddRule& o) { add_rule(o); },
                          [&](const FlushRules& o) { chains_[o.chain].clear(); },
                          [&](const DeleteChain& o) { delete_chain(o.name); },
                          [&](const AddElement& o) { add_element(o.element); },
                          [&](const DeleteElement& o) {
                            if (elements_.erase({o.element.set, o.element.key}) == 0)
                              complain("no such element: " + to_text(o.element, family_));
                          },
                          [&](const DeleteTable&) { complain("the table is deleted"); },
                          [&](const FlushElements&) { complain("a set is emptied"); },
                          [&](const DeleteSet& o) { complain("deletes set " + o.name); }},
               operation.action);
  }

  const Elements& elements() const { return elements_; }
  const Chains& chains() const { return chains_; }
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  void complain(std::string what) { complaints_.push_back(std::move(what)); }

  void add_rule(const AddRule& operation) {
    if (!chains_.contains(operation.chain)) complain("rule without a chain: " + operation.chain);
    for (const Statement& statement : operation.rule.statements) {
      const auto* verdict = std::get_if<Verdict>(&statement);
      if (verdict != nullptr) expect_chain(*verdict);
    }
    chains_[operation.chain].push_back(to_text(operation.rule, family_));
  }
  void expect_chain(const Verdict& verdict) {
    if (!verdict.chain.empty() && !chains_.contains(verdict.chain))
      complain("no such chain: " + verdict.chain);
  }
  void add_element(const Element& element) {
    if (const auto* verdict = std::get_if<Verdict>(&element.data)) expect_chain(*verdict);
    const Datum datum{.key_end = element.key_end, .data = element.data, .comment = element.comment};
    if (!elements_.try_emplace({element.set, element.key}, datum).second)
      complain("element twice: " + to_text(element, family_));
  }
  void delete_chain(const std::string& name) {
    if (!chains_.contains(name)) return complain("no such chain: " + name);
    if (!chains_.at(name).empty()) complain("chain with rules: " + name);
    for (const auto& [key, datum] : elements_) {
      const auto* verdict = std::get_if<Verdict>(&datum.data);
      if (verdict != nullptr && verdict->chain == name) complain("chain in use: " + name);
    }
    chains_.erase(name);
    for (const auto& [other, rules] : chains_) {
      for (const std::string& rule : rules) {
        if (rule.ends_with(" " + name) || rule == "goto " + name)
          complain("chain in use by a rule: " + name);
      }
    }
  }

  IpFamily family_;
  Elements elements_;
  Chains chains_;
  std::vector<std::string> complaints_;
};

}  // namespace fairlead::nftables::testing
