// From a Plan to the rules of one family: pure, and the only place that knows kube-proxy's rules.
//
// The chains and rules are kube-proxy's (spec/kube-proxy 4), but for the trees that replace its
// long lists, the rules of large clusters and what is refused (decision record 8). A Renderer
// remembers what each service came to, so that a change renders the services it names and nothing
// else.
//
// Not here: the jumps from the built-in chains (hooks.hpp), running the tools.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

#include "proxy/modes/iptables/shared_rules.hpp"

namespace fairlead::iptables {

class Renderer {
 public:
  Renderer(IpFamily family, RenderOptions options) : family_(family), options_(options) {}

  // Renders everything and remembers it. Nothing if the plan does not program the family.
  void full(const plan::Plan& plan);

  // What `delta`, which changes services only, does to the rules. Nothing when the cluster has
  // become large, or small again: then all must be rendered.
  std::optional<Change> change(const plan::PlanDelta& delta);

  // Everything, as last rendered.
  Ruleset rules() const;
  RulesetView view() const;  // until the next call that renders
  RuleTotals totals() const;

 private:
  SharedContext context() const;
  Listings all_listings() const;
  Shape shape_for(std::size_t endpoints) const;

  IpFamily family_;
  RenderOptions options_;
  plan::NodePlan node_;
  Shape shape_ = Shape::Chains;
  std::size_t endpoints_ = 0;
  std::map<plan::PlanKey, ServiceRules> services_;
  Ruleset shared_;
};

// From scratch.
Ruleset render(const plan::Plan& plan, IpFamily family, const RenderOptions& options);

}  // namespace fairlead::iptables
