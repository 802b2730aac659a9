// Services nobody would write, changed at random, and packets to all of their addresses: the kernel
// must do what explain says. The seed is in the test's name; a failure comes again with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "packets/cluster.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;

constexpr int kServices = 4;
constexpr int kRounds = 8;
constexpr auto kPatience = 5s;
constexpr auto kSilence = 200ms;

// The objects of one cluster, as JSON with "${name}"s.
class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}

  bool likely(double probability) { return std::bernoulli_distribution(probability)(random_); }

  template <class T>
  T one_of(std::initializer_list<T> values) {
    return *(values.begin() +
             std::uniform_int_distribution<std::ptrdiff_t>(0, std::ssize(values) - 1)(random_));
  }

  std::string config() {
    return fmt::format(
        R"({{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "clusterCIDR": "{0}", "nftables": {{"masqueradeAll": {1}}},
            "iptables": {{"masqueradeAll": {1}}}, "nodePortAddresses": [{2}]}})",
        one_of({"${cluster_cidr}", "${cluster_cidr}", "${pods1_range}", ""}), likely(0.2),
        one_of({"", "\"${pods1_range}\", \"${lan_range}\"", "\"${everybody}\""}));
  }

  std::string service(int i) {
    const auto ingress = [&] {
      return fmt::format(R"({{"ip": "${{balancer{}}}", "ipMode": "{}"}})", 1 + i % 2,
                         one_of({"VIP", "VIP", "Proxy"}));
    };
    return fmt::format(
        R"({{"kind": "Service", "metadata": {{"name": "s{0}"}}, "spec": {{"type": "{1}",
            "clusterIP": "${{vip{2}}}", "clusterIPs": ["${{vip{2}}}"], "ipFamilies": ["${{family}}"],
            "externalTrafficPolicy": "{3}", "internalTrafficPolicy": "{4}",
            "sessionAffinity": "{5}", "externalIPs": [{6}], "loadBalancerSourceRanges": [{7}],
            "ports": [{{"name": "a", "port": 80, "nodePort": {8}}},
                      {{"name": "b", "port": 53, "protocol": "UDP", "nodePort": {9}}}]}},
            "status": {{"loadBalancer": {{"ingress": [{10}]}}}}}})",
        i, one_of({"ClusterIP", "NodePort", "LoadBalancer"}), i + 1, one_of({"Cluster", "Local"}),
        one_of({"Cluster", "Cluster", "Local"}), one_of({"None", "None", "ClientIP"}),
        likely(0.4) ? "\"${external1}\"" : "", ranges(), likely(0.7) ? 30080 + i : 0,
        likely(0.7) ? 30080 + i : 0, likely(0.5) ? ingress() : "");
  }

  std::string slice(int i) {
    std::string endpoints;
    for (int pod = 1; pod <= 5; ++pod) {
      if (!likely(0.45)) continue;
      endpoints += fmt::format(
          R"({}{{"addresses": ["${{pod{}}}"], "nodeName": "{}", "conditions": {}}})",
          endpoints.empty() ? "" : ",", pod, pod < 4 ? "node1" : "node2",
          one_of({R"({"ready": true})", R"({"ready": true})", R"({})", R"({"ready": false})",
                  R"({"ready": false, "serving": true, "terminating": true})"}));
    }
    return fmt::format(
        R"({{"kind": "EndpointSlice", "addressType": "${{family}}", "metadata": {{"name": "s{0}-1",
            "labels": {{"kubernetes.io/service-name": "s{0}"}}}}, "ports": [
            {{"name": "a", "port": {1}}}, {{"name": "b", "port": 8081, "protocol": "UDP"}}],
            "endpoints": [{2}]}})",
        i, one_of({8080, 8080, 8081}), endpoints);
  }

 private:
  std::string ranges() {
    std::string out;
    if (!likely(0.5)) return out;
    for (const std::string_view range : {"${outside_range}", "${lan_range}", "${pod1_range}",
                                         "${pods1_range}", "${node1_range}"}) {
      if (likely(0.35)) out += fmt::format("{}\"{}\"", out.empty() ? "" : ",", range);
    }
    return out;
  }

  std::mt19937 random_;
};

struct Case {
  IpFamily family = IpFamily::V4;
  unsigned seed = 0;
  std::string mode = "nftables";
};

std::vector<Case> all_cases() {
  std::vector<Case> out = {{IpFamily::V4, 1},
                           {IpFamily::V6, 2},
                           {IpFamily::V4, 3},
                           {IpFamily::V6, 4},
                           {IpFamily::V4, 5, "iptables-nft"},
                           {IpFamily::V6, 6, "iptables-nft"},
                           {IpFamily::V4, 7, "iptables-legacy"},
                           {IpFamily::V6, 8, "iptables-large"}};
  if (std::filesystem::exists("/proc/net/ip_vs")) {
    out.push_back({IpFamily::V4, 1, "ipvs"});
    out.push_back({IpFamily::V6, 2, "ipvs"});
  }
  return out;
}

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest asks for this name
void PrintTo(const Case& value, std::ostream* out) { *out << "seed " << value.seed; }

class RandomPackets : public RigTest, public ::testing::WithParamInterface<Case> {
 protected:
  std::string expand(std::string_view text) { return Rig::expand(text, GetParam().family); }

  // From everybody to everything.
  std::vector<Send> all_sends() {
    std::vector<SocketAddress> to;
    for (const std::string_view name : {"${vip1}", "${vip2}", "${vip3}", "${vip4}", "${external1}",
                                        "${balancer1}", "${balancer2}", "${unallocated}"}) {
      for (const Port port : {Port{80}, Port{53}, Port{81}})
        to.push_back({.address = *IpAddress::parse(expand(name)), .port = port});
    }
    for (const std::string_view name : {"${node1}", "${bridge1}"}) {
      for (std::uint16_t i = 0; i < kServices; ++i) {
        to.push_back({.address = *IpAddress::parse(expand(name)),
                      .port = Port{static_cast<std::uint16_t>(30080 + i)}});
      }
    }
    std::vector<Send> out;
    for (const std::string from : {"pod1", "pod2", "node1", "outside"}) {
      for (const unsigned client : {0U, 1U}) {
        if (client > 0 && from != "outside") continue;
        for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
          for (const SocketAddress& one : to) {
            Send send{.from = from, .protocol = protocol, .to = one};
            if (from == "outside")
              send.source = rig().host(from).addresses.at(GetParam().family).at(client);
            out.push_back(std::move(send));
          }
        }
      }
    }
    return out;
  }

  static bool is_bound(const Cluster& cluster, const IpAddress& address) {
    return std::ranges::any_of(cluster.plan().services, [&](const auto& entry) {
      return std::ranges::find(entry.second->frontends, address, &plan::Frontend::address) !=
             entry.second->frontends.end();
    });
  }

  // What explain leaves possible, in the words of Outcome::to_string().
  std::set<std::string> possible(const Cluster& cluster, const Send& send,
                                 const IpAddress& source) {
    const auto explanation = cluster.explain(rig().host(send.from), send.protocol, source, send.to);
    switch (explanation.verdict) {
      case plan::Verdict::Reject:
        return {"refused"};
      case plan::Verdict::Drop:
        return {"no answer"};
      case plan::Verdict::NotAService:
        if (rig().owner_of(send.to.address) == "node1" ||
            send.to.address == *IpAddress::parse(expand("${bridge1}")))
          return {"refused"};
        // There a service's address is one of the node's.
        if (GetParam().mode == "ipvs" && is_bound(cluster, send.to.address)) return {"refused"};
        return {fmt::format("answered by internet:7, which saw {}", source)};
      case plan::Verdict::Forward:
        break;
    }
    // And what the node sends itself would come from there.
    const bool from_node = GetParam().mode == "ipvs" && send.from == "node1";
    std::set<std::string> out;
    for (const plan::EndpointShare& share : explanation.endpoints) {
      const IpAddress& at = share.backend.address;
      out.insert(
          fmt::format("answered by {}:{}, which saw {}", rig().owner_of(at), share.backend.port,
                      share.masqueraded || from_node ? Rig::masquerade_address(at) : source));
    }
    return out;
  }

  // Those that should be answered are waited for as long as it takes; silence has its time.
  void compare_all(const Cluster& cluster) {
    std::vector<Send> answered;
    std::vector<Send> silent;
    for (Send& send : all_sends()) {
      const IpAddress source =
          send.source.value_or(rig().host(send.from).addresses.at(GetParam().family).front());
      const bool drop = possible(cluster, send, source).contains("no answer");
      (drop ? silent : answered).push_back(std::move(send));
    }
    compare(cluster, answered, kPatience);
    compare(cluster, silent, kSilence);
  }

  void compare(const Cluster& cluster, const std::vector<Send>& sends,
               std::chrono::milliseconds patience) {
    const std::vector<Outcome> outcomes = send_all(rig(), sends, patience);
    for (std::size_t i = 0; i < sends.size(); ++i) {
      EXPECT_THAT(possible(cluster, sends[i], outcomes[i].source),
                  ::testing::Contains(outcomes[i].to_string()))
          << sends[i].from << " -> " << sends[i].to.to_string() << "/"
          << fairlead::to_string(sends[i].protocol) << "\n"
          << plan::to_text(cluster.explain(rig().host(sends[i].from), sends[i].protocol,
                                           outcomes[i].source, sends[i].to));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, RandomPackets, ::testing::ValuesIn(all_cases()), [](const auto& param) {
  const Case& c = param.param;
  std::string name = fmt::format("{}_{}_seed{}", c.mode, c.family, c.seed);
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST_P(RandomPackets, DoWhatExplainSays) {
  Dice dice(GetParam().seed);
  std::vector<IpPrefix> cidrs;
  if (dice.likely(0.5)) cidrs.push_back(*IpPrefix::parse(expand("${service_cidr}")));
  auto created = Cluster::create(
      rig(), {.mode = GetParam().mode, .config = expand(dice.config()), .service_cidrs = cidrs});
  ASSERT_TRUE(created) << created.error().message;
  Cluster& cluster = **created;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    for (int i = 0; i < kServices; ++i) {
      if (round > 0 && dice.likely(0.5)) continue;
      if (dice.likely(0.15)) {
        ASSERT_TRUE(cluster.remove({.kind = "Service", .name = fmt::format("s{}", i)}));
      } else if (dice.likely(0.6) || round == 0) {
        ASSERT_TRUE(cluster.apply(expand(dice.service(i))));
      }
      ASSERT_TRUE(cluster.apply(expand(dice.slice(i))));
    }
    const auto synced = cluster.sync();
    ASSERT_TRUE(synced) << synced.error().message;
    const auto differences = cluster.mode().verify(cluster.plan(), 20);
    ASSERT_TRUE(differences) << differences.error().message;
    ASSERT_THAT(*differences, ::testing::IsEmpty());
    compare_all(cluster);
  }
}

}  // namespace
}  // namespace fairlead::packets
