// The shell around mirror_endpoints(). Owned by Controllers (controllers.hpp), which feeds the
// stores.
//
// Loop thread only. Invariant: Endpoints are never mirrored over a view of the slices that is older
// than this controller's own writes: a name waits until they have come back, or patience is over.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "controllers/endpoints_mirror.hpp"
#include "controllers/work_queue.hpp"
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
  };
  // Subscribes to the stores.
  EndpointsMirrorController(io::Executor executor, Config config);
  EndpointsMirrorController(const EndpointsMirrorController&) = delete;
  EndpointsMirrorController& operator=(const EndpointsMirrorController&) = delete;

  // Spawned by the owner; works once all stores have synced, until cancelled.
  io::Task<void> run();

 private:
  struct Outstanding {
    std::uint64_t revision = 0;  // 0 = a deletion
    MonoTime patience;
  };

  void mark(const kube::NamespacedName& name, MonoTime due);
  void slice_changed(const kube::EndpointSlice* before, const kube::EndpointSlice* after);
  bool stores_synced() const;
  bool waits_for_own_writes(const kube::NamespacedName& name);
  io::Task<Result<void>> sync(kube::NamespacedName name);
  io::Task<Result<void>> write(kube::NamespacedName name, EndpointSliceWrites writes);
  void expect(const kube::NamespacedName& name, const kube::EndpointSlice& written);
  void tell(const kube::Endpoints& endpoints, const std::vector<MirrorFinding>& findings) const;

  Config config_;
  io::Event wake_;
  WorkQueue queue_;
  std::map<kube::NamespacedName, std::set<std::string>> slices_;  // mirrored ones, by service
  std::map<kube::NamespacedName, std::map<std::string, Outstanding>>
      outstanding_;  // by service, then slice
};

}  // namespace fairlead::controllers
