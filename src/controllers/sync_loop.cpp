#include "controllers/sync_loop.hpp"

#include "base/log.hpp"

namespace fairlead::controllers {

SyncLoop::SyncLoop(io::Executor executor, Config config)
    : config_(std::move(config)), wake_(executor), workers_(executor, config_.failure) {}

void SyncLoop::mark(const std::string& key, std::chrono::nanoseconds delay) {
  queue_.add(key, config_.clock->mono() + delay);
  wake_.notify();
}

io::Task<void> SyncLoop::run() {
  while (!co_await io::cancelled()) {
    const bool free = busy_ < config_.workers && config_.ready();
    if (auto key = free ? queue_.take(config_.clock->mono()) : std::nullopt) {
      ++busy_;
      workers_.spawn(work(*std::move(key)));
      continue;
    }
    const auto due = free ? queue_.next_due() : std::nullopt;
    if (due) {
      co_await wake_.wait_until(*due);
    } else {
      co_await wake_.wait();
    }
  }
  co_await workers_.close();
}

io::Task<void> SyncLoop::work(std::string key) {
  const auto result = co_await config_.sync(key);
  --busy_;
  wake_.notify();
  if (result) {
    queue_.succeeded(key);
    co_return;
  }
  const auto delay = queue_.failed(key, config_.clock->mono());
  log::warning(
      fmt::format("{}, trying again", config_.failure),
      {{config_.key_name, key}, {"error", result.error()}, {"in", format_duration(delay)}});
}

}  // namespace fairlead::controllers
