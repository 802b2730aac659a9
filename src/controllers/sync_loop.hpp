// The loop of a controller: hands dirty keys to its sync function, as many at a time as there are
// workers but no key twice at a time, and tries later and later what failed. Owned by the
// controller, which spawns run() once.
//
// Loop thread only. Nothing is ever given up: after an outage no news would mark what had been
// tried in vain, so the last delay goes on (1000 s, where kube-controller-manager stops at the 15th
// try).
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "controllers/work_queue.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class SyncLoop {
 public:
  struct Config {
    const Clock* clock = nullptr;
    std::string_view failure;   // of the log line: "endpoint slices not written"
    std::string_view key_name;  // what the keys are: "service"
    int workers = 1;
    std::function<bool()> ready;  // nothing is handed out before
    std::function<io::Task<Result<void>>(std::string key)> sync;
  };
  SyncLoop(io::Executor executor, Config config);
  SyncLoop(const SyncLoop&) = delete;
  SyncLoop& operator=(const SyncLoop&) = delete;

  void mark(const std::string& key, std::chrono::nanoseconds delay = {});
  void wake() { wake_.notify(); }  // ready() may have another answer

  io::Task<void> run();  // until cancelled

 private:
  io::Task<void> work(std::string key);

  Config config_;
  io::Event wake_;
  WorkQueue queue_;
  int busy_ = 0;
  io::TaskGroup workers_;
};

}  // namespace fairlead::controllers
