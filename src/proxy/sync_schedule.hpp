// When the next commit may run. kube-proxy's token bucket (spec/kube-proxy 10, the 1.30 runner): an
// isolated change runs at once; in a storm, commits keep min_period apart, counted from the end of
// the one before. After a failure the next try comes a first_retry later, then after twice as long
// each time, at last after sync_period; a change brings it forward, but not closer than first_retry
// to the failure, so that a kernel that refuses is not asked with every change.
// Invariant: nothing but started() puts off what is due; so neither changes nor retries starve.
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
    Duration first_retry = std::chrono::seconds{1};
    int burst = 2;
  };
  explicit SyncSchedule(const Config& config) : config_(config), tokens_(config.burst) {}

  // Something waits to be committed.
  void request(MonoTime now) {
    if (running_) {
      requested_ = true;
    } else {
      due_ = due_ ? std::min(*due_, turn(now)) : turn(now);
    }
  }
  std::optional<MonoTime> due() const { return due_; }

  void started(MonoTime now) {
    refill(now);
    if (tokens_ >= 1) tokens_ -= 1;
    due_.reset();
    running_ = true;
  }
  void finished(MonoTime now, bool ok) {
    running_ = false;
    last_end_ = now;
    failures_ = ok ? 0 : failures_ + 1;
    if (!ok) due_ = now + retry_pause();
    if (std::exchange(requested_, false)) request(now);
  }

 private:
  MonoTime turn(MonoTime now) {
    refill(now);
    if (failures_ > 0)
      return std::max(now, last_end_ + std::max(config_.min_period, first_retry()));
    return tokens_ >= 1 ? now : std::max(now, last_end_ + config_.min_period);
  }
  Duration first_retry() const { return std::min(config_.first_retry, config_.sync_period); }
  Duration retry_pause() const {
    Duration out = first_retry();
    for (int i = 1; i < failures_ && out < config_.sync_period; ++i) out *= 2;
    return std::min(out, config_.sync_period);
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
  int failures_ = 0;
  bool running_ = false;
  bool requested_ = false;  // while running
};

}  // namespace fairlead::proxy
