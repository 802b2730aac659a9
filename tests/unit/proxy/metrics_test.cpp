// The names, types, labels and buckets that dashboards made for kube-proxy 1.36 ask for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "base/log.hpp"
#include "proxy/surfaces.hpp"

namespace fairlead::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

ProxyMetrics make(const std::string& mode) {
  return ProxyMetrics({.families = {IpFamily::V4, IpFamily::V6}, .mode = mode});
}

// "name type {labels}", label values of families and buckets left out.
std::set<std::string> inventory(const std::string& text) {
  std::set<std::string> out;
  std::istringstream lines(text);
  std::string name, type;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, keyword;
    if (line.starts_with("# TYPE ")) {
      words >> hash >> keyword >> name >> type;
      continue;
    }
    if (line.starts_with("#") || line.find("_bucket{") != std::string::npos) continue;
    const auto open = line.find('{');
    std::string labels;
    if (open != std::string::npos) {
      std::istringstream list(line.substr(open + 1, line.find('}') - open - 1));
      for (std::string label; std::getline(list, label, ',');) {
        labels += (labels.empty() ? "" : ",") + label.substr(0, label.find('='));
      }
    }
    out.insert(fmt::format("{} {} {{{}}}", name, type, labels));
  }
  return out;
}

const std::vector<std::string> kOfAllModes = {
    "kubeproxy_conntrack_reconciler_deleted_entries_total counter {ip_family}",
    "kubeproxy_conntrack_reconciler_sync_duration_seconds histogram {ip_family}",
    "kubeproxy_network_programming_duration_seconds histogram {ip_family}",
    "kubeproxy_proxy_healthz_total counter {code}",
    "kubeproxy_proxy_livez_total counter {code}",
    "kubeproxy_sync_full_proxy_rules_duration_seconds histogram {ip_family}",
    "kubeproxy_sync_partial_proxy_rules_duration_seconds histogram {ip_family}",
    "kubeproxy_sync_proxy_rules_duration_seconds histogram {ip_family}",
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending gauge {}",
    "kubeproxy_sync_proxy_rules_endpoint_changes_total counter {}",
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge {ip_family}",
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge {ip_family}",
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total gauge {ip_family,traffic_policy}",
    "kubeproxy_sync_proxy_rules_service_changes_pending gauge {}",
    "kubeproxy_sync_proxy_rules_service_changes_total counter {}",
};

struct ModeCase {
  std::string mode;
  std::vector<std::string> more;
};

TEST(ProxyMetrics, AreThoseOfKubeProxyInEachMode) {
  for (const ModeCase& c : {
           ModeCase{.mode = "nftables",
                    .more = {"kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total counter "
                             "{ip_family}",
                             "kubeproxy_sync_proxy_rules_nftables_sync_failures_total counter "
                             "{ip_family}"}},
           ModeCase{.mode = "iptables",
                    .more = {"kubeproxy_sync_proxy_rules_iptables_last gauge {ip_family,table}",
                             "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total "
                             "counter {ip_family}",
                             "kubeproxy_sync_proxy_rules_iptables_restore_failures_total counter "
                             "{ip_family}",
                             "kubeproxy_sync_proxy_rules_iptables_total gauge {ip_family,table}"}},
           ModeCase{.mode = "ipvs",
                    .more = {"kubeproxy_sync_proxy_rules_iptables_restore_failures_total counter "
                             "{ip_family}"}},
       }) {
    SCOPED_TRACE(c.mode);
    ProxyMetrics metrics = make(c.mode);
    metrics.probed("healthz", 200);
    metrics.probed("livez", 503);
    std::set<std::string> wanted(kOfAllModes.begin(), kOfAllModes.end());
    wanted.insert(c.more.begin(), c.more.end());
    std::set<std::string> found = inventory(metrics.serialize());
    std::erase_if(found, [](const std::string& line) { return !line.starts_with("kubeproxy_"); });
    EXPECT_THAT(found, ElementsAreArray(wanted));
  }
}

// Upper bounds of the first histogram of that name.
std::vector<std::string> bounds(const std::string& text, const std::string& name) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + "_bucket{ip_family=\"IPv4\"")) continue;
    const auto at = line.find("le=\"") + 4;
    out.push_back(line.substr(at, line.find('"', at) - at));
  }
  return out;
}

TEST(ProxyMetrics, BucketsAreThoseOfKubeProxy) {
  const std::string text = make("nftables").serialize();
  const std::vector<std::string> sync = {"0.001", "0.002", "0.004",  "0.008", "0.016", "0.032",
                                         "0.064", "0.128", "0.256",  "0.512", "1.024", "2.048",
                                         "4.096", "8.192", "16.384", "+Inf"};
  for (const std::string name : {"sync_proxy_rules", "sync_full_proxy_rules",
                                 "sync_partial_proxy_rules", "conntrack_reconciler_sync"}) {
    EXPECT_EQ(bounds(text, "kubeproxy_" + name + "_duration_seconds"), sync) << name;
  }
  std::vector<std::string> latency{"0.25", "0.5"};
  for (int s = 1; s < 60; ++s) latency.push_back(std::to_string(s));
  for (int s = 60; s < 120; s += 5) latency.push_back(std::to_string(s));
  for (int s = 120; s <= 300; s += 30) latency.push_back(std::to_string(s));
  latency.emplace_back("+Inf");
  EXPECT_EQ(bounds(text, "kubeproxy_network_programming_duration_seconds"), latency);
}

TEST(ProxyMetrics, CountWhatAnOutcomeSays) {
  ProxyMetrics metrics = make("iptables");
  metrics.finished({.full = true,
                    .flows = {{IpFamily::V6, {.stats = {.deleted = 3}, .duration = 1s}}},
                    .duration = 3s,
                    .triggers = {WallTime{100s}}},
                   WallTime{102s});
  metrics.finished({.error = make_error(ErrorCode::Internal, "no")}, WallTime{103s});
  metrics.rules({{.family = IpFamily::V4, .table = "nat", .total = 7, .last = 2}});
  metrics.api_request("GET", "api:6443", 0, 1s);
  const std::string text = metrics.serialize();
  for (const std::string line : {
           "sync_full_proxy_rules_duration_seconds_sum{ip_family=\"IPv4\"} 3",
           "sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 0",
           "network_programming_duration_seconds_sum{ip_family=\"IPv6\"} 2",
           "conntrack_reconciler_deleted_entries_total{ip_family=\"IPv6\"} 3",
           "conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0",
           "sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 102",
           "sync_proxy_rules_iptables_partial_restore_failures_total{ip_family=\"IPv4\"} 1",
           "sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv4\"} 0",
           "sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} 7",
           "sync_proxy_rules_iptables_last{ip_family=\"IPv4\",table=\"nat\"} 2",
       }) {
    EXPECT_THAT(text, HasSubstr("\nkubeproxy_" + line + "\n"));
  }
  EXPECT_THAT(text, HasSubstr(R"(rest_client_requests_total{code="<error>",host="api:6443",)"
                              R"(method="GET"} 1)"));
}

// ---- which path says what -----------------------------------------------------------------------

struct PathCase {
  std::string method = "GET", target;
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8", body;
};

TEST(MetricsSurface, AnswersAsKubeProxys) {
  Config config;
  MetricsSurface surface(
      {.config = &config, .mode = "iptables", .metrics = [] { return std::string("up 1\n"); }});
  const std::string metrics_type = "text/plain; version=0.0.4; charset=utf-8";
  for (const PathCase& c : {
           PathCase{.target = "/metrics/slis", .type = metrics_type, .body = ""},
           PathCase{.target = "/healthz", .body = "ok"},
           PathCase{.target = "/healthz?verbose", .body = "[+]ping ok\nhealthz check passed\n"},
           PathCase{.target = "/proxyMode", .body = "iptables"},
           PathCase{.target = "/metrics", .type = metrics_type, .body = "up 1\n"},
           PathCase{.target = "/", .status = 404, .body = "404 page not found\n"},
           PathCase{.method = "PUT",
                    .target = "/debug/flags/v",
                    .status = 404,
                    .body = "404 page not found\n"},
       }) {
    SCOPED_TRACE(c.method + " " + c.target);
    const auto out = surface.answer({.method = c.method, .target = c.target, .body = "2"});
    EXPECT_EQ(out.status, c.status);
    EXPECT_EQ(io::find_header(out.headers, "Content-Type"), c.type);
    EXPECT_EQ(out.body, c.body);
  }
  EXPECT_THAT(surface.answer({.target = "/configz"}).body,
              HasSubstr(R"({"kubeproxy.config.k8s.io":{)"));
  EXPECT_THAT(surface.answer({.target = "/metrics/slis"}).body,
              HasSubstr("kubernetes_healthchecks_total{name=\"ping\",status=\"success\","
                        "type=\"healthz\"} 2"));
}

TEST(MetricsSurface, LogCanBeMadeToSayMoreWhereProfilingIsOn) {
  Config config;
  config.enable_profiling = true;
  MetricsSurface surface({.config = &config});
  const auto put = [&](std::string method, std::string body) {
    return surface
        .answer({.method = std::move(method), .target = "/debug/flags/v", .body = std::move(body)})
        .status;
  };
  EXPECT_EQ(put("PUT", "3"), 200U);
  EXPECT_TRUE(log::enabled(3));
  EXPECT_EQ(put("PUT", "loud"), 400U);
  EXPECT_EQ(put("GET", ""), 405U);
  EXPECT_EQ(put("PUT", "0"), 200U);
  EXPECT_FALSE(log::enabled(1));
}

TEST(Metrics, TrafficOfServicesAndEndpointsIsThereAsFarAsTheModeCounts) {
  ProxyMetrics metrics = make("userspace");
  const plan::PlanKey key{.service_port = {.namespace_ = "ns", .name = "web", .port = "http"}};
  metrics.traffic({{.service = key,
                    .connections = 7,
                    .bytes_in = 100,
                    .bytes_out = 200,
                    .failed = 2,
                    .connected_within_ms = {{1, 3}, {2, 2}},
                    .connected_later = 1,
                    .connecting_seconds = 0.5},
                   {.service = key,
                    .endpoint = *SocketAddress::parse("10.0.0.1:8080"),
                    .connections = 4,
                    .active = 1}});
  const std::string text = metrics.serialize();
  const std::string labels =
      R"(ip_family="IPv4",namespace="ns",service="web",port="http",protocol="TCP")";
  const std::string latency = "fairlead_proxy_service_connect_duration_seconds";
  for (const std::string& line : {
           "fairlead_proxy_service_connections_total{" + labels + "} 7\n",
           "fairlead_proxy_service_sent_bytes_total{" + labels + "} 200\n",
           "fairlead_proxy_service_connections_failed_total{" + labels + "} 2\n",
           "fairlead_proxy_endpoint_active_connections{" + labels +
               ",endpoint=\"10.0.0.1:8080\"} 1\n",
           latency + "_bucket{" + labels + ",le=\"0.001\"} 3\n",
           latency + "_bucket{" + labels + ",le=\"0.002\"} 5\n",
           latency + "_bucket{" + labels + ",le=\"+Inf\"} 6\n",
           latency + "_sum{" + labels + "} 0.5\n",
           latency + "_count{" + labels + "} 6\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("connection_retries_total{"))) << "not counted";
}

TEST(HealthSurface, HasTwoPathsAndCountsWhatItSaid) {
  ProxyMetrics metrics = make("nftables");
  const HealthInputs leaving = {.sync_period = 30s, .families = {IpFamily::V4}};
  EXPECT_EQ(answer_health({.target = "/healthz"}, leaving, metrics).status, 503U);
  EXPECT_EQ(answer_health({.method = "POST", .target = "/livez?x"}, leaving, metrics).status, 200U);
  EXPECT_EQ(answer_health({.target = "/readyz"}, leaving, metrics).status, 404U);
  const std::string text = metrics.serialize();
  EXPECT_THAT(text, HasSubstr("kubeproxy_proxy_healthz_total{code=\"503\"} 1"));
  EXPECT_THAT(text, HasSubstr("kubeproxy_proxy_livez_total{code=\"200\"} 1"));
}

}  // namespace
}  // namespace fairlead::proxy
