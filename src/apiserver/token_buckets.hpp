// Token buckets by name: so much a second for everyone, with a reserve for bursts. Memory is
// bounded however many names come. Pure but for its state; loop thread only.
#pragma once

#include <chrono>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"

namespace fairlead::apiserver {

class TokenBuckets {
 public:
  struct Rate {
    double per_second = 0;  // 0 = no limit
    double burst = 1;       // what is in a full bucket, at least 1
  };
  TokenBuckets(Rate rate, std::size_t most_names) : rate_(rate), most_names_(most_names) {}

  // Takes one token out of the bucket of that name; else how long until there is one again.
  std::optional<std::chrono::nanoseconds> take(std::string_view name, MonoTime now);

  std::size_t size() const { return by_name_.size(); }

 private:
  struct Bucket {
    std::string name;
    double tokens = 0;
    MonoTime filled_at;
  };
  using Buckets = std::list<Bucket>;
  double filled(const Bucket& bucket, MonoTime now) const;
  Buckets::iterator bucket(std::string_view name, MonoTime now);
  void forget(MonoTime now);

  Rate rate_;
  std::size_t most_names_;
  Buckets buckets_;  // the one used longest ago first
  std::map<std::string_view, Buckets::iterator> by_name_;
};

}  // namespace fairlead::apiserver
