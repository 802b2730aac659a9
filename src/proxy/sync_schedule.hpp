// When the next commit may run: kube-proxy's token bucket (spec/kube-proxy 10, the 1.30 runner). An
// isolated change runs at once; in a storm, commits keep min_period apart, counted from the end of
// the one before. After a failure the next try comes sync_period later, or earlier with a change.
// Pure; time is handed in.
#pragma once

#include <algorithm>
#include <optional>

#include "base/clock.hpp"

namespace fairlead::proxy {

using Duration = std::chrono::nanoseconds;

class SyncSchedule {
 public:
  struct Config {
    Duration min_period{0};  // 0 = no limit
    Duration sync_period = std::chrono::seconds{30};
    int burst = 2;
  };
  explicit SyncSchedule(const Config& config) : config_(config), tokens_(config.burst) {}

  // Something waits to be committed.
  void request(MonoTime now) {
    if (due_) {
      if (!retry_) return;  // already queued
      retry_ = false;       // a change brings a retry forward
    }
    due_ = token_at(now) ? now : std::max(now, last_end_ + config_.min_period);
  }
  std::optional<MonoTime> due() const { return due_; }

  void started(MonoTime now) {
    refill(now);
    if (tokens_ >= 1) tokens_ -= 1;
    due_.reset();
    retry_ = false;
  }
  void finished(MonoTime now, bool ok) {
    last_end_ = now;
    if (ok) return;
    if (due_) {  // changes came in while it failed; they wait their normal turn
      return;
    }
    due_ = now + config_.sync_period;
    retry_ = true;
  }

 private:
  bool token_at(MonoTime now) {
    refill(now);
    return tokens_ >= 1;
  }
  void refill(MonoTime now) {
    if (config_.min_period <= Duration{0}) {
      tokens_ = config_.burst;
      return;
    }
    if (refilled_) {
      tokens_ += std::chrono::duration<double>(now - *refilled_) /
                 std::chrono::duration<double>(config_.min_period);
      tokens_ = std::min<double>(tokens_, config_.burst);
    }
    refilled_ = now;
  }

  Config config_;
  double tokens_;
  std::optional<MonoTime> refilled_, due_;
  MonoTime last_end_{};
  bool retry_ = false;
};

}  // namespace fairlead::proxy
