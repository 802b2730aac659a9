// The shell around reconcile_endpoints(): keeps the Endpoints of every Service with a selector, and
// removes those of a Service that went. Owned by Controllers (controllers.hpp), which feeds the
// stores.
//
// Loop thread only. A write carries the resourceVersion it was computed from. One that is refused
// because that is stale is not tried again by itself: what it was behind is still to come through
// the watch, and marks the Service anew.
#pragma once

#include <chrono>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/informer.hpp"
#include "controllers/sync_loop.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class EndpointsController {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    const Clock* clock = nullptr;
    client::Store<kube::Service>* services = nullptr;
    client::Store<kube::Pod>* pods = nullptr;
    client::Store<kube::Endpoints>* endpoints = nullptr;
    std::chrono::milliseconds batch_period{0};  // pod changes wait this long for company
    int workers = 1;
  };
  // Subscribes to the stores.
  EndpointsController(io::Executor executor, Config config);
  EndpointsController(const EndpointsController&) = delete;
  EndpointsController& operator=(const EndpointsController&) = delete;

  // Spawned by the owner; works once all stores have synced, until cancelled.
  io::Task<void> run() { return loop_.run(); }

 private:
  void service_changed(const kube::Service* before, const kube::Service* after);
  void pod_changed(const kube::Pod* before, const kube::Pod* after);
  void endpoints_changed(const kube::Endpoints* before, const kube::Endpoints* after);
  void mark(const kube::NamespacedName& service, std::chrono::milliseconds delay = {});
  bool stores_synced() const;
  io::Task<Result<void>> sync(kube::NamespacedName key);
  io::Task<Result<void>> write(kube::Endpoints endpoints, bool exists);

  Config config_;
  SyncLoop loop_;
};

}  // namespace fairlead::controllers
