// The agent of one virtual node: gives every pod that is assigned to the node a PodWorker. Owned by
// the supervisor, which feeds it every change of every pod; close() before destruction. Loop thread
// only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "lab/pod_worker.hpp"

namespace fairlead::lab {

class NodeAgent {
 public:
  NodeAgent(io::Executor executor, NodeSurroundings node);

  // As client::Store tells it.
  void pod_changed(const kube::Pod* old_pod, const kube::Pod* new_pod);
  io::Task<void> close() { return tasks_.close(); }

  const NodeLayout& layout() const { return node_.layout; }
  // nullptr: not here (any more).
  const PodWorker* find(const kube::NamespacedName& pod) const;

 private:
  io::Task<void> run(std::string uid);

  io::Executor executor_;
  NodeSurroundings node_;
  std::map<std::string, std::unique_ptr<PodWorker>> workers_;  // by pod uid
  io::TaskGroup tasks_;
};

}  // namespace fairlead::lab
