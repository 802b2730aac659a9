#include "lab/node_agent.hpp"

#include <algorithm>

namespace fairlead::lab {
namespace {

bool is_over(const kube::Pod& pod) {
  return pod.phase == kube::PodPhase::Succeeded || pod.phase == kube::PodPhase::Failed;
}

}  // namespace

NodeAgent::NodeAgent(io::Executor executor, NodeSurroundings node)
    : executor_(executor), node_(std::move(node)), tasks_(std::move(executor), "node agent") {}

void NodeAgent::pod_changed(const kube::Pod* old_pod, const kube::Pod* new_pod) {
  // A pod that was deleted by force and made again under its name is another pod.
  const bool other =
      old_pod != nullptr && new_pod != nullptr && old_pod->metadata.uid != new_pod->metadata.uid;
  if (old_pod != nullptr && (new_pod == nullptr || other)) {
    if (const auto gone = workers_.find(old_pod->metadata.uid); gone != workers_.end())
      gone->second->vanish();
  }
  if (new_pod == nullptr || new_pod->node_name != node_.layout.name) return;
  const std::string& uid = new_pod->metadata.uid;
  if (const auto known = workers_.find(uid); known != workers_.end()) {
    known->second->update(*new_pod);
  } else if (!is_over(*new_pod)) {
    workers_[uid] = std::make_unique<PodWorker>(executor_, &node_, *new_pod);
    tasks_.spawn(run(uid));
  }
}

io::Task<void> NodeAgent::run(std::string uid) {
  co_await workers_.at(uid)->run();
  workers_.erase(uid);
}

const PodWorker* NodeAgent::find(const kube::NamespacedName& pod) const {
  for (const auto& [uid, worker] : workers_) {
    const auto& metadata = worker->pod().metadata;
    if (metadata.name == pod.name && metadata.namespace_ == pod.namespace_) return worker.get();
  }
  return nullptr;
}

}  // namespace fairlead::lab
