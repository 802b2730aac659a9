// From the Plan to operations on one family's table. A Renderer remembers only what neither the
// Plan nor the delta can say: how many users each shared thing has (chains by shape, cluster IPs,
// hairpin pairs) and which services' backends sit in other slots than the plan's order gives them.
// No per-service rules are kept; a change renders the service before and after and sends the
// difference.
//
// Invariant: after full(p0) and any sequence of deltas that leads to p, the table equals full(p) up
// to the order of slots within a pool and to chains nobody uses any more. A backend keeps its
// slot while it stays, except that the last ones move into gaps, so that a change of one backend
// costs at most three slot elements whatever the size of the pool. Owner: NftablesMode. After
// operations were rendered but not applied, only full() is valid again.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/modes/nftables/ruleset.hpp"
#include "proxy/modes/nftables/shapes.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::nftables {

// Backends by slot.
struct Layout {
  plan::Pool cluster;
  plan::Pool local;
  bool operator==(const Layout&) const = default;
};
// `pool` arranged so that as many backends as possible keep the place they have in `before`.
plan::Pool keep_places(const plan::Pool& before, const plan::Pool& pool);

// What clients of the service port can be learnt to stick to; empty without affinity.
std::set<std::uint32_t> affinity_tokens(const plan::ServicePlan& service);

// What one service port asks for.
struct ServiceRules {
  std::vector<Element> own;  // sorted, unique by set and key; those of Services and NodePorts name
                             // the chain that in the table is a number
  std::vector<Element> shared;  // other services may want the same: counted
  std::vector<Shape> shapes;    // one for each frontend that leads somewhere: counted
};
ServiceRules render_service(const plan::ServicePlan& service, const Layout& layout,
                            const plan::NodePlan& node);

class Renderer {
 public:
  explicit Renderer(IpFamily family) : family_(family) {}

  // The whole table, from nothing. `plan.nodes` has our family. Forgets everything before.
  void full(const plan::Plan& plan, OperationSink& out);

  // The table as it should be now, without changing anything: for audits.
  void expected(const plan::Plan& plan, OperationSink& out);

  // From the plan last rendered to its successor, in steps, each to be committed before the next.
  // Node settings must not have changed.
  //
  // Why not all at once: a transaction is one moment, the way of a packet through the rules is not.
  // Every lookup of its evaluation sees the sets of its own time, while the rules stay those of the
  // beginning. A packet that was sent to a chain just before a commit must still find there what it
  // was sent for, and one that is sent to a new chain just after it must find rules in it. So new
  // chains and restrictions come first, then the elements that lead somewhere, and what nothing
  // leads to any more goes last. Most changes are one step.
  std::vector<std::vector<Operation>> delta(const plan::PlanDelta& delta);

  // Names of the chains that the table has now, fixed ones included.
  std::set<std::string> chain_names() const;

  IpFamily family() const { return family_; }

 private:
  struct KeyHash {
    std::size_t operator()(const std::pair<SetId, Key>& key) const noexcept;
  };
  using SharedCounts = std::unordered_map<std::pair<SetId, Key>, std::uint32_t, KeyHash>;
  struct CountedChain {
    std::uint32_t users = 0;
    Shape shape;  // one of those that need it
  };
  struct Pending;  // one delta under way

  Layout layout_of(const plan::ServicePlan& service) const;
  void remember(const plan::ServicePlan& service, Layout layout);
  void count(const plan::ServicePlan& service);
  ServiceRules rules_of(const plan::ServicePlan& service, const Layout& layout);
  std::uint32_t number_of(const std::string& chain);
  void forget_number(const std::string& chain);
  Element way_to(const std::string& chain);
  void emit(const plan::Plan& plan, OperationSink& out);
  void change(const plan::ServiceChange& change, Pending& pending);
  std::vector<std::vector<Operation>> finish(Pending pending);
  void settle_shared(Pending& pending);
  void settle_chains(Pending& pending, std::vector<Chain>& fresh, std::vector<std::string>& stale);

  IpFamily family_;
  plan::NodePlan node_;
  std::map<std::string, CountedChain> chains_;
  std::map<std::string, std::uint32_t> numbers_;  // of the chains of shapes
  std::set<std::uint32_t> taken_;                 // those numbers
  SharedCounts shared_;
  std::map<plan::PlanKey, Layout>
      moved_;  // only services whose layout differs from the plan's order
};

}  // namespace fairlead::nftables
