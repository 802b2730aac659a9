// Exponential back-off with jitter; pure apart from its own random numbers, which the seed decides.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace fairlead::client {

class Backoff {
 public:
  struct Config {
    std::chrono::milliseconds first{800};
    std::chrono::milliseconds longest{30'000};
    std::uint64_t seed = 0;
  };
  explicit Backoff(const Config& config)
      : config_(config), step_(config.first), random_(config.seed) {}

  // The next pause: between one and two steps, at most `longest`; the step doubles each time.
  std::chrono::milliseconds next() {
    std::uniform_int_distribution<std::int64_t> jitter(0, step_.count());
    const auto pause =
        std::min(step_ + std::chrono::milliseconds{jitter(random_)}, config_.longest);
    step_ = std::min(step_ * 2, config_.longest);
    return pause;
  }
  void reset() { step_ = config_.first; }

  // Uniform in [low, high], from the same source.
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

 private:
  Config config_;
  std::chrono::milliseconds step_;
  std::mt19937_64 random_;
};

}  // namespace fairlead::client
