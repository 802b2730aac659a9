// What must not be felt: reloads and changes while connections are made, and what is on the node
// besides us.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "packets/cluster.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"
#include "proxy/leftovers.hpp"

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kPatience = 5s;

constexpr std::string_view kService = R"({
  "kind": "Service", "metadata": {"name": "web"},
  "spec": {"type": "NodePort", "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"],
           "ipFamilies": ["IPv4"], "sessionAffinity": "$AFFINITY",
           "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}})";

std::string service(std::string_view affinity = "None") {
  std::string text(kService);
  return text.replace(text.find("$AFFINITY"), 9, affinity);
}

std::string slice(std::vector<std::string> addresses) {
  std::string endpoints;
  for (const std::string& address : addresses) {
    endpoints += fmt::format(R"({}{{"addresses": ["{}"], "nodeName": "node1"}})",
                             endpoints.empty() ? "" : ",", address);
  }
  return fmt::format(
      R"({{"kind": "EndpointSlice", "addressType": "IPv4", "metadata": {{"name": "web-1",
          "labels": {{"kubernetes.io/service-name": "web"}}}},
          "ports": [{{"name": "http", "port": 8080}}], "endpoints": [{}]}})",
      endpoints);
}

class Disruption : public RigTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    RigTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto cluster = Cluster::create(
        rig(), {.mode = GetParam(), .config = R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                                "kind": "KubeProxyConfiguration", "clusterCIDR": "10.0.0.0/16"})"});
    ASSERT_TRUE(cluster) << cluster.error().message;
    cluster_ = *std::move(cluster);
  }

  void change(const std::vector<std::string>& objects) {
    for (const std::string& object : objects) {
      const auto applied = cluster_->apply(object);
      ASSERT_TRUE(applied) << applied.error().message;
    }
    const auto synced = cluster_->sync();
    ASSERT_TRUE(synced) << synced.error().message;
  }

  std::string connect(std::string from, std::string_view to, Port port) {
    const Send send{.from = std::move(from),
                    .to = {.address = *IpAddress::parse(to), .port = port}};
    return send_all(rig(), {send}, kPatience).front().to_string();
  }

  std::string in_node(std::vector<std::string> argv, std::string_view input = {}) {
    const auto out = Rig::run(rig().node(), std::move(argv), input);
    EXPECT_TRUE(out) << out.error().message;
    return out.value_or("");
  }

  Cluster& cluster() { return *cluster_; }

 private:
  std::unique_ptr<Cluster> cluster_;
};
INSTANTIATE_TEST_SUITE_P(, Disruption,
                         ::testing::Values("nftables", "iptables-nft", "iptables-legacy"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// A packet's way through the rules is longer than the moment of a commit (render.hpp): this fails
// within a few runs when a change takes away what a packet on its way still needs.
TEST_P(Disruption, NoConnectionFailsWhileTheRulesAreReplaced) {
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3", "10.0.1.4"})}));
  std::atomic<bool> over = false;
  std::atomic<int> made = 0;
  std::string failure;  // read after `over`
  std::thread clients([&] {
    while (!over) {
      for (const std::string_view to : {"10.96.0.11:80", "192.168.50.1:30080"}) {
        const auto address = SocketAddress::parse(to);
        const std::string got = connect("pod1", address->address.to_string(), address->port);
        ++made;
        if (got.starts_with("answered by pod")) continue;
        failure = got;
        over = true;
      }
    }
  });
  // Until both have happened often enough to have met.
  for (int i = 0; !over && (i < 100 || made < 400); ++i) {
    const auto reloaded = cluster().program_in_full();
    EXPECT_TRUE(reloaded) << reloaded.error().message;
    change({i % 2 == 0 ? slice({"10.0.1.3"}) : slice({"10.0.1.4", "10.0.1.3"})});
    change({service(i % 3 == 0 ? "ClientIP" : "None")});
    if (HasFailure()) break;
  }
  over = true;
  clients.join();
  EXPECT_EQ(failure, "") << "after " << made << " connections";
}

// A program that was killed leaves its rules; the one that comes after it knows nothing but them,
// and finds a cluster that has changed meanwhile.
TEST_P(Disruption, NoConnectionFailsWhenANewProgramTakesOver) {
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3", "10.0.1.4"})}));
  std::atomic<bool> over = false;
  std::atomic<int> made = 0;
  std::string failure;  // read after `over`
  std::thread clients([&] {
    while (!over) {
      const std::string got = connect("pod1", "10.96.0.11", Port{80});
      ++made;
      if (got.starts_with("answered by pod")) continue;
      failure = got;
      over = true;
    }
  });
  for (int i = 0; !over && (i < 50 || made < 200); ++i) {
    auto next = Cluster::create(
        rig(), {.mode = GetParam(), .config = R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration", "clusterCIDR": "10.0.0.0/16"})"});
    EXPECT_TRUE(next) << next.error().message;
    if (!next) break;
    for (const std::string& object :
         {service(i % 3 == 0 ? "ClientIP" : "None"),
          i % 2 == 0 ? slice({"10.0.1.3"}) : slice({"10.0.1.4", "10.0.1.3"})}) {
      EXPECT_TRUE((*next)->apply(object));
    }
    const auto synced = (*next)->sync();
    EXPECT_TRUE(synced) << synced.error().message;
    if (HasFailure()) break;
  }
  over = true;
  clients.join();
  EXPECT_EQ(failure, "") << "after " << made << " connections";
}

// The old mode's rules go when the new one's are there; in between a packet meets both.
TEST_P(Disruption, NoConnectionFailsWhenAnotherModeTakesOver) {
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3", "10.0.1.4"})}));
  std::atomic<bool> over = false;
  std::atomic<int> made = 0;
  std::string failure;  // read after `over`
  std::thread clients([&] {
    while (!over) {
      const std::string got = connect("pod1", "10.96.0.11", Port{80});
      ++made;
      if (got.starts_with("answered by pod")) continue;
      failure = got;
      over = true;
    }
  });
  const std::vector<std::string> modes = {"nftables", "iptables-nft", "iptables-legacy"};
  std::size_t at = static_cast<std::size_t>(std::ranges::find(modes, GetParam()) - modes.begin());
  for (int i = 0; !over && (i < 12 || made < 200); ++i) {
    at = (at + 1) % modes.size();
    auto next = Cluster::create(
        rig(), {.mode = modes[at], .config = R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration", "clusterCIDR": "10.0.0.0/16"})"});
    EXPECT_TRUE(next) << next.error().message;
    if (!next) break;
    for (const std::string& object : {service(), slice({"10.0.1.3", "10.0.1.4"})}) {
      EXPECT_TRUE((*next)->apply(object));
    }
    const auto synced = (*next)->sync();
    EXPECT_TRUE(synced) << synced.error().message;
    proxy::Leftovers left;
    const auto run = rig().node().network.run([&]() -> Result<void> {
      left = proxy::remove_leftovers((*next)->mode().name(), (*next)->mode().variant());
      return {};
    });
    EXPECT_TRUE(run);
    EXPECT_THAT(left.removed, Not(::testing::IsEmpty())) << "the one before had rules";
    EXPECT_THAT(left.failures, ::testing::IsEmpty());
    if (HasFailure()) break;
  }
  over = true;
  clients.join();
  EXPECT_EQ(failure, "") << "after " << made << " connections";
}

TEST_P(Disruption, OtherBitsOfTheMarkAndThePriorityAreLeftAlone) {
  in_node({"nft", "-f", "-"}, R"(
    add table ip other
    add chain ip other first { type filter hook prerouting priority -200; }
    add rule ip other first meta mark set 0x10000
    # Later than the mark: the kernel itself sets the priority of what it forwards.
    add chain ip other middle { type filter hook forward priority 0; }
    add rule ip other middle meta priority set 1:7
    add chain ip other last { type filter hook postrouting priority 200; }
    add counter ip other kept
    add counter ip other lost
    add rule ip other last tcp dport 8080 tcp flags syn / syn,ack meta mark 0x10000 meta priority 1:7 counter name kept
    add rule ip other last tcp dport 8080 tcp flags syn / syn,ack meta mark != 0x10000 counter name lost
    add rule ip other last tcp dport 8080 tcp flags syn / syn,ack meta priority != 1:7 counter name lost
)");
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3"})}));
  // Masqueraded, so that the mark's own bit was set on the way.
  EXPECT_EQ(connect("outside", "192.168.50.1", Port{30080}),
            "answered by pod2:8080, which saw 10.0.1.1");
  EXPECT_THAT(in_node({"nft", "list", "counter", "ip", "other", "kept"}), HasSubstr("packets 1"));
  EXPECT_THAT(in_node({"nft", "list", "counter", "ip", "other", "lost"}), HasSubstr("packets 0"));
}

TEST_P(Disruption, ForeignTablesSurviveEverythingWeDo) {
  in_node({"nft", "-f", "-"}, R"(
    add table ip other
    add chain ip other nat { type nat hook prerouting priority -100; }
    add rule ip other nat tcp dport 9999 dnat to 10.0.1.3:8080
    add table inet fairlead-not-ours
    add set inet fairlead-not-ours numbers { type inet_service; elements = { 1, 2 } }
)");
  const std::string before = in_node({"nft", "list", "ruleset"});
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3"})}));
  EXPECT_THAT(in_node({"nft", "list", "ruleset"}), HasSubstr(before));
  EXPECT_THAT(connect("outside", "192.168.50.1", Port{9999}), StartsWith("answered by pod2:8080"));
  change({slice({"10.0.1.4"})});
  ASSERT_TRUE(cluster().program_in_full());
  const auto cleaned = cluster().mode().cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  const std::string after = in_node({"nft", "list", "ruleset"});
  if (GetParam() != "iptables-nft") {
    EXPECT_EQ(after, before);
  } else {
    EXPECT_THAT(after, HasSubstr(before));  // its built-in chains stay, empty
    EXPECT_THAT(after, Not(HasSubstr("KUBE")));
  }
}

TEST_P(Disruption, RulesStayWhenTheProgramGoes) {
  ASSERT_NO_FATAL_FAILURE(change({service(), slice({"10.0.1.3"})}));
  {
    auto second = Cluster::create(
        rig(), {.mode = GetParam(), .config = R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration", "clusterCIDR": "10.0.0.0/16"})"});
    ASSERT_TRUE(second) << second.error().message;
    ASSERT_TRUE((*second)->apply(service()));
    ASSERT_TRUE((*second)->apply(slice({"10.0.1.4"})));
    ASSERT_TRUE((*second)->sync());
  }
  EXPECT_EQ(connect("pod1", "10.96.0.11", Port{80}), "answered by pod3:8080, which saw 10.0.1.2");
  if (GetParam() == "iptables-legacy") return;  // where only audits see what changed
  // The one that was there first learns that somebody else was at its rules.
  const auto tampered = cluster().mode().tampered();
  ASSERT_TRUE(tampered) << tampered.error().message;
  EXPECT_TRUE(*tampered);
}

}  // namespace
}  // namespace fairlead::packets
