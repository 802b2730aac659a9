// From what the cluster says to what this node does: compile(model, node) -> Plan, a pure function,
// and Compiler, which keeps a Plan up to date by recompiling only what changed.
//
// Owner: the proxy's loop. Invariants: Compiler::plan() equals compile(model, node) after every
// update(), whatever the order of the changes before it; a delta's `before` pointers are the ones
// of the plan before the update, its `after` pointers those of the plan after it. Work is
// proportional to the dirty Services (Update::recompiled counts them), except for set_node(), which
// says when it must recompile all. Of two Services that claim one place, one goes without that
// frontend (claims.hpp). Not here: endpoint selection (select.hpp), kernel state (modes),
// scheduling (proxy/).
#pragma once

#include <map>
#include <vector>

#include "proxy/model/model.hpp"
#include "proxy/plan/claims.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

// What compiling needs to know of this node.
struct NodeContext {
  std::string name;
  std::string zone;
  // For "does a source range include me" only. One per family at most.
  std::map<IpFamily, IpAddress> addresses;
  std::map<IpFamily, NodePlan> families;  // the families to program
  bool operator==(const NodeContext&) const = default;
};

// A healthCheckNodePort and what to answer there.
struct HealthCheck {
  Port port{};
  std::map<IpFamily, std::size_t> local_endpoints;  // distinct ready addresses on this node
  bool operator==(const HealthCheck&) const = default;
};

// The endpoints a UDP flow may still use: serving ones, whatever the traffic policy.
using ServingSet = std::vector<SocketAddress>;  // sorted

struct CompiledService {
  std::vector<ServicePlanPtr> plans;  // ordered by key
  std::optional<HealthCheck> health_check;
  std::map<PlanKey, ServingSet> udp;  // one for each UDP service port
};

// `record` may be null (the Service is gone): everything empty.
CompiledService compile_service(const kube::NamespacedName& name,
                                const model::ServiceRecord* record, const model::Model& model,
                                const NodeContext& node);

// UDP flows that may lead nowhere now: those to one of `frontends` whose reply does not come from
// one of `serving`, and all to one of `former`, are to be deleted, so that the next datagram is
// balanced anew.
struct FlowReview {
  PlanKey key;
  std::vector<Frontend> frontends;  // that it has
  std::vector<Frontend> former;     // that it had, and has no more; another service port may by now
  ServingSet serving;
};

struct Conflict {
  PlanKey loser, winner;
  Frontend frontend;  // left out of the loser's plan
};

struct Update {
  PlanDelta delta;
  std::vector<FlowReview> flows;    // ordered by key
  std::vector<Conflict> conflicts;  // that this update brought
  std::size_t recompiled = 0;       // Services compiled
};

class Compiler {
 public:
  explicit Compiler(NodeContext node);

  // Compiles the model's dirty Services (and takes them from it).
  Update update(model::Model& model);

  // Takes effect with the next update(). A new name, zone or address marks all Services dirty;
  // settings that only modes read (detector, node port addresses, ...) recompile nothing.
  void set_node(NodeContext node, model::Model& model);

  const Plan& plan() const { return plan_; }
  const NodeContext& node() const { return node_; }
  const std::map<kube::NamespacedName, HealthCheck>& health_checks() const {
    return health_checks_;
  }

 private:
  struct Pass;  // one update() under way

  void recompile(const kube::NamespacedName& name, const model::Model& model, Pass& pass);
  void publish(const ServicePlanPtr& wanted, Pass& pass);
  void retract(const PlanKey& key, Pass& pass);
  ServicePlanPtr settle(const PlanKey& key, const ServicePlanPtr& wanted, Pass& pass);
  void review_flows(const kube::NamespacedName& name, std::map<PlanKey, ServingSet> serving,
                    Pass& pass);
  PlanDelta take_delta(const Pass& pass);

  NodeContext node_;
  Plan plan_;
  Claims claims_;
  std::map<kube::NamespacedName, HealthCheck> health_checks_;
  std::map<PlanKey, ServingSet> udp_;
};

// From scratch.
Plan compile(const model::Model& model, const NodeContext& node);

}  // namespace fairlead::plan
