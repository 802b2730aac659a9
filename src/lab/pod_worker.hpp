// Runs one pod on one node: sandbox, processes, probes and status, as PodMachine decides.
//
// Owned by the NodeAgent; run() is spawned there and ends when the pod is gone. Loop thread only.
// The status is written when it changed, the latest one only; a failed write is repeated. When the
// pod object vanishes (deleted by force), everything ends at once and nothing more is written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "lab/container_command.hpp"
#include "lab/pod_machine.hpp"
#include "lab/pod_status.hpp"
#include "lab/sandbox.hpp"

namespace fairlead::lab {

// What all pods of a node share; outlives their workers.
struct NodeSurroundings {
  client::ApiClient* client = nullptr;
  NodeNetwork* network = nullptr;
  NodeLayout layout;
  AddressPool addresses;
  std::string log_directory;
  ContainerSurroundings containers;  // hostname is filled in per pod
  const Clock* clock = &Clock::real();
};

// LOGS/NAMESPACE_POD_CONTAINER.log
std::string log_path(const std::string& directory, const kube::NamespacedName& pod,
                     const std::string& container);

class PodWorker {
 public:
  PodWorker(const io::Executor& executor, NodeSurroundings* node, kube::Pod pod);

  io::Task<void> run();
  void update(const kube::Pod& pod);  // what counts of a newer version: its deletion
  void vanish();                      // the object is gone

  const kube::Pod& pod() const { return pod_; }
  const Sandbox* sandbox() const { return sandbox_ ? &*sandbox_ : nullptr; }

 private:
  bool set_up();
  bool perform_all(const std::vector<PodAction>& actions);  // true: the pod is to be removed
  void start(ContainerIndex container);
  Result<void> spawn(ContainerIndex container);
  io::Task<void> watch(ContainerIndex container);
  io::Task<void> probe(RunProbe asked);
  io::Task<Result<void>> run_probe(ContainerIndex container);
  io::Task<void> publish();
  io::Task<void> remove();
  Result<io::Command> command_for(ContainerIndex container) const;
  Instant now() const { return Instant::of(*node_->clock); }
  kube::NamespacedName key() const;
  std::string hostname() const;
  void log_failure(std::string_view what, const Error& error) const;

  NodeSurroundings* node_;
  kube::Pod pod_;
  PodMachine machine_;
  PodPlace place_;
  std::optional<Sandbox> sandbox_;
  std::vector<std::optional<io::Child>> children_;  // by ContainerIndex
  std::string published_;                           // the last status the server took
  bool vanished_ = false;
  io::Event wake_;
  io::TaskGroup tasks_;  // one a running child, one a probe under way
};

}  // namespace fairlead::lab
