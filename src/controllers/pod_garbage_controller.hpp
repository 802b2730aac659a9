// Deletes the Pods that pod_garbage.hpp finds. Owned by Controllers (controllers.hpp), which feeds
// the stores.
//
// Loop thread only. A look goes over all Pods in memory, at most once a second, when news may have
// made garbage or a node has been missing for long enough; what failed is looked at again after
// twenty seconds. Invariants: Pods of a node are deleted only after the API server itself said that
// there is no such node; a Pod that has not ended is made Failed first, so that whoever waits for
// its end learns of it.
#pragma once

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/informer.hpp"
#include "controllers/pod_garbage.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class PodGarbageController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Pod>* pods = nullptr;
    client::Store<kube::Node>* nodes = nullptr;
    PodGarbagePolicy policy;
  };
  // Subscribes to the stores.
  PodGarbageController(io::Executor executor, Config config);
  PodGarbageController(const PodGarbageController&) = delete;
  PodGarbageController& operator=(const PodGarbageController&) = delete;

  // Spawned by the owner; works once both stores have synced, until cancelled.
  io::Task<void> run();

 private:
  bool stores_synced() const;
  io::Task<bool> look();  // false: something could not be done
  io::Task<bool> collect(std::vector<DoomedPod> pods);
  io::Task<bool> collect_of_node(std::string node);
  io::Task<Result<void>> remove(DoomedPod pod);
  MonoTime next_look(bool done) const;

  Config config_;
  MissingNodes missing_;
  io::Event wake_;
};

}  // namespace fairlead::controllers
