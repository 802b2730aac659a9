// What the proxy's two HTTP servers answer to which path (spec/kube-proxy 9.1, 9.3). Each is a
// function of a request and of what it may look at; servers.hpp binds them to addresses. Loop
// thread.
#pragma once

#include <string>

#include "proxy/config.hpp"
#include "proxy/health.hpp"
#include "proxy/proxy_metrics.hpp"

namespace fairlead::proxy {

// /healthz and /livez. Counts what it answered.
io::HttpResponse answer_health(const io::HttpRequest& request, const HealthInputs& inputs,
                               ProxyMetrics& metrics);

// /healthz, /metrics, /metrics/slis, /proxyMode, /configz and, with enableProfiling,
// PUT /debug/flags/v. Profiles are not offered: they are a matter of Go's runtime.
class MetricsSurface {
 public:
  struct Config {
    const proxy::Config* config = nullptr;  // outlives the surface
    std::string mode;
    std::function<std::string()> metrics;  // in the text format
  };
  explicit MetricsSurface(Config config) : config_(std::move(config)) {}

  io::HttpResponse answer(const io::HttpRequest& request);

 private:
  io::HttpResponse healthz(const io::Url& url);
  io::HttpResponse indicators() const;
  io::HttpResponse set_verbosity(const io::HttpRequest& request) const;

  Config config_;
  std::uint64_t health_asked_ = 0;
};

}  // namespace fairlead::proxy
