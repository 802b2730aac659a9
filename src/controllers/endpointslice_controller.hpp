// The shell around reconcile_endpoint_slices(): notes which services are dirty, reconciles them on
// the loop, retries with back-off, tells of failures and of topology hints by Events. Owned by
// Controllers (controllers.hpp), which feeds the stores.
//
// Loop thread only. Invariants: a service is never reconciled against a view older than this
// controller's own writes (a key waits until its writes have come back through the watch); one
// reconcile of a service at a time, of several services at once.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "controllers/endpointslice_reconcile.hpp"
#include "controllers/service_slices.hpp"
#include "controllers/sync_loop.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class EndpointSliceController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    client::EventRecorder* events = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Service>* services = nullptr;
    client::Store<kube::Pod>* pods = nullptr;
    client::Store<kube::Node>* nodes = nullptr;
    client::Store<kube::EndpointSlice>* slices = nullptr;
    std::chrono::milliseconds batch_period{0};  // pod changes wait this long for company
    std::size_t max_endpoints = kMaxEndpointsPerSlice;
    int workers = 1;
  };
  // Subscribes to the stores.
  EndpointSliceController(io::Executor executor, Config config);
  EndpointSliceController(const EndpointSliceController&) = delete;
  EndpointSliceController& operator=(const EndpointSliceController&) = delete;

  // Spawned by the owner; works once all stores have synced, until cancelled.
  io::Task<void> run() { return loop_.run(); }

 private:
  void service_changed(const kube::Service* before, const kube::Service* after);
  void pod_changed(const kube::Pod* before, const kube::Pod* after);
  void slice_changed(const kube::EndpointSlice* before, const kube::EndpointSlice* after);
  void node_changed(const kube::Node* before, const kube::Node* after);
  void mark(const kube::NamespacedName& service, std::chrono::milliseconds delay = {});
  bool stores_synced() const;

  io::Task<Result<void>> sync(kube::NamespacedName key);
  io::Task<Result<void>> reconcile(kube::NamespacedName key);
  void tell_of_hints(const kube::Service& service, const EndpointSliceWrites& writes);
  void tell(const kube::ObjectMeta& service, client::Event::Type type, std::string reason,
            std::string note) const;
  io::Task<Result<void>> write(kube::NamespacedName key, EndpointSliceWrites writes);
  io::Task<Result<void>> remove_slices_of_gone_service(kube::NamespacedName key);
  io::Task<Result<void>> remove_slice(kube::NamespacedName service, std::string slice);
  std::optional<WallTime> new_trigger(const kube::Service& service,
                                      const std::vector<const kube::Pod*>& pods) const;

  Config config_;
  ServiceSlices slices_;
  SyncLoop loop_;
  std::map<kube::NamespacedName, WallTime> last_trigger_;  // by service
  // What was last told of a service's topology hints: see EndpointSliceWrites::hints_refused.
  std::map<kube::NamespacedName, std::map<kube::AddressType, std::string>> told_hints_;
};

}  // namespace fairlead::controllers
