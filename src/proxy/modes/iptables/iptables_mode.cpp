#include "proxy/modes/iptables/iptables_mode.hpp"

#include <algorithm>
#include <array>
#include <fstream>

#include "base/log.hpp"

#include "proxy/modes/iptables/chain_names.hpp"
#include "proxy/modes/iptables/hooks.hpp"
#include "proxy/modes/iptables/leftovers.hpp"

namespace fairlead::iptables {
namespace {

constexpr std::array kFamilies = {IpFamily::V4, IpFamily::V6};

// Where conntrack is told to take packets it deems out of window, dropping INVALID ones would undo
// that.
bool conntrack_is_liberal() {
  int value = 0;
  std::ifstream("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal") >> value;
  return value != 0;
}

// Adds the chains of `held` that `wanted` does not have.
void keep_held(const Chains& held, ChainsView& wanted) {
  ChainsView out;
  const ChainsView more = view(held);
  std::ranges::set_union(wanted, more, std::back_inserter(out), {}, &ChainsView::value_type::first,
                         &ChainsView::value_type::first);
  wanted = std::move(out);
}
void keep_held(const Ruleset& held, RulesetView& wanted) {
  keep_held(held.filter, wanted.filter);
  keep_held(held.nat, wanted.nat);
  keep_held(held.mangle, wanted.mangle);
}

class Findings {
 public:
  Findings(IpFamily family, std::size_t limit, std::vector<std::string>& out)
      : family_(family), limit_(limit), out_(out) {}

  void compare(std::string_view table, const Chains& wanted, const Chains& found) {
    for (const auto& [chain, rules] : wanted) {
      const auto there = found.find(chain);
      if (there == found.end()) {
        add("{} {}: chain {} is missing", table, chain);
      } else if (there->second != rules) {
        compare_rules(table, chain, rules, there->second);
      }
    }
    for (const auto& [chain, rules] : found) {
      // Empty ones may be there because others' rules lead to them.
      if (!wanted.contains(chain) && !rules.empty()) {
        add("{} {}: chain {} is not ours to have", table, chain);
      }
    }
  }

  void commands_missing(std::string_view table, const Rules& commands) {
    for (const std::string& command : commands) {
      if (out_.size() < limit_) {
        out_.push_back(fmt::format("{} {}: not done: {}", to_string(family_), table, command));
      }
    }
  }

 private:
  void compare_rules(std::string_view table, const std::string& chain, const Rules& wanted,
                     const Rules& found) {
    if (out_.size() >= limit_) return;
    std::size_t at = 0;
    while (at < wanted.size() && at < found.size() && wanted[at] == found[at]) ++at;
    out_.push_back(fmt::format(
        "{} {}: chain {}: rule {} is \"{}\", should be \"{}\"", to_string(family_), table, chain,
        at + 1, at < found.size() ? found[at] : "", at < wanted.size() ? wanted[at] : ""));
  }
  void add(fmt::format_string<std::string_view, std::string_view&, const std::string&> format,
           std::string_view table, const std::string& chain) {
    if (out_.size() >= limit_) return;
    out_.push_back(fmt::format(format, to_string(family_), table, chain));
  }

  IpFamily family_;
  std::size_t limit_;
  std::vector<std::string>& out_;
};

}  // namespace

Result<std::unique_ptr<plan::Mode>> create(const Config& config) {
  Variant variant = Variant::Nft;
  if (config.variant) {
    variant = *config.variant;
  } else {
    FAIRLEAD_TRY(detected, detect_variant());
    variant = detected;
  }
  FAIRLEAD_TRY(tools, open_tools(variant));
  FAIRLEAD_TRY(watch, variant == Variant::Nft ? watch_notifications()
                                              : watch_canary(config.canary_interval));
  return std::unique_ptr<plan::Mode>(std::make_unique<IptablesMode>(
      std::move(tools), std::move(watch),
      IptablesMode::Options{.localhost_node_ports = config.localhost_node_ports,
                            .drop_invalid = !conntrack_is_liberal(),
                            .large_cluster_above = config.large_cluster_above}));
}

Result<void> attempt(Tools& tools) {
  const std::string text = fmt::format(
      "*nat\n:{0} - [0:0]\n"
      "-A {0} -d 192.0.2.1/32 -p tcp -m tcp --dport 1 -m statistic --mode random "
      "--probability 0.5 -j DNAT --to-destination 192.0.2.2:1\n"
      "-A {0} -m addrtype --dst-type LOCAL -j MASQUERADE\n"
      "COMMIT\n"
      "*filter\n:{0} - [0:0]\n-A {0} -m conntrack --ctstate NEW -j REJECT\nCOMMIT\n",
      kProbeChain);
  auto done = tools.restore(IpFamily::V4, text);
  for (const std::string_view table : {"nat", "filter"}) {
    // Where the first part failed there may be none.
    (void)tools.restore(IpFamily::V4,
                        fmt::format("*{0}\n-F {1}\n-X {1}\nCOMMIT\n", table, kProbeChain));
  }
  return done;
}

Result<SavedRules> IptablesMode::read(IpFamily family) {
  FAIRLEAD_TRY(text, tools_->save(family));
  return SavedRules::parse(text);
}

Result<plan::ApplyStats> IptablesMode::write(IpFamily family, const RestoreText& text) {
  if (text.text.empty()) return plan::ApplyStats{};
  const auto restore = [&]() -> Result<void> { return tools_->restore(family, text.text); };
  FAIRLEAD_CHECK(watch_ ? watch_->ignoring(restore) : restore());
  written_[family] = text.rules;
  return plan::ApplyStats{
      .transactions = text.commits, .messages = text.lines, .bytes = text.text.size()};
}

Result<plan::ApplyStats> IptablesMode::program(IpFamily family, const plan::Plan& plan) {
  FAIRLEAD_TRY(saved, read(family));
  const auto wanted_hooks = hooks(family, options_.localhost_node_ports);
  Renderer renderer(family, {.localhost_node_ports = options_.localhost_node_ports,
                             .drop_invalid = options_.drop_invalid,
                             .compares_addresses = compares_addresses_,
                             .large_above = options_.large_cluster_above});
  renderer.full(plan);
  const Ruleset before = saved.ours();
  const Ruleset held = held_by_others(wanted_hooks, saved);
  ChangeView change{.before = view(before), .filter_between = {}, .after = renderer.view()};
  change.filter_between = change.before.filter;
  keep_held(held, change.after);
  FAIRLEAD_TRY(stats, write(family, restore_text(change, missing_hooks(wanted_hooks, saved))));
  renderers_.insert_or_assign(family, std::move(renderer));
  return stats;
}

Result<plan::ApplyStats> IptablesMode::remove(IpFamily family) {
  renderers_.erase(family);
  FAIRLEAD_TRY(saved, read(family));
  return write(family, removal(saved, InUse::Ipvs));
}

Result<plan::ApplyStats> IptablesMode::apply_full(const plan::Plan& plan) {
  in_step_ = false;
  plan::ApplyStats stats;
  for (const IpFamily family : kFamilies) {
    if (!plan.nodes.contains(family)) {
      // A machine without this family has nothing of ours in it.
      if (auto done = remove(family)) stats += *done;
      continue;
    }
    auto done = program(family, plan);
    if (!done && compares_addresses_ && refuses_to_compare_addresses(family)) {
      log::warning("The kernel can't compare addresses (xt_bpf): every endpoint gets a chain",
                   {{"services", plan.services.size()}});
      compares_addresses_ = false;
      done = program(family, plan);
    }
    if (!done) return done.error().with_context(fmt::format("program {}", to_string(family)));
    stats += *done;
  }
  in_step_ = true;
  say_affinity_limit(plan);
  return stats;
}

// Which of the tools' errors that is can't be told from their exit codes: a rule that compares is
// refused, and the same without it is not.
bool IptablesMode::refuses_to_compare_addresses(IpFamily family) {
  const auto refused = [&](const std::string& rule) {
    const std::string text =
        fmt::format("*mangle\n:{0} - [0:0]\n-A {0} {1}\nCOMMIT\n*mangle\n-F {0}\n-X {0}\nCOMMIT\n",
                    kProbeChain, rule);
    return !write(family, {.text = text});
  };
  return refused(equal_addresses(family)) && !refused("");
}

void IptablesMode::say_affinity_limit(const plan::Plan& plan) {
  const bool sticky = std::ranges::any_of(
      plan.services, [](const auto& service) { return service.second->affinity.has_value(); });
  if (affinity_limit_said_ || !sticky) return;
  int limit = 0;
  if (!(std::ifstream("/sys/module/xt_recent/parameters/ip_list_tot") >> limit)) return;
  affinity_limit_said_ = true;
  log::info(
      "Session affinity remembers so many clients of an endpoint; beyond, the oldest are "
      "balanced anew (module parameter xt_recent.ip_list_tot)",
      {{"clients", limit}});
}

Result<plan::ApplyStats> IptablesMode::apply(const plan::Plan& plan, const plan::PlanDelta& delta) {
  if (!in_step_ || !delta.nodes_changed.empty()) return apply_full(plan);
  in_step_ = false;
  std::map<IpFamily, Change> changes;
  for (auto& [family, renderer] : renderers_) {
    auto change = renderer.change(delta);
    if (!change) return apply_full(plan);
    changes.emplace(family, *std::move(change));
  }
  plan::ApplyStats stats;
  for (const auto& [family, change] : changes) {
    auto done = write(family, restore_text(change, {}));
    if (!done) return done.error().with_context(fmt::format("program {}", to_string(family)));
    stats += *done;
  }
  in_step_ = true;
  return stats;
}

std::map<IpFamily, Renderer> IptablesMode::rendered(const plan::Plan& plan, bool compares_addresses,
                                                    std::size_t large_above) const {
  std::map<IpFamily, Renderer> out;
  for (const auto& [family, node] : plan.nodes) {
    Renderer renderer(family, {.localhost_node_ports = options_.localhost_node_ports,
                               .drop_invalid = options_.drop_invalid,
                               .compares_addresses = compares_addresses,
                               .large_above = large_above});
    renderer.full(plan);
    out.emplace(family, std::move(renderer));
  }
  return out;
}

Result<std::vector<std::string>> IptablesMode::differences(
    const std::map<IpFamily, Renderer>& renderers, std::size_t limit) {
  std::vector<std::string> out;
  for (const auto& [family, renderer] : renderers) {
    FAIRLEAD_TRY(saved, read(family));
    const Ruleset found = saved.ours();
    const Ruleset wanted = renderer.rules();
    const Commands missing = missing_hooks(hooks(family, options_.localhost_node_ports), saved);
    Findings findings(family, limit, out);
    findings.commands_missing("nat", missing.nat);
    findings.commands_missing("filter", missing.filter);
    findings.compare("mangle", wanted.mangle, found.mangle);
    findings.compare("nat", wanted.nat, found.nat);
    findings.compare("filter", wanted.filter, found.filter);
  }
  return out;
}

Result<std::vector<std::string>> IptablesMode::verify(const plan::Plan& plan, std::size_t limit) {
  if (in_step_) return differences(renderers_, limit);
  // Whoever programmed it may have seen a larger cluster before, and may have found that the kernel
  // refuses the shape of large ones.
  std::optional<std::vector<std::string>> least;
  const std::size_t limit_of_size = options_.large_cluster_above;
  for (const auto& [compares, large_above] :
       {std::pair{compares_addresses_, limit_of_size},
        std::pair{compares_addresses_, limit_of_size / 2}, std::pair{false, limit_of_size}}) {
    FAIRLEAD_TRY(found, differences(rendered(plan, compares, large_above), limit));
    if (!least || found.size() < least->size()) least = std::move(found);
    if (least->empty()) break;
  }
  return *std::move(least);
}

Result<bool> IptablesMode::tampered() {
  if (!watch_) return false;
  std::vector<IpFamily> families;
  for (const auto& [family, renderer] : renderers_) families.push_back(family);
  return watch_->take(*tools_, families);
}

std::vector<plan::RuleCount> IptablesMode::rule_counts() const {
  std::vector<plan::RuleCount> out;
  for (const auto& [family, renderer] : renderers_) {
    const RuleTotals total = renderer.totals();
    const auto written = written_.find(family);
    const RuleTotals last = written == written_.end() ? RuleTotals{} : written->second;
    out.push_back(
        {.family = family, .table = "filter", .total = total.filter, .last = last.filter});
    out.push_back({.family = family, .table = "nat", .total = total.nat, .last = last.nat});
  }
  return out;
}

Result<void> IptablesMode::cleanup() {
  in_step_ = false;
  for (const IpFamily family : kFamilies) {
    auto done = remove(family);
    if (!done && done.error().code != ErrorCode::NotFound) return std::move(done).error();
  }
  return {};
}

}  // namespace fairlead::iptables
