#include "proxy/modes/nftables/steps.hpp"

#include <set>

namespace fairlead::nftables {
namespace {

class OperationList final : public OperationSink {
 public:
  void add(Operation operation) override { list.push_back(std::move(operation)); }
  std::vector<Operation> list;
};

enum class StepOf : std::uint8_t { Prepare, Switch, Clear };

// Elements of a change, told apart by the step they belong to.
class Sorter {
 public:
  Sorter(const std::vector<Element>& removed, const std::vector<Element>& added) {
    for (const Element& element : added) added_.insert({element.set, element.key});
    for (const Element& element : removed) {
      const bool stays = added_.contains({element.set, element.key});
      if (element.set == SetId::Firewalled && !stays) open_.push_back(element.key);
    }
  }

  // Ranges of sources may overlap those they replace, which the kernel refuses to hold both; while
  // their address stays restricted they are exchanged in one transaction.
  StepOf of_removed(const Element& element) const {
    if (element.set == SetId::AllowedSources) {
      const bool opens = std::ranges::any_of(
          open_, [&](const Key& frontend) { return element.key.begins_with(frontend); });
      return opens ? StepOf::Clear : StepOf::Prepare;
    }
    return added_.contains({element.set, element.key}) ? of_added(element) : StepOf::Clear;
  }

  static StepOf of_added(const Element& element) {
    constexpr std::array kFirst = {SetId::Firewalled, SetId::AllowedSources, SetId::Shapes,
                                   SetId::NodePortAddresses};
    return std::ranges::find(kFirst, element.set) != kFirst.end() ? StepOf::Prepare
                                                                  : StepOf::Switch;
  }

 private:
  std::set<std::pair<SetId, Key>> added_;
  std::vector<Key> open_;  // addresses that are restricted no more
};

void emit_rules(const std::vector<Chain>& chains, IpFamily family, OperationSink& out) {
  for (const Chain& chain : chains) {
    for (const Rule& rule : chain.rules)
      out.add({family, AddRule{.chain = chain.name, .rule = rule}});
  }
}

}  // namespace

void emit_chains(const std::vector<Chain>& chains, IpFamily family, OperationSink& out) {
  for (const Chain& chain : chains)
    out.add({family, AddChain{{.name = chain.name, .hook = chain.hook}}});
  emit_rules(chains, family, out);
}

std::vector<std::vector<Operation>> in_steps(TableChange change, IpFamily family) {
  std::ranges::sort(change.removed);
  std::ranges::sort(change.added);
  std::array<OperationList, 3> steps;
  const auto step = [&](StepOf which) -> OperationList& {
    return steps.at(static_cast<std::size_t>(which));
  };
  const Sorter sorter(change.removed, change.added);
  OperationList& prepare = step(StepOf::Prepare);
  for (const Chain& chain : change.fresh)
    prepare.add({family, AddChain{{.name = chain.name, .hook = chain.hook}}});
  for (const Chain& chain : change.refilled) prepare.add({family, FlushRules{.chain = chain.name}});
  for (const auto* chains : {&change.fresh, &change.refilled}) emit_rules(*chains, family, prepare);
  for (Element& element : change.removed) {
    OperationList& to = step(sorter.of_removed(element));
    to.add({family, DeleteElement{std::move(element)}});
  }
  for (Element& element : change.added) {
    OperationList& to = step(Sorter::of_added(element));
    to.add({family, AddElement{std::move(element)}});
  }
  OperationList& clear = step(StepOf::Clear);
  for (const std::string& name : change.stale) clear.add({family, FlushRules{.chain = name}});
  for (const std::string& name : change.stale) clear.add({family, DeleteChain{.name = name}});
  for (const std::string& name : change.stale_sets) clear.add({family, DeleteSet{.name = name}});
  std::vector<std::vector<Operation>> out;
  for (OperationList& one : steps) {
    if (!one.list.empty()) out.push_back(std::move(one.list));
  }
  return out;
}

}  // namespace fairlead::nftables
