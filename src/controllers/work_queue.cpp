#include "controllers/work_queue.hpp"

#include <algorithm>

namespace fairlead::controllers {

void WorkQueue::add(const std::string& key, MonoTime due) {
  if (const auto taken = working_.find(key); taken != working_.end()) {
    taken->second = taken->second ? std::min(*taken->second, due) : due;
    return;
  }
  const auto [it, inserted] = due_.try_emplace(key, due);
  if (!inserted) {
    if (it->second <= due) return;
    order_.erase({it->second, key});
    it->second = due;
  }
  order_.emplace(due, key);
}

std::optional<std::string> WorkQueue::take(MonoTime now) {
  if (order_.empty() || order_.begin()->first > now) return std::nullopt;
  std::string key = order_.begin()->second;
  order_.erase(order_.begin());
  due_.erase(key);
  working_.emplace(key, std::nullopt);
  return key;
}

void WorkQueue::finished(const std::string& key) {
  const auto taken = working_.find(key);
  if (taken == working_.end()) return;
  const std::optional<MonoTime> again = taken->second;
  working_.erase(taken);
  if (again) add(key, *again);
}

void WorkQueue::succeeded(const std::string& key) {
  failures_.erase(key);
  finished(key);
}

std::chrono::milliseconds WorkQueue::failed(const std::string& key, MonoTime now) {
  const int doublings = failures_[key]++;
  auto delay = config_.first_retry;
  for (int i = 0; i < doublings && delay < config_.last_retry; ++i) delay *= 2;
  delay = std::min(delay, config_.last_retry);
  finished(key);
  add(key, now + delay);
  return delay;
}

std::optional<MonoTime> WorkQueue::next_due() const {
  if (order_.empty()) return std::nullopt;
  return order_.begin()->first;
}

}  // namespace fairlead::controllers
