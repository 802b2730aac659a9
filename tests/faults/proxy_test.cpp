// fairlead-proxy as a program: what it does to the kernel, and what happens to it when the API
// server, the kernel, an operator or its own death get in the way.
#include <algorithm>
#include <sstream>

#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kWeb[] = "10.96.0.80";
using Backends = std::vector<std::string>;

class ProxyTest : public ClusterTest {
 protected:
  // A cluster with one Service of one endpoint and the proxy in step with it.
  void start_cluster() {
    start_api();
    create_node();
    create_service("web", kWeb);
    put_endpoints("web", {"10.0.0.1"});
  }
  static bool shows(Program& proxy, const Backends& wanted) {
    const bool seen = proxy.until([&] { return backends(kWeb) == wanted; });
    EXPECT_EQ(backends(kWeb), wanted) << proxy.log();
    return seen;
  }
  unsigned status(std::uint16_t port, const std::string& path) {
    const auto answer = ask(port, path);
    return answer ? answer->status : 0;
  }
};

TEST_F(ProxyTest, KernelFollowsTheCluster) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  put_endpoints("web", {"10.0.0.1", "10.0.0.2"});
  EXPECT_TRUE(shows(proxy, {"10.0.0.1:8080", "10.0.0.2:8080"}));
  put_endpoints("web", {});
  EXPECT_TRUE(shows(proxy, {}));
  EXPECT_THAT(nft("list set ip fairlead no-endpoints"), HasSubstr(kWeb));
  remove("/api/v1/namespaces/default/services/web");
  EXPECT_TRUE(proxy.until([] { return ruleset().find(kWeb) == std::string::npos; })) << ruleset();
}

TEST_F(ProxyTest, AddressesNobodyHasAreDroppedWhereTheRangeIsKnown) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  const auto dropped = [] { return nft("list chain ip fairlead check-cluster-ips"); };
  EXPECT_TRUE(proxy.until([&] {
    return dropped().find("ip daddr 10.96.0.0/16 drop") != std::string::npos;
  })) << dropped();
  create("/apis/networking.k8s.io/v1/servicecidrs",
         R"({"metadata":{"name":"more"},"spec":{"cidrs":["10.97.0.0/16"]}})");
  EXPECT_TRUE(proxy.until([&] { return dropped().find("10.97.0.0/16") != std::string::npos; }))
      << dropped();
  remove("/apis/networking.k8s.io/v1/servicecidrs/more");
  EXPECT_TRUE(proxy.until([&] { return dropped().find("10.97.0.0") == std::string::npos; }))
      << dropped();
  EXPECT_THAT(dropped(), HasSubstr("ip daddr 10.96.0.0/16 drop"));
}

TEST_F(ProxyTest, ProbesAndMetricsAnswerAsKubeProxys) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  put_endpoints("web", {"10.0.0.2"});
  ASSERT_TRUE(shows(proxy, {"10.0.0.2:8080"}));
  ASSERT_TRUE(proxy.says("Rules are in step"));

  const auto healthz = ask(10256, "/healthz");
  ASSERT_TRUE(healthz) << healthz.error().message;
  EXPECT_EQ(healthz->status, 200U);
  EXPECT_EQ(io::find_header(healthz->headers, "Content-Type"), "application/json");
  EXPECT_EQ(io::find_header(healthz->headers, "X-Content-Type-Options"), "nosniff");
  EXPECT_THAT(healthz->body, AllOf(HasSubstr(R"("nodeEligible":true)"), HasSubstr("lastUpdated")));
  EXPECT_THAT(ask(10256, "/livez")->body, Not(HasSubstr("nodeEligible")));
  EXPECT_EQ(status(10256, "/readyz"), 404U) << "kube-proxy has none";
  EXPECT_EQ(ask(10249, "/proxyMode")->body, "nftables");
  EXPECT_EQ(ask(10249, "/healthz")->body, "ok");
  EXPECT_THAT(ask(10249, "/configz")->body, HasSubstr(R"({"kubeproxy.config.k8s.io":{)"));
  EXPECT_EQ(status(10249, "/"), 404U);
  const std::string metrics = ask(10249, "/metrics")->body;
  for (const std::string name :
       {"kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} ",
        "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"} ",
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} ",
        "kubeproxy_sync_proxy_rules_service_changes_total ",
        "kubeproxy_sync_proxy_rules_service_changes_pending 0",
        "kubeproxy_sync_proxy_rules_endpoint_changes_total ",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
        "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 0",
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{",
        "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 1",
        "kubeproxy_proxy_healthz_total{code=\"200\"} 1", "kubeproxy_proxy_livez_total{",
        "kubernetes_build_info{", "process_resident_memory_bytes ", "process_cpu_seconds_total "}) {
    EXPECT_THAT(metrics, HasSubstr("\n" + name));
  }
}

TEST_F(ProxyTest, RulesOutliveTheApiServerAndFollowItAgain) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  const std::string before = ruleset();
  stop_api(SIGKILL);
  ASSERT_TRUE(proxy.says("cannot follow the API server, keeping what is known and retrying"))
      << proxy.log();
  EXPECT_EQ(ruleset(), before);
  EXPECT_EQ(status(10256, "/healthz"), 200U) << "the rules are as good as they were";
  start_api();
  put_endpoints("web", {"10.0.0.7"});
  EXPECT_TRUE(shows(proxy, {"10.0.0.7:8080"}));
  EXPECT_TRUE(proxy.says("following the API server again")) << proxy.log();
}

TEST_F(ProxyTest, ServerThatComesBackWithAnotherStateIsBelieved) {
  start_cluster();
  create_service("old", "10.96.0.81");
  for (int i = 0; i < 20; ++i) put_endpoints("web", {"10.0.0.1", fmt::format("10.0.1.{}", i)});
  put_endpoints("web", {"10.0.0.1"});
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  ASSERT_THAT(ruleset(), HasSubstr("10.96.0.81"));
  stop_api();
  ASSERT_TRUE(proxy.says("cannot follow the API server")) << proxy.log();
  forget_api_data();
  start_api();
  create_service("new", "10.96.0.82");
  EXPECT_TRUE(proxy.until([] {
    const std::string now = ruleset();
    return now.find("10.96.0.82") != std::string::npos && now.find(kWeb) == std::string::npos &&
           now.find("10.96.0.81") == std::string::npos;
  })) << ruleset()
      << proxy.log();
}

TEST_F(ProxyTest, ApiServerMayComeLater) {
  start_api();  // for its kubeconfig
  stop_api();
  Program proxy = start_proxy();
  ASSERT_TRUE(proxy.says("cannot follow the API server")) << proxy.log();
  EXPECT_FALSE(has_table()) << "nothing is known, so nothing is programmed";
  EXPECT_EQ(status(10256, "/healthz"), 503U) << "nobody should send traffic here yet";
  start_cluster();
  EXPECT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  EXPECT_EQ(status(10256, "/healthz"), 200U);
}

// What `nft monitor` tells, from now on.
Program start_monitor() {
  Program out({"sh", "-c", "exec nft monitor >&2"});
  for (int i = 0; i < 200; ++i) {  // until it is listening
    nft(fmt::format("add table ip begin{}", i));
    if (out.says("add table ip begin", 50ms)) return out;
  }
  ADD_FAILURE() << "nft monitor stays silent";
  return out;
}

// The kernel's transactions that fairlead-proxy made, each with all its changes.
std::vector<std::string> generations(const std::string& monitored) {
  std::istringstream text(monitored);
  std::vector<std::string> out;
  std::string changes;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("# new generation")) {
      changes += line + "\n";
    } else if (const auto done = std::exchange(changes, "");
               line.find("(fairlead-proxy)") != std::string::npos) {
      out.push_back(done);
    }
  }
  return out;
}

TEST_F(ProxyTest, KilledProxyLeavesRulesAndTheNextOneTakesThemOver) {
  start_cluster();
  Program first = start_proxy();
  ASSERT_TRUE(shows(first, {"10.0.0.1:8080"}));
  first.signal(SIGKILL);
  ASSERT_TRUE(first.end(5s));
  EXPECT_EQ(backends(kWeb), Backends({"10.0.0.1:8080"}));
  put_endpoints("web", {"10.0.0.2"});

  Program monitor = start_monitor();
  Program second = start_proxy();
  ASSERT_TRUE(second.says("Programmed all rules")) << second.log();
  EXPECT_EQ(backends(kWeb), Backends({"10.0.0.2:8080"})) << "in the very first commit";
  nft("add table ip end");
  ASSERT_TRUE(monitor.says("add table ip end")) << monitor.log();
  // A transaction of the kernel is a "generation". The table was right but for one slot.
  EXPECT_THAT(
      generations(monitor.log()),
      ElementsAre("delete element ip fairlead slots { 10.96.0.80 . tcp . 80 . fa00:0 : 10.0.0.1 . "
                  "8080 }\nadd element ip fairlead slots { 10.96.0.80 . tcp . 80 . fa00:0 : "
                  "10.0.0.2 . 8080 }\n"));
}

TEST_F(ProxyTest, SigtermEndsItAtOnceAndLeavesTheRules) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  const std::string before = ruleset();
  proxy.signal(SIGTERM);
  EXPECT_EQ(proxy.end(1s), (io::ExitStatus{.code = 0})) << proxy.log();
  EXPECT_EQ(ruleset(), before);

  Program cleanup = start_proxy({"--cleanup"});
  EXPECT_EQ(cleanup.end(5s), (io::ExitStatus{.code = 0})) << cleanup.log();
  EXPECT_EQ(ruleset(), "");
  Program again = start_proxy({"--cleanup"});
  EXPECT_EQ(again.end(5s), (io::ExitStatus{.code = 0})) << "nothing left to remove is no failure";
}

TEST_F(ProxyTest, CleanupLeavesTablesOfOthersAlone) {
  nft("add table ip theirs");
  Program cleanup = start_proxy({"--cleanup"});
  EXPECT_EQ(cleanup.end(5s), (io::ExitStatus{.code = 0})) << cleanup.log();
  EXPECT_THAT(ruleset(), HasSubstr("table ip theirs"));
}

// Its lines in a fixed order: tables and elements that were made anew are listed elsewhere.
std::vector<std::string> sorted_ruleset() {
  std::istringstream text(ruleset());
  std::vector<std::string> out;
  for (std::string line; std::getline(text, line);) out.push_back(line);
  std::ranges::sort(out);
  return out;
}

struct Tampering {
  std::string name, command;
};

TEST_F(ProxyTest, WhatSomebodyElseDidIsMended) {
  start_cluster();
  Program proxy = start_proxy();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  const auto before = sorted_ruleset();
  for (const Tampering& tampering : {
           Tampering{.name = "flush", .command = "flush ruleset"},
           Tampering{.name = "table", .command = "delete table ip fairlead"},
           Tampering{
               .name = "element",
               .command = "delete element ip fairlead slots { 10.96.0.80 . tcp . 80 . fa00:0 }"},
           Tampering{.name = "added element",
                     .command = "add element ip fairlead cluster-ips { 192.0.2.1 }"},
           Tampering{.name = "chain", .command = "flush chain ip fairlead dispatch"},
       }) {
    SCOPED_TRACE(tampering.name);
    nft(tampering.command);
    EXPECT_TRUE(proxy.says("Somebody else changed our rules")) << proxy.log();
    EXPECT_TRUE(proxy.until([&] { return sorted_ruleset() == before; })) << ruleset();
  }
  EXPECT_THAT(ask(10249, "/metrics")->body, HasSubstr("fairlead_proxy_drift_repairs_total 5"));
}

TEST_F(ProxyTest, WithoutPermissionItSaysWhatToDo) {
  start_cluster();
  std::vector<std::string> command = {"setpriv", "--bounding-set", "-net_admin", "--inh-caps",
                                      "-net_admin"};
  for (std::string& word : proxy_command()) command.push_back(std::move(word));
  Program proxy(command);
  EXPECT_EQ(proxy.end(10s), (io::ExitStatus{.code = 1})) << proxy.log();
  EXPECT_THAT(proxy.log(), AllOf(HasSubstr("CAP_NET_ADMIN"), HasSubstr("as root")));
  EXPECT_EQ(ruleset(), "");

  command.push_back("--cleanup");
  Program cleanup(command);
  EXPECT_EQ(cleanup.end(10s), (io::ExitStatus{.code = 1})) << cleanup.log();
  EXPECT_THAT(cleanup.log(), HasSubstr("CAP_NET_ADMIN"));
}

TEST_F(ProxyTest, MissingNodeIsSaidAndServicesWorkAllTheSame) {
  start_api();
  create_service("web", kWeb);
  put_endpoints("web", {"10.0.0.1"});
  Program proxy = start_proxy();
  ASSERT_TRUE(proxy.says("The node's IP is not known")) << proxy.log();
  ASSERT_TRUE(shows(proxy, {"10.0.0.1:8080"}));
  EXPECT_EQ(status(10256, "/healthz"), 503U) << "not eligible for traffic from outside";
  EXPECT_EQ(status(10256, "/livez"), 200U);
  create_node();
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  unsigned now = 0;
  while (now != 200 && std::chrono::steady_clock::now() < deadline) now = status(10256, "/healthz");
  EXPECT_EQ(now, 200U);
}

TEST_F(ProxyTest, FileAsKubeadmWritesItWorks) {
  start_cluster();
  const std::string file = machine().write("config.conf",
                                           R"(apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: )" + machine().kubeconfig() + R"(
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
featureGates:
  NFTablesProxyMode: true
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
)");
  Program proxy({program_path("fairlead-proxy"), "--config", file, "--hostname-override", kNode});
  ASSERT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
  EXPECT_EQ(backends(kWeb), Backends({"10.0.0.1:8080"}));
  EXPECT_THAT(ruleset(), HasSubstr("10.244.0.0/16"));
  EXPECT_THAT(proxy.log(), Not(HasSubstr("ignored")));
  EXPECT_EQ(status(10256, "/healthz"), 200U);

  machine().write("config.conf", "changed");  // as kube-proxy: its supervisor starts it anew
  EXPECT_EQ(proxy.end(5s), (io::ExitStatus{.code = 1}));
  EXPECT_THAT(proxy.log(), HasSubstr("configuration file was updated"));
}

}  // namespace
}  // namespace fairlead::faults
