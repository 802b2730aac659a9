// All controllers of one cluster, with the stores they share: what `fairlead up`, the lab and
// fairlead-controller run. Loop thread only; the ApiClient and the Clock outlive it; close() before
// destruction.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "controllers/enabled.hpp"
#include "controllers/endpoints_mirror.hpp"
#include "controllers/load_balancer_controller.hpp"
#include "controllers/node_health_controller.hpp"
#include "controllers/pod_garbage.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

// Of one of the three controllers that write endpoints.
struct EndpointsPolicy {
  std::chrono::milliseconds batch_period{0};  // changes of what it follows wait for company
  std::size_t max_endpoints = kMaxEndpointsPerSlice;
  int workers = 5;
};

class Controllers {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    const Clock* clock = &Clock::real();
    EnabledControllers enabled = all_controllers();
    EndpointsPolicy slices, endpoints;
    EndpointsPolicy mirrored{.max_endpoints = kMaxMirroredAddresses};  // of a subset
    LoadBalancerPolicy load_balancer;
    PodGarbagePolicy pod_garbage;
    NodeHealthPolicy node_health;
    std::string instance = "fairlead";  // reportingInstance of its Events
  };
  Controllers(const io::Executor& executor, const Config& config);
  ~Controllers();
  Controllers(const Controllers&) = delete;
  Controllers& operator=(const Controllers&) = delete;

  void start();
  io::Task<void> close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::controllers
