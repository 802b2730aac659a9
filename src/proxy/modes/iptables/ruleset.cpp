#include "proxy/modes/iptables/ruleset.hpp"

#include <initializer_list>

namespace fairlead::iptables {
namespace {

// Those of `chains` that `others` lacks, or has otherwise if `with_changed`. Both are sorted.
ChainsView missing(const ChainsView& chains, const ChainsView& others, bool with_changed) {
  ChainsView out;
  auto other = others.begin();
  for (const auto& chain : chains) {
    while (other != others.end() && other->first < chain.first) ++other;
    const bool there = other != others.end() && other->first == chain.first;
    if (!there || (with_changed && *other->second != *chain.second)) out.push_back(chain);
  }
  return out;
}

class Writer {
 public:
  void table(std::string_view name, const ChainsView& before, const ChainsView& after,
             const Rules& commands) {
    const ChainsView changed = missing(after, before, true);
    const ChainsView gone = missing(before, after, false);
    if (changed.empty() && gone.empty() && commands.empty()) return;
    make_room(changed);
    line({"*", name});
    // Declaring a chain makes it or empties it. All come first: rules jump both ways.
    for (const auto& [chain, rules] : changed) line({":", chain, " - [0:0]"});
    for (const auto& [chain, rules] : gone) line({":", chain, " - [0:0]"});
    for (const auto& [chain, rules] : changed) {
      if (name == "nat") out_.rules.nat += rules->size();
      if (name == "filter") out_.rules.filter += rules->size();
      for (const std::string& rule : *rules) line({"-A ", chain, " ", rule});
    }
    for (const std::string& command : commands) line({command});
    for (const auto& [chain, rules] : gone) line({"-X ", chain});
    line({"COMMIT"});
    ++out_.commits;
  }

  RestoreText take() { return std::move(out_); }

 private:
  // Growing step by step would copy what may be tens of megabytes.
  void make_room(const ChainsView& chains) {
    constexpr std::size_t kFrame = 16;  // "-A ", spaces, line ends
    std::size_t more = 0;
    for (const auto& [chain, rules] : chains) {
      more += chain.size() + kFrame;
      for (const std::string& rule : *rules) more += chain.size() + rule.size() + kFrame;
    }
    out_.text.reserve(out_.text.size() + more);
  }

  void line(std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) out_.text.append(part);
    out_.text.push_back('\n');
    ++out_.lines;
  }

  RestoreText out_;
};

}  // namespace

ChainsView view(const Chains& chains) {
  ChainsView out;
  out.reserve(chains.size());
  for (const auto& [name, rules] : chains) out.emplace_back(name, &rules);
  return out;
}

RulesetView view(const Ruleset& ruleset) {
  return {.filter = view(ruleset.filter), .nat = view(ruleset.nat), .mangle = view(ruleset.mangle)};
}

ChangeView view(const Change& change) {
  return {.before = view(change.before),
          .filter_between = view(change.filter_between),
          .after = view(change.after)};
}

RestoreText restore_text(const ChangeView& change, const Commands& commands) {
  Writer writer;
  writer.table("mangle", change.before.mangle, change.after.mangle, commands.mangle);
  writer.table("filter", change.before.filter, change.filter_between, {});
  writer.table("nat", change.before.nat, change.after.nat, commands.nat);
  writer.table("filter", change.filter_between, change.after.filter, commands.filter);
  return writer.take();
}

RestoreText restore_text(const Change& change, const Commands& commands) {
  return restore_text(view(change), commands);
}

RestoreText difference(const Ruleset& before, const Ruleset& after) {
  return restore_text({.before = before, .filter_between = before.filter, .after = after}, {});
}

}  // namespace fairlead::iptables
