#include "proxy/modes/userspace/rule_entrance.hpp"

#include <algorithm>
#include <set>

#include "proxy/modes/userspace/answer_routes.hpp"

namespace fairlead::userspace {
namespace {

Result<std::string> run_nft(std::vector<std::string> arguments, std::string_view input = {}) {
  arguments.insert(arguments.begin(), "nft");
  return run_tool(std::move(arguments), input);
}

std::string element_lines(IpFamily family, const std::map<Element, std::size_t>& wanted) {
  std::set<Element> all;
  for (const auto& [element, count] : wanted) all.insert(element);
  return change_text(family, {}, all);
}

Result<std::string> list_skeleton(IpFamily family) {
  return run_nft({"-t", "list", "table", std::string(nft_family(family)), std::string(kTable)});
}

// The elements of a listing: between "elements = {" and "}" of each set or map.
std::set<std::string> listed_elements(std::string_view listing) {
  std::set<std::string> out;
  std::string set;
  bool inside = false;
  std::string current;
  const auto flush = [&] {
    const auto first = current.find_first_not_of(" \t\n");
    if (first != std::string::npos) {
      const auto last = current.find_last_not_of(" \t\n");
      out.insert(set + ": " + current.substr(first, last - first + 1));
    }
    current.clear();
  };
  while (!listing.empty()) {
    if (!inside) {
      const auto end = listing.find('\n');
      std::string_view line = listing.substr(0, end);
      const auto at = line.find("elements = {");
      if (at != std::string_view::npos) {
        inside = true;
        listing.remove_prefix(at + std::string_view("elements = {").size());
        continue;
      }
      line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
      for (const std::string_view kind : {"map ", "set "}) {
        if (line.starts_with(kind)) set = line.substr(4, line.find(' ', 4) - 4);
      }
      listing.remove_prefix(end == std::string_view::npos ? listing.size() : end + 1);
      continue;
    }
    const char c = listing.front();
    listing.remove_prefix(1);
    if (c == ',' || c == '}') {
      flush();
      inside = c == ',';
    } else {
      current += c;
    }
  }
  return out;
}

}  // namespace

Result<void> RuleEntrance::try_it(bool transparent) {
  FAIRLEAD_CHECK(run_nft({"list", "tables"}));
  if (!transparent) return {};
  const auto tried = run_nft({"-c", "-f", "-"},
                             "table ip fairlead-try {\n  chain c {\n"
                             "    type filter hook prerouting priority mangle\n"
                             "    socket transparent 1 accept\n  }\n}\n");
  if (tried) return {};
  return make_error(ErrorCode::Unsupported,
                    "clients' addresses cannot be kept (--userspace-transparent): the kernel does "
                    "not take rules about sockets (module nft_socket): {}",
                    tried.error().message);
}

Result<plan::ApplyStats> RuleEntrance::program(const plan::Plan& plan) {
  programmed_.clear();
  tables_.clear();
  for (const auto& [key, service] : plan.services) {
    auto elements = elements_of(*service, ports_);
    for (const Element& element : elements) ++tables_[key.family].wanted[element];
    programmed_.emplace(key, std::move(elements));
  }
  if (transparent_) FAIRLEAD_CHECK(make_answer_routes());
  plan::ApplyStats stats;
  std::string text;
  for (const auto& [family, node] : plan.nodes) {
    const auto& wanted = tables_[family].wanted;
    text +=
        table_text(family, node, ports_.tcp(family), transparent_) + element_lines(family, wanted);
    stats.elements += wanted.size();
  }
  FAIRLEAD_CHECK(run_nft({"-f", "-"}, text));
  for (auto& [family, table] : tables_) {
    FAIRLEAD_TRY(skeleton, list_skeleton(family));
    table.skeleton = std::move(skeleton);
  }
  stats.transactions = 1;
  stats.messages = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
  stats.bytes = text.size();
  return stats;
}

Result<plan::ApplyStats> RuleEntrance::change(const plan::PlanDelta& delta) {
  std::map<IpFamily, Wanted> before;  // of the elements concerned
  for (const plan::ServiceChange& change : delta.services) {
    const plan::PlanKey& key = change.after ? change.after->key : change.before->key;
    Wanted& wanted = tables_[key.family].wanted;
    auto now = change.after ? elements_of(*change.after, ports_) : std::vector<Element>{};
    const auto note = [&](const Element& element) {
      const auto found = wanted.find(element);
      before[key.family].try_emplace(element, found == wanted.end() ? 0 : found->second);
    };
    for (const Element& element : programmed_[key]) {
      note(element);
      --wanted[element];
    }
    for (const Element& element : now) {
      note(element);
      ++wanted[element];
    }
    programmed_[key] = std::move(now);
    if (!change.after) programmed_.erase(key);
  }
  plan::ApplyStats stats;
  std::string text;
  for (const auto& [family, elements] : before) {
    Wanted& wanted = tables_[family].wanted;
    std::set<Element> gone, added;
    for (const auto& [element, count] : elements) {
      const auto now = wanted.find(element);
      if (count > 0 && now->second == 0) gone.insert(element);
      if (count == 0 && now->second > 0) added.insert(element);
      if (now->second == 0) wanted.erase(now);
    }
    stats.elements += gone.size() + added.size();
    text += change_text(family, gone, added);
  }
  if (!text.empty()) {
    FAIRLEAD_CHECK(run_nft({"-f", "-"}, text));
    stats.transactions = 1;
    stats.messages = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
    stats.bytes = text.size();
  }
  return stats;
}

Result<std::vector<std::string>> RuleEntrance::verify(const plan::Plan& plan, std::size_t limit) {
  std::vector<std::string> out;
  const auto say = [&](std::string text) {
    if (out.size() < limit) out.push_back(std::move(text));
  };
  for (const auto& [family, node] : plan.nodes) {
    const Table& table = tables_[family];
    const std::string name = fmt::format("table {} {}", nft_family(family), kTable);
    const auto skeleton = list_skeleton(family);
    if (!skeleton && skeleton.error().code == ErrorCode::NotFound) {
      say(name + " is missing");
      continue;
    }
    if (!skeleton) return skeleton.error();
    if (*skeleton != table.skeleton) say(name + ": its chains are not as they were written");
    FAIRLEAD_TRY(listing,
                 run_nft({"list", "table", std::string(nft_family(family)), std::string(kTable)}));
    std::set<std::string> there = listed_elements(listing);
    for (const auto& [element, count] : table.wanted) {
      const std::string text = element.set + ": " + element.text();
      if (there.erase(text) == 0) say(fmt::format("{}: {} is missing", name, text));
    }
    for (const std::string& text : there) say(fmt::format("{}: {} is not ours", name, text));
  }
  if (transparent_) {
    FAIRLEAD_TRY(routed, has_answer_routes());
    if (!routed) say(fmt::format("routing table {} is not as it was written", kAnswerTable));
  }
  return out;
}

Result<void> RuleEntrance::remove() {
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    const auto done =
        run_nft({"delete", "table", std::string(nft_family(family)), std::string(kTable)});
    if (!done && done.error().code != ErrorCode::NotFound) return done.error();
  }
  FAIRLEAD_CHECK(remove_answer_routes());
  tables_.clear();
  programmed_.clear();
  return {};
}

}  // namespace fairlead::userspace
