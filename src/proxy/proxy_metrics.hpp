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
    std::string mode = "nftables";  // some metrics are of one mode only
    WallTime started{};
  };
  explicit ProxyMetrics(Config config);

  void finished(const Outcome& outcome, WallTime now);
  void compiled(const Syncer& syncer);
  void observe(const Syncer& syncer, const model::Counts& counts);  // before each serialize()
  void rules(const std::vector<plan::RuleCount>& counts);
  void traffic(std::vector<plan::Traffic> now) { traffic_ = std::move(now); }
  void probed(std::string_view probe, unsigned status);  // "healthz" or "livez"
  void drift_found();
  // A request to the API server; status 0: it was not answered.
  void api_request(const std::string& method, const std::string& host, unsigned status,
                   Duration duration);

  std::string serialize();

 private:
  using Labels = metrics::Labels;
  Labels of(IpFamily family, Labels more = {}) const;
  void finished(IpFamily family, const Outcome& outcome, WallTime now);
  void failed(IpFamily family, const Outcome& outcome);

  Config config_;
  metrics::Registry registry_;
  model::Counts last_counts_;
  // Printed as they are: series of services that are gone must go as well.
  std::vector<plan::Traffic> traffic_;
};

}  // namespace fairlead::proxy
