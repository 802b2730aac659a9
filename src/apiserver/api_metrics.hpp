// What the server tells Prometheus of itself, under kube-apiserver's names: requests by what they
// asked for and how they ended, what is in progress, what the caches hold, the process.
//
// Labels are of things that exist: what a client makes up is counted without names, so that nobody
// can make series without end. Owned by the ApiHandler; loop thread only. Not here: who may read
// it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "apiserver/audit.hpp"
#include "apiserver/registry.hpp"
#include "apiserver/request_limits.hpp"
#include "apiserver/service_repair.hpp"
#include "base/metrics.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kMetricsPath = "/metrics";

class ApiMetrics {
 public:
  // The registry must outlive it.
  explicit ApiMetrics(const Registry& registry);

  // A watch that has ended counts as answered; how long it took says nothing and is left out.
  void answered(const io::HttpRequest& request, const AuditedRequest& audited,
                std::chrono::nanoseconds took);

  // Of the moment, from who knows them.
  struct Now {
    const RequestLimits* limits = nullptr;
    std::uint64_t audit_lost = 0;  // lines
    const ServiceRepair* repair = nullptr;
  };
  std::string text(const Now& now);

 private:
  // What is counted of a request. All of it is one of a few words.
  struct Kind {
    std::string verb;  // "GET", "LIST", "WATCH", "POST", "APPLY", ...
    std::string group, version, resource, subresource;
    std::string_view scope;    // "resource", "namespace", "cluster"; empty: of no resource
    std::string_view dry_run;  // "All" or empty
    auto operator<=>(const Kind&) const = default;
  };
  Kind kind_of(const io::HttpRequest& request, const AuditedRequest& audited) const;
  static metrics::Labels labels_of(const Kind& kind);
  void report_resource(const Resource& resource);
  void report_repair(const ServiceRepair& repair);

  const Registry& registry_;
  metrics::Registry metrics_;
  // Handles of what was asked for before: labels are only made once.
  std::map<std::pair<Kind, unsigned>, metrics::Counter> requests_;  // by code as well
  std::map<Kind, metrics::Histogram> seconds_;
};

}  // namespace fairlead::apiserver
