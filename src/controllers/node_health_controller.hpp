// Tells the cluster of nodes that have fallen silent (node_health.hpp): their conditions become
// Unknown, their ready Pods not ready, so that no Service leads to them. What comes after that, a
// kubelet that is back sets itself. Taints and evictions are not done here: nothing in Fairlead
// schedules Pods. Owned by Controllers (controllers.hpp), which feeds the stores.
//
// Loop thread only. Invariants: nothing is written about a node before the API server itself has
// said that its Lease is as old as we think; about one silence everything is written once.
#pragma once

#include <set>
#include <string>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "controllers/node_health.hpp"
#include "controllers/sync_loop.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

struct NodeHealthPolicy {
  std::chrono::nanoseconds grace_period = std::chrono::seconds{50};
  std::chrono::nanoseconds period = std::chrono::seconds{5};  // between two looks
};

class NodeHealthController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    client::EventRecorder* events = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Node>* nodes = nullptr;
    client::Store<kube::Pod>* pods = nullptr;
    client::Store<kube::Lease>* leases = nullptr;  // of kNodeLeases
    NodeHealthPolicy policy;
  };
  // Subscribes to the stores.
  NodeHealthController(io::Executor executor, Config config);
  NodeHealthController(const NodeHealthController&) = delete;
  NodeHealthController& operator=(const NodeHealthController&) = delete;

  // Both spawned by the owner, until cancelled: one looks, the other writes.
  io::Task<void> watch();
  io::Task<void> write() { return loop_.run(); }

 private:
  bool stores_synced() const;
  void lease_changed(const kube::Lease* before, const kube::Lease* after);
  void heard(const kube::Lease& lease);
  void look();
  io::Task<Result<void>> sync(std::string node);
  io::Task<Result<bool>> is_alive(std::string node);
  io::Task<Result<void>> mark_node(kube::Node node);
  io::Task<Result<void>> mark_pods(std::string node);

  Config config_;
  NodeHealth health_;
  std::set<std::string> told_;  // silent nodes about which everything is written, or under way
  SyncLoop loop_;
};

}  // namespace fairlead::controllers
