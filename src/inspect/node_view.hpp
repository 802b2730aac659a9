// What one node makes of a Snapshot: model, plan and what was decided on the way, by the same
// functions that the node proxy runs. Immutable once created; pure. Owner: one command. Not here:
// where the Snapshot came from, the kernel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "inspect/snapshot.hpp"
#include "proxy/config.hpp"
#include "proxy/model/model.hpp"
#include "proxy/node_context.hpp"
#include "proxy/plan/compile.hpp"
#include "proxy/plan/explain.hpp"

namespace fairlead::inspect {

struct NodeQuestion {
  proxy::Config config;  // valid
  // Name and families; interface addresses, which of another machine are those of its Node object
  // and whatever else is known.
  proxy::HostFacts host;
  bool is_this_machine = false;
};

class NodeView {
 public:
  static Result<std::unique_ptr<NodeView>> create(Snapshot snapshot, NodeQuestion node);

  const Snapshot& snapshot() const { return snapshot_; }
  const model::Model& model() const { return model_; }
  const plan::NodeContext& context() const { return context_; }
  const plan::Plan& plan() const { return plan_; }
  const std::vector<plan::Conflict>& conflicts() const { return conflicts_; }
  const std::string& mode() const { return mode_; }
  const plan::NodeAddresses& addresses() const { return addresses_; }
  // What the proxy would warn of.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  NodeView() = default;

  Snapshot snapshot_;
  model::Model model_;
  plan::NodeContext context_;
  plan::Plan plan_;
  std::vector<plan::Conflict> conflicts_;
  std::string mode_;
  plan::NodeAddresses addresses_;
  std::vector<std::string> warnings_;
};

// The name of the node that is meant: `wanted` if there is one, else the only Node of the
// snapshot, else `host_name`.
std::string choose_node(const Snapshot& snapshot, std::string_view wanted,
                        std::string_view host_name);

}  // namespace fairlead::inspect
