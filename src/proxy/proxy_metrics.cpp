#include "proxy/proxy_metrics.hpp"

#include <array>
#include <utility>

#include "base/process_metrics.hpp"

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

std::vector<double> request_buckets() {
  return {0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60};
}

// One metric: its name and what it says.
struct Metric {
  std::string name, help;
};

const Metric kSync = {"kubeproxy_sync_proxy_rules_duration_seconds",
                      "Time of one commit of rules to the kernel"};
const Metric kFullSync = {"kubeproxy_sync_full_proxy_rules_duration_seconds",
                          "Time of one commit of all rules"};
const Metric kPartialSync = {"kubeproxy_sync_partial_proxy_rules_duration_seconds",
                             "Time of one commit of the rules that changed"};
const Metric kLastSync = {"kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                          "Last successful commit"};
const Metric kLastQueued = {"kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                            "When a commit was last asked for"};
const Metric kProgramming = {"kubeproxy_network_programming_duration_seconds",
                             "From a change in the cluster to the kernel's obeying it"};
const Metric kServiceChanges = {"kubeproxy_sync_proxy_rules_service_changes_total",
                                "Changes of Services that altered what the proxy does"};
const Metric kServicePending = {"kubeproxy_sync_proxy_rules_service_changes_pending",
                                "Changes of Services that are not committed yet"};
const Metric kEndpointChanges = {"kubeproxy_sync_proxy_rules_endpoint_changes_total",
                                 "Changes of EndpointSlices that altered what the proxy does"};
const Metric kEndpointPending = {"kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                                 "Changes of EndpointSlices that are not committed yet"};
const Metric kNoLocal = {"kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                         "Service ports with a policy Local and no endpoint on this node"};
const Metric kFlowsDuration = {"kubeproxy_conntrack_reconciler_sync_duration_seconds",
                               "Time to look over the conntrack table"};
const Metric kFlowsDeleted = {"kubeproxy_conntrack_reconciler_deleted_entries_total",
                              "Stale UDP conntrack entries deleted"};
const Metric kNftablesFailures = {"kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
                                  "Failed commits of rules to the kernel"};
const Metric kNftablesCleanupFailures = {
    "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
    "Failed removals of stale objects; ours go with the commit, so there are none"};
const Metric kRestoreFailures = {"kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                                 "Failed runs of iptables-restore"};
const Metric kPartialFailures = {
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "Failed runs of iptables-restore with the rules that changed"};
const Metric kFailures = {"fairlead_proxy_sync_failures_total",
                          "Failed commits of rules to the kernel, in any mode"};
const Metric kRules = {"kubeproxy_sync_proxy_rules_iptables_total", "Rules that the kernel holds"};
const Metric kRulesLast = {"kubeproxy_sync_proxy_rules_iptables_last",
                           "Rules that the last commit wrote"};
const Metric kRequests = {"rest_client_requests_total", "Requests to the API server"};
const Metric kRequestDuration = {"rest_client_request_duration_seconds",
                                 "Time until the API server answered"};
constexpr std::array kTables = {"filter", "nat"};

std::string labels_of(const plan::Traffic& traffic) {
  const plan::ServicePortName& name = traffic.service.service_port;
  std::string out =
      fmt::format("ip_family=\"{}\",namespace=\"{}\",service=\"{}\",port=\"{}\",protocol=\"{}\"",
                  traffic.service.family, name.namespace_, name.name, name.port, name.protocol);
  if (traffic.endpoint) out += fmt::format(",endpoint=\"{}\"", *traffic.endpoint);
  return out;
}

std::string connect_latency_text(const std::vector<plan::Traffic>& all) {
  constexpr std::string_view kName = "fairlead_proxy_service_connect_duration_seconds";
  std::string out;
  for (const plan::Traffic& traffic : all) {
    if (traffic.connected_within_ms.empty()) continue;
    if (out.empty()) {
      out = fmt::format(
          "# HELP {0} Time until an endpoint took a connection\n# TYPE {0} histogram\n", kName);
    }
    const std::string labels = labels_of(traffic);
    std::uint64_t count = 0;
    for (const auto& [bound, connected] : traffic.connected_within_ms) {
      count += connected;
      out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", kName, labels,
                         static_cast<double>(bound) / 1000, count);
    }
    count += traffic.connected_later;
    out +=
        fmt::format("{0}_bucket{{{1},le=\"+Inf\"}} {2}\n{0}_sum{{{1}}} {3}\n{0}_count{{{1}}} {2}\n",
                    kName, labels, count, traffic.connecting_seconds);
  }
  return out;
}

// One family for services and one for their endpoints, so that a sum counts nothing twice. A column
// that the mode does not count is left out.
struct Column {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  std::optional<std::uint64_t> (*value)(const plan::Traffic&);
};

std::string column_text(bool endpoints, const Column& column,
                        const std::vector<plan::Traffic>& all) {
  const std::string name =
      fmt::format("fairlead_proxy_{}_{}", endpoints ? "endpoint" : "service", column.name);
  std::string out;
  for (const plan::Traffic& traffic : all) {
    const auto value = column.value(traffic);
    if (traffic.endpoint.has_value() != endpoints || !value) continue;
    if (out.empty())
      out = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, column.help, column.type);
    out += fmt::format("{}{{{}}} {}\n", name, labels_of(traffic), *value);
  }
  return out;
}

std::string traffic_text(const std::vector<plan::Traffic>& all) {
  using Value = std::optional<std::uint64_t>;
  constexpr std::array kColumns = {
      Column{"connections_total", "counter", "Connections balanced",
             [](const plan::Traffic& t) { return Value(t.connections); }},
      Column{"received_bytes_total", "counter", "Bytes from clients",
             [](const plan::Traffic& t) { return Value(t.bytes_in); }},
      Column{"sent_bytes_total", "counter", "Bytes to clients",
             [](const plan::Traffic& t) { return Value(t.bytes_out); }},
      Column{"received_packets_total", "counter", "Packets from clients",
             [](const plan::Traffic& t) { return t.packets_in; }},
      Column{"sent_packets_total", "counter", "Packets to clients",
             [](const plan::Traffic& t) { return t.packets_out; }},
      Column{"active_connections", "gauge", "Connections now",
             [](const plan::Traffic& t) { return t.endpoint ? Value(t.active) : Value(); }},
      Column{"connections_failed_total", "counter",
             "Clients turned away because no endpoint answered",
             [](const plan::Traffic& t) { return t.failed; }},
      Column{"connection_retries_total", "counter",
             "Endpoints that did not answer before another was tried",
             [](const plan::Traffic& t) { return t.retried; }},
  };
  std::string out = connect_latency_text(all);
  for (const bool endpoints : {false, true}) {
    for (const Column& column : kColumns) out += column_text(endpoints, column, all);
  }
  return out;
}

}  // namespace

// What exists from the start shows up as zero, not as absent.
ProxyMetrics::ProxyMetrics(Config config) : config_(std::move(config)) {
  for (const IpFamily family : config_.families) {
    const Labels labels = of(family);
    for (const Metric& metric : {kSync, kFullSync, kPartialSync, kFlowsDuration}) {
      registry_.histogram(metric.name, metric.help, sync_buckets(), labels);
    }
    registry_.histogram(kProgramming.name, kProgramming.help, latency_buckets(), labels);
    registry_.gauge(kLastSync.name, kLastSync.help, labels);
    registry_.gauge(kLastQueued.name, kLastQueued.help, labels);
    registry_.counter(kFlowsDeleted.name, kFlowsDeleted.help, labels);
    for (const char* policy : {"internal", "external"}) {
      registry_.gauge(kNoLocal.name, kNoLocal.help, of(family, {{"traffic_policy", policy}}));
    }
    if (config_.mode == "nftables") {
      registry_.counter(kNftablesFailures.name, kNftablesFailures.help, labels);
      registry_.counter(kNftablesCleanupFailures.name, kNftablesCleanupFailures.help, labels);
    }
    registry_.counter(kFailures.name, kFailures.help, labels);
    if (config_.mode == "iptables" || config_.mode == "ipvs") {
      registry_.counter(kRestoreFailures.name, kRestoreFailures.help, labels);
    }
    if (config_.mode == "iptables") {
      registry_.counter(kPartialFailures.name, kPartialFailures.help, labels);
      for (const char* table : kTables) {
        registry_.gauge(kRules.name, kRules.help, of(family, {{"table", table}}));
        registry_.gauge(kRulesLast.name, kRulesLast.help, of(family, {{"table", table}}));
      }
    }
  }
  for (const Metric& metric : {kServiceChanges, kEndpointChanges}) {
    registry_.counter(metric.name, metric.help);
  }
  for (const Metric& metric : {kServicePending, kEndpointPending}) {
    registry_.gauge(metric.name, metric.help);
  }
  metrics::describe_process(registry_, config_.started);
}

metrics::Labels ProxyMetrics::of(IpFamily family, Labels more) const {
  more.emplace("ip_family", to_string(family));
  return more;
}

void ProxyMetrics::finished(const Outcome& outcome, WallTime now) {
  for (const auto& [family, flows] : outcome.flows) {
    registry_.histogram(kFlowsDuration.name, kFlowsDuration.help, sync_buckets(), of(family))
        .observe(seconds(flows.duration));
    registry_.counter(kFlowsDeleted.name, kFlowsDeleted.help, of(family))
        .add(static_cast<double>(flows.stats.deleted));
  }
  if (outcome.kind != Job::Kind::Commit && !outcome.full) return;
  for (const IpFamily family : config_.families) {
    if (outcome.error) {
      failed(family, outcome);
    } else {
      finished(family, outcome, now);
    }
  }
  registry_.counter("fairlead_proxy_kernel_messages_total", "Messages sent to the kernel")
      .add(static_cast<double>(outcome.stats.messages));
  registry_.counter("fairlead_proxy_kernel_bytes_total", "Bytes sent to the kernel")
      .add(static_cast<double>(outcome.stats.bytes));
}

void ProxyMetrics::failed(IpFamily family, const Outcome& outcome) {
  const auto count = [&](const Metric& metric) {
    registry_.counter(metric.name, metric.help, of(family)).add();
  };
  count(kFailures);
  if (config_.mode == "nftables") count(kNftablesFailures);
  if (config_.mode == "iptables") count(outcome.full ? kRestoreFailures : kPartialFailures);
  if (config_.mode == "ipvs") count(kRestoreFailures);
}

void ProxyMetrics::finished(IpFamily family, const Outcome& outcome, WallTime now) {
  const Metric& kind = outcome.full ? kFullSync : kPartialSync;
  for (const Metric& metric : {kSync, kind}) {
    registry_.histogram(metric.name, metric.help, sync_buckets(), of(family))
        .observe(seconds(outcome.duration));
  }
  registry_.gauge(kLastSync.name, kLastSync.help, of(family)).set(seconds(now));
  auto latency =
      registry_.histogram(kProgramming.name, kProgramming.help, latency_buckets(), of(family));
  for (const WallTime trigger : outcome.triggers) latency.observe(seconds(now - trigger));
}

void ProxyMetrics::rules(const std::vector<plan::RuleCount>& counts) {
  for (const plan::RuleCount& count : counts) {
    const Labels labels = of(count.family, {{"table", count.table}});
    registry_.gauge(kRules.name, kRules.help, labels).set(static_cast<double>(count.total));
    registry_.gauge(kRulesLast.name, kRulesLast.help, labels).set(static_cast<double>(count.last));
  }
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
      registry_.gauge(kNoLocal.name, kNoLocal.help, of(family, {{"traffic_policy", policy}}))
          .set(static_cast<double>(count));
    }
  }
}

void ProxyMetrics::observe(const Syncer& syncer, const model::Counts& counts) {
  registry_.counter(kServiceChanges.name, kServiceChanges.help)
      .add(static_cast<double>(counts.service_changes - last_counts_.service_changes));
  registry_.counter(kEndpointChanges.name, kEndpointChanges.help)
      .add(static_cast<double>(counts.slice_changes - last_counts_.slice_changes));
  last_counts_ = counts;
  const model::Counts pending = syncer.pending_changes();
  registry_.gauge(kServicePending.name, kServicePending.help)
      .set(static_cast<double>(pending.service_changes));
  registry_.gauge(kEndpointPending.name, kEndpointPending.help)
      .set(static_cast<double>(pending.slice_changes));
  if (const auto queued = syncer.health().last_queued) {
    for (const IpFamily family : config_.families) {
      registry_.gauge(kLastQueued.name, kLastQueued.help, of(family)).set(seconds(*queued));
    }
  }
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

void ProxyMetrics::api_request(const std::string& method, const std::string& host, unsigned status,
                               Duration duration) {
  registry_
      .counter(kRequests.name, kRequests.help,
               {{"code", status == 0 ? "<error>" : fmt::format("{}", status)},
                {"method", method},
                {"host", host}})
      .add();
  registry_
      .histogram(kRequestDuration.name, kRequestDuration.help, request_buckets(),
                 {{"verb", method}, {"host", host}})
      .observe(seconds(duration));
}

std::string ProxyMetrics::serialize() {
  metrics::report_process(registry_);
  return registry_.serialize() + traffic_text(traffic_);
}

}  // namespace fairlead::proxy
