#include "proxy/proxy_metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include "base/version.hpp"

namespace fairlead::proxy {
namespace {

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
double seconds(WallTime t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }

std::vector<double> sync_buckets() { return metrics::exponential_buckets(0.001, 2, 15); }

std::vector<double> latency_buckets() {
  std::vector<double> out{0.25, 0.5};
  for (int s = 1; s < 60; ++s) out.push_back(s);
  for (int s = 60; s < 120; s += 5) out.push_back(s);
  for (int s = 120; s <= 300; s += 30) out.push_back(s);
  return out;
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

// Families that exist from the start show up as zero, not as absent.
ProxyMetrics::ProxyMetrics(Config config) : config_(std::move(config)) {
  for_each_family([&](const metrics::Labels& labels) {
    registry_.counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                      "Failed commits of rules to the kernel", labels);
    registry_.counter("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
                      "Failed removals of stale objects", labels);
    registry_.counter("kubeproxy_conntrack_reconciler_deleted_entries_total",
                      "Stale UDP conntrack entries deleted", labels);
    registry_.histogram("kubeproxy_sync_proxy_rules_duration_seconds",
                        "Time of one commit of rules to the kernel", sync_buckets(), labels);
    registry_.histogram("kubeproxy_network_programming_duration_seconds",
                        "From a change in the cluster to the kernel's obeying it",
                        latency_buckets(), labels);
  });
  registry_
      .gauge("kubernetes_build_info", "Constant 1, labelled with the build",
             {{"major", std::string(kKubernetesMajor)},
              {"minor", std::string(kKubernetesMinor)},
              {"git_version", std::string(kKubernetesVersion)}})
      .set(1);
  registry_.gauge("process_start_time_seconds", "Start of the process since the epoch")
      .set(seconds(config_.started));
  changes({}, 0);
}

template <class F>
void ProxyMetrics::for_each_family(F f) {
  for (const IpFamily family : config_.families) {
    f(metrics::Labels{{"ip_family", std::string(to_string(family))}});
  }
}

void ProxyMetrics::queued(WallTime now) {
  for_each_family([&](const metrics::Labels& labels) {
    registry_
        .gauge("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
               "When a commit was last asked for", labels)
        .set(seconds(now));
  });
}

void ProxyMetrics::finished(const Outcome& outcome, WallTime now) {
  if (outcome.kind != Job::Kind::Commit && !outcome.full) return;
  for_each_family([&](const metrics::Labels& labels) {
    if (outcome.error) {
      registry_.counter("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "", labels)
          .add();
      return;
    }
    registry_.histogram("kubeproxy_sync_proxy_rules_duration_seconds", "", sync_buckets(), labels)
        .observe(seconds(outcome.duration));
    registry_
        .histogram(outcome.full ? "kubeproxy_sync_full_proxy_rules_duration_seconds"
                                : "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                   "Time of one commit of all rules, or of the changed ones", sync_buckets(),
                   labels)
        .observe(seconds(outcome.duration));
    registry_
        .gauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "Last successful commit",
               labels)
        .set(seconds(now));
    for (const WallTime trigger : outcome.triggers) {
      registry_
          .histogram("kubeproxy_network_programming_duration_seconds", "", latency_buckets(),
                     labels)
          .observe(seconds(now - trigger));
    }
    if (outcome.flows) {
      registry_
          .histogram("kubeproxy_conntrack_reconciler_sync_duration_seconds",
                     "Time to look over the conntrack table", sync_buckets(), labels)
          .observe(seconds(outcome.conntrack_duration));
    }
  });
  if (outcome.flows) {
    // Counted once: the walk does not keep the families apart.
    const metrics::Labels labels{{"ip_family", std::string(to_string(config_.families.front()))}};
    registry_.counter("kubeproxy_conntrack_reconciler_deleted_entries_total", "", labels)
        .add(static_cast<double>(outcome.flows->deleted));
  }
  registry_.counter("fairlead_proxy_kernel_messages_total", "Messages sent to the kernel")
      .add(static_cast<double>(outcome.stats.messages));
  registry_.counter("fairlead_proxy_kernel_bytes_total", "Bytes sent to the kernel")
      .add(static_cast<double>(outcome.stats.bytes));
}

void ProxyMetrics::compiled(const Syncer& syncer) {
  registry_.counter("fairlead_proxy_services_compiled_total", "Services compiled")
      .add(static_cast<double>(syncer.last_update().recompiled));
  registry_.gauge("fairlead_proxy_service_ports", "Service ports programmed, per family")
      .set(static_cast<double>(syncer.compiler().plan().services.size()));
  for (const IpFamily family : config_.families) {
    const NoLocalEndpoints& none = syncer.no_local_endpoints(family);
    for (const auto& [policy, count] :
         {std::pair{"internal", none.internal}, std::pair{"external", none.external}}) {
      registry_
          .gauge("kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                 "Service ports with a policy Local and no endpoint on this node",
                 {{"traffic_policy", policy}, {"ip_family", std::string(to_string(family))}})
          .set(static_cast<double>(count));
    }
  }
}

void ProxyMetrics::changes(const model::Counts& counts, std::size_t pending) {
  const auto report = [&](const char* total, const char* gauge, std::uint64_t now,
                          std::uint64_t before) {
    registry_.counter(total, "Changes that altered what the proxy does")
        .add(static_cast<double>(now - before));
    registry_.gauge(gauge, "Services with changes that are not committed yet")
        .set(static_cast<double>(pending));
  };
  report("kubeproxy_sync_proxy_rules_service_changes_total",
         "kubeproxy_sync_proxy_rules_service_changes_pending", counts.service_changes,
         last_counts_.service_changes);
  report("kubeproxy_sync_proxy_rules_endpoint_changes_total",
         "kubeproxy_sync_proxy_rules_endpoint_changes_pending", counts.slice_changes,
         last_counts_.slice_changes);
  last_counts_ = counts;
}

void ProxyMetrics::probed(std::string_view probe, unsigned status) {
  registry_
      .counter(fmt::format("kubeproxy_proxy_{}_total", probe), "Probes answered",
               {{"code", fmt::format("{}", status)}})
      .add();
}

void ProxyMetrics::drift_found() {
  registry_.counter("fairlead_proxy_drift_repairs_total", "Foreign changes to our rules, mended")
      .add();
}

std::string ProxyMetrics::serialize() {
  registry_.gauge("process_resident_memory_bytes", "Resident memory").set(resident_bytes());
  auto cpu = registry_.counter("process_cpu_seconds_total", "User and system time");
  cpu.add(std::max(0.0, cpu_seconds() - cpu.value()));
  return registry_.serialize();
}

}  // namespace fairlead::proxy
