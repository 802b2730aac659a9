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
#include "proxy/modes/nftables/snapshot.hpp"
#include "proxy/modes/nftables/steps.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::nftables {

// Backends by slot.
struct Layout {
  plan::Pool cluster;
  plan::Pool local;
  bool operator==(const Layout&) const = default;
};
// Where `table` has the backends of a service, also those that it should have no more. Only their
// addresses and ports are known.
Layout layout_in(const Snapshot& table, const plan::ServicePlan& service);

// `pool` arranged so that as many backends as possible keep the place they have in `before`.
plan::Pool keep_places(const plan::Pool& before, const plan::Pool& pool);

// What clients of the service port can be learnt to stick to; empty without affinity.
std::set<std::uint32_t> affinity_tokens(const plan::ServicePlan& service);

// The API server and the cluster's DNS: on a node that has nothing yet they go first.
bool is_urgent(const plan::ServicePlan& service);

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
  // The same in two parts: all that is not of one service, with the urgent services; the others.
  void first(const plan::Plan& plan, OperationSink& out);
  void rest(const plan::Plan& plan, OperationSink& out);

  // Takes over a table that a renderer has made for some plan: from now on expected() differs from
  // it in no more than the plans do. Forgets everything before.
  void adopt(const plan::Plan& plan, const Snapshot& table);

  // The table as it should be now, without changing anything: for audits.
  void expected(const plan::Plan& plan, OperationSink& out);

  // From the plan last rendered to its successor, in steps (steps.hpp). Node settings must not have
  // changed.
  std::vector<std::vector<Operation>> delta(const plan::PlanDelta& delta);

  // Those the table has now, what is led to before what leads there.
  std::vector<Chain> chains() const;

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
  void start(const plan::Plan& plan);
  void emit_frame(OperationSink& out);
  void emit_services(const plan::Plan& plan, bool urgent, OperationSink& out);
  void change(const plan::ServiceChange& change, Pending& pending);
  void settle_shared(Pending& pending);
  void settle_chains(Pending& pending);

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
