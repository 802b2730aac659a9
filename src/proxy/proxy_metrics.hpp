// The proxy's metrics under kube-proxy 1.36's names, labels and buckets (spec/kube-proxy 9.4), and
// a few of our own (fairlead_proxy_*). Loop thread; the registry itself may be read from any.
#pragma once

#include <string>
#include <vector>

#include "base/metrics.hpp"
#include "proxy/sync.hpp"

namespace fairlead::proxy {

class ProxyMetrics {
 public:
  struct Config {
    std::vector<IpFamily> families;
    WallTime started{};
  };
  explicit ProxyMetrics(Config config);

  void queued(WallTime now);
  void finished(const Outcome& outcome, WallTime now);
  void compiled(const Syncer& syncer);
  void changes(const model::Counts& counts, std::size_t pending);
  void probed(std::string_view probe, unsigned status);  // "healthz" or "livez"
  void drift_found();

  std::string serialize();

 private:
  template <class F>
  void for_each_family(F f);

  Config config_;
  metrics::Registry registry_;
  model::Counts last_counts_;
};

}  // namespace fairlead::proxy
