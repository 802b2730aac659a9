// The iptables mode: kube-proxy's chains and rules, written by iptables-restore of either variant.
// What others keep in the same tables is never touched, and a chain of ours that their rules lead
// to is never deleted.
//
// At start, after a failure and when somebody has changed our rules, the kernel's rules are read
// once and only what differs is written; then changes are written without reading anything.
// Rendering is pure (render.hpp); the tools are behind tools.hpp.
//
// Owner: the proxy. Thread rule: as plan::Mode; create() must be called in the network namespace
// that is to be programmed. Sleeps and retries are the caller's.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "proxy/modes/iptables/render.hpp"
#include "proxy/modes/iptables/saved_rules.hpp"
#include "proxy/modes/iptables/tools.hpp"
#include "proxy/modes/iptables/watch.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::iptables {

struct Config {
  std::optional<Variant> variant;          // nothing: as detect_variant() says
  bool localhost_node_ports = true;        // also asks for sysctl net.ipv4.conf.all.route_localnet
  std::size_t large_cluster_above = 1000;  // endpoints (decision record 8)
  std::chrono::milliseconds canary_interval{30'000};  // where nothing tells of changes (legacy)
};

// Fails with Forbidden (capability missing) or NotFound (no tools), in words.
Result<std::unique_ptr<plan::Mode>> create(const Config& config);

// Writes and removes a chain with the kinds of rules that no cluster can do without. An Error says
// what the kernel, or the tool, refuses.
Result<void> attempt(Tools& tools);

class IptablesMode final : public plan::Mode {
 public:
  struct Options {
    bool localhost_node_ports = false;
    bool drop_invalid = true;
    std::size_t large_cluster_above = 1000;
  };
  // `watch` may be null: then nothing tells of foreign changes.
  IptablesMode(std::unique_ptr<Tools> tools, std::unique_ptr<Watch> watch, Options options)
      : tools_(std::move(tools)), watch_(std::move(watch)), options_(options) {}

  std::string_view name() const override { return "iptables"; }
  std::string_view variant() const override { return to_string(tools_->variant()); }
  Result<plan::ApplyStats> apply_full(const plan::Plan& plan) override;
  Result<plan::ApplyStats> apply(const plan::Plan& plan, const plan::PlanDelta& delta) override;
  Result<std::vector<std::string>> verify(const plan::Plan& plan, std::size_t limit) override;
  int tamper_fd() const override { return watch_ ? watch_->fd() : -1; }
  Result<bool> tampered() override;
  std::vector<plan::RuleCount> rule_counts() const override;
  Result<void> cleanup() override;

 private:
  Result<SavedRules> read(IpFamily family);
  Result<plan::ApplyStats> write(IpFamily family, const RestoreText& text);
  Result<plan::ApplyStats> program(IpFamily family, const plan::Plan& plan);
  Result<plan::ApplyStats> remove(IpFamily family);
  bool refuses_to_compare_addresses(IpFamily family);
  void say_affinity_limit(const plan::Plan& plan);
  std::map<IpFamily, Renderer> rendered(const plan::Plan& plan, bool compares_addresses,
                                        std::size_t large_above) const;
  Result<std::vector<std::string>> differences(const std::map<IpFamily, Renderer>& renderers,
                                               std::size_t limit);

  std::unique_ptr<Tools> tools_;
  std::unique_ptr<Watch> watch_;
  Options options_;
  bool compares_addresses_ = true;  // until the kernel refuses a rule that does
  std::map<IpFamily, Renderer> renderers_;
  std::map<IpFamily, RuleTotals> written_;  // by the last change of the family
  bool affinity_limit_said_ = false;
  bool in_step_ = false;  // the renderers describe what the kernel has
};

}  // namespace fairlead::iptables
