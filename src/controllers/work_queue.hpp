// Dirty keys with a due time: what a controller has to look at, each key at most once, failures
// later and later. Pure: time comes in with every call; the owner sleeps until next_due(). Not
// thread-safe.
//
// Invariants: a key waits at most once, at the earliest time anyone asked for; a key being worked
// on (taken, not yet succeeded or failed) is not handed out again, and what was added meanwhile is
// handed out after.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/clock.hpp"

namespace fairlead::controllers {

class WorkQueue {
 public:
  struct Config {
    std::chrono::milliseconds first_retry{1000};  // doubled with each failure in a row
    std::chrono::milliseconds last_retry{1'000'000};
  };
  WorkQueue() = default;
  explicit WorkQueue(Config config) : config_(config) {}

  void add(const std::string& key, MonoTime due);

  // The key that has been due longest.
  std::optional<std::string> take(MonoTime now);
  void succeeded(const std::string& key);
  // Queues the key again after its back-off and returns that delay, for the log line.
  std::chrono::milliseconds failed(const std::string& key, MonoTime now);

  // When take() will next have something; nullopt while nothing waits.
  std::optional<MonoTime> next_due() const;
  std::size_t waiting() const { return order_.size(); }

 private:
  void finished(const std::string& key);

  Config config_;
  std::set<std::pair<MonoTime, std::string>> order_;  // keys that wait, soonest first
  std::map<std::string, MonoTime> due_;               // the same by key
  std::map<std::string, std::optional<MonoTime>>
      working_;  // taken keys, and when they are wanted again
  std::map<std::string, int> failures_;
};

}  // namespace fairlead::controllers
