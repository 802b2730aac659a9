// All controllers of one cluster, with the stores they share: what `fairlead up`, the lab and
// fairlead-controller run. Loop thread only; the ApiClient and the Clock outlive it; close() before
// destruction.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "controllers/load_balancer_controller.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class Controllers {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    const Clock* clock = &Clock::real();
    std::chrono::milliseconds endpoint_batch_period{0};  // changes of Pods wait for company
    LoadBalancerPolicy load_balancer;
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
