#include "proxy/modes/iptables/saved_rules.hpp"

#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

Chains ours_of(std::string_view table, const SavedRules& saved) {
  Chains out;
  const auto found = saved.tables.find(table);
  if (found == saved.tables.end()) return out;
  for (const auto& [chain, rules] : found->second) {
    if (is_ours(table, chain)) out.emplace(chain, rules);
  }
  return out;
}

std::string_view take_word(std::string_view& text) {
  const auto end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

}  // namespace

Result<SavedRules> SavedRules::parse(std::string_view text) {
  SavedRules out;
  Chains* table = nullptr;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#') || line == "COMMIT") continue;
    if (line.starts_with('*')) {
      table = &out.tables[std::string(line.substr(1))];
      continue;
    }
    std::string_view rest = line;
    const std::string_view command = take_word(rest);
    if (table != nullptr && command.starts_with(':')) {
      table->try_emplace(std::string(command.substr(1)));
    } else if (table != nullptr && command == "-A") {
      const std::string chain(take_word(rest));
      (*table)[chain].emplace_back(rest);
    } else {
      return make_error(ErrorCode::Internal, "read what iptables-save printed: \"{}\"", line);
    }
  }
  return out;
}

const Rules* SavedRules::rules(std::string_view table, std::string_view chain) const {
  const auto chains = tables.find(table);
  if (chains == tables.end()) return nullptr;
  const auto found = chains->second.find(std::string(chain));
  return found == chains->second.end() ? nullptr : &found->second;
}

Ruleset SavedRules::ours() const {
  return {.filter = ours_of("filter", *this),
          .nat = ours_of("nat", *this),
          .mangle = ours_of("mangle", *this)};
}

}  // namespace fairlead::iptables
