#include "proxy/modes/iptables/ruleset.hpp"

#include <fmt/format.h>

#include <iterator>
#include <string_view>
#include <utility>

namespace fairlead::iptables {
namespace {

class Writer {
 public:
  void table(std::string_view name, const Chains& before, const Chains& after,
             const Rules& commands) {
    const auto changed = changed_chains(before, after);
    const auto gone = gone_chains(before, after);
    if (changed.empty() && gone.empty() && commands.empty()) return;
    line("*{}", name);
    // Declaring a chain makes it or empties it. All come first: rules jump both ways.
    for (const auto* chain : changed) line(":{} - [0:0]", chain->first);
    for (const auto* chain : gone) line(":{} - [0:0]", chain->first);
    for (const auto* chain : changed) {
      if (name == "nat") out_.rules.nat += chain->second.size();
      if (name == "filter") out_.rules.filter += chain->second.size();
      for (const std::string& rule : chain->second) line("-A {} {}", chain->first, rule);
    }
    for (const std::string& command : commands) line("{}", command);
    for (const auto* chain : gone) line("-X {}", chain->first);
    line("COMMIT");
    ++out_.commits;
  }

  RestoreText take() { return std::move(out_); }

 private:
  using ChainList = std::vector<const Chains::value_type*>;

  static ChainList changed_chains(const Chains& before, const Chains& after) {
    ChainList out;
    for (const auto& chain : after) {
      const auto old = before.find(chain.first);
      if (old == before.end() || old->second != chain.second) out.push_back(&chain);
    }
    return out;
  }

  static ChainList gone_chains(const Chains& before, const Chains& after) {
    ChainList out;
    for (const auto& chain : before) {
      if (!after.contains(chain.first)) out.push_back(&chain);
    }
    return out;
  }

  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_.text), format, std::forward<Args>(args)...);
    out_.text.push_back('\n');
    ++out_.lines;
  }

  RestoreText out_;
};

}  // namespace

RestoreText restore_text(const Change& change, const Commands& commands) {
  Writer writer;
  writer.table("mangle", change.before.mangle, change.after.mangle, commands.mangle);
  writer.table("filter", change.before.filter, change.filter_between, {});
  writer.table("nat", change.before.nat, change.after.nat, commands.nat);
  writer.table("filter", change.filter_between, change.after.filter, commands.filter);
  return writer.take();
}

RestoreText difference(const Ruleset& before, const Ruleset& after) {
  return restore_text({.before = before, .filter_between = before.filter, .after = after}, {});
}

}  // namespace fairlead::iptables
