// The shell around mirror_endpoints(). Owned by Controllers (controllers.hpp), which feeds the
// stores.
//
// Loop thread only. Invariant: Endpoints are never mirrored over a view of the slices that is older
// than this controller's own writes: a name waits until they have come back, or patience is over.
#pragma once

#include <chrono>
#include <map>
#include <vector>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "controllers/endpoints_mirror.hpp"
#include "controllers/service_slices.hpp"
#include "controllers/sync_loop.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class EndpointsMirrorController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    client::EventRecorder* events = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Service>* services = nullptr;
    client::Store<kube::Endpoints>* endpoints = nullptr;
    client::Store<kube::EndpointSlice>* slices = nullptr;
    std::size_t max_addresses = kMaxMirroredAddresses;  // of a subset
    std::chrono::milliseconds batch_period{0};  // changes of Endpoints wait this long for company
    int workers = 1;
  };
  // Subscribes to the stores.
  EndpointsMirrorController(io::Executor executor, Config config);
  EndpointsMirrorController(const EndpointsMirrorController&) = delete;
  EndpointsMirrorController& operator=(const EndpointsMirrorController&) = delete;

  // Spawned by the owner; works once all stores have synced, until cancelled.
  io::Task<void> run() { return loop_.run(); }

 private:
  void mark(const kube::NamespacedName& name, std::chrono::nanoseconds delay = {});
  void slice_changed(const kube::EndpointSlice* before, const kube::EndpointSlice* after);
  bool stores_synced() const;
  io::Task<Result<void>> sync(kube::NamespacedName name);
  io::Task<Result<void>> write(kube::NamespacedName name, EndpointSliceWrites writes);
  void tell(const kube::Endpoints& endpoints, const std::vector<MirrorFinding>& findings);

  Config config_;
  ServiceSlices slices_;  // mirrored ones
  SyncLoop loop_;
  std::map<kube::NamespacedName, std::vector<MirrorFinding>> told_;
};

}  // namespace fairlead::controllers
