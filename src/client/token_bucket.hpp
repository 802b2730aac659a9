// A token bucket: `burst` at once, `per_second` in the long run. Pure; time comes from the caller.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"

namespace fairlead::client {

struct RateLimit {
  double per_second = 5;
  int burst = 10;
};

class TokenBucket {
 public:
  TokenBucket(RateLimit limit, MonoTime now) : limit_(limit), tokens_(limit.burst), updated_(now) {}

  // Takes one token, on credit if there is none: the caller must wait as long as told before it
  // acts.
  std::chrono::nanoseconds take(MonoTime now) {
    const std::chrono::duration<double> passed = now - updated_;
    tokens_ = std::min<double>(limit_.burst, tokens_ + passed.count() * limit_.per_second) - 1;
    updated_ = now;
    if (tokens_ >= 0) return std::chrono::nanoseconds{0};
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(-tokens_ / limit_.per_second));
  }

 private:
  RateLimit limit_;
  double tokens_;
  MonoTime updated_;
};

}  // namespace fairlead::client
