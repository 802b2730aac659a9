#include "apiserver/token_buckets.hpp"

#include <algorithm>

namespace fairlead::apiserver {

double TokenBuckets::filled(const Bucket& bucket, MonoTime now) const {
  const double seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
  return std::min(rate_.burst, bucket.tokens + std::max(seconds, 0.0) * rate_.per_second);
}

// A full bucket is as good as none. When none is full, who was quiet for longest is forgotten, and
// begins with a full one again: somebody with that many names has as many buckets anyway.
void TokenBuckets::forget(MonoTime now) {
  while (!buckets_.empty() &&
         (by_name_.size() >= most_names_ || filled(buckets_.front(), now) >= rate_.burst)) {
    by_name_.erase(buckets_.front().name);
    buckets_.pop_front();
  }
}

TokenBuckets::Buckets::iterator TokenBuckets::bucket(std::string_view name, MonoTime now) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    buckets_.splice(buckets_.end(), buckets_, found->second);
    return found->second;
  }
  forget(now);
  buckets_.push_back({.name = std::string(name), .tokens = rate_.burst, .filled_at = now});
  const auto made = std::prev(buckets_.end());
  by_name_.emplace(made->name, made);
  return made;
}

std::optional<std::chrono::nanoseconds> TokenBuckets::take(std::string_view name, MonoTime now) {
  if (rate_.per_second <= 0) return std::nullopt;
  const auto mine = bucket(name, now);
  mine->tokens = filled(*mine, now);
  mine->filled_at = now;
  if (mine->tokens < 1) {
    const std::chrono::duration<double> wait((1 - mine->tokens) / rate_.per_second);
    return std::chrono::ceil<std::chrono::nanoseconds>(wait);
  }
  mine->tokens -= 1;
  return std::nullopt;
}

}  // namespace fairlead::apiserver
