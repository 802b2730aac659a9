// Services nobody would write, changed at random, and packets to all of their addresses: the kernel
// must do what explain says, in every mode. The seed is in the test's name; a failure comes again
// with it, and is printed with the smallest set of objects that still shows it.
//
// FAIRLEAD_RANDOM_SEEDS=1000:50 runs fifty other seeds, each in every mode.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/text.hpp"
#include "packets/cluster.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"
#include "packets/shrink.hpp"

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

  // Of one or two; an endpoint may be in both.
  std::string slice(int i, int number) {
    std::string endpoints;
    const bool hinted = likely(0.4);
    for (int pod = 1; pod <= 5; ++pod) {
      if (!likely(number == 1 ? 0.45 : 0.2)) continue;
      endpoints += fmt::format(
          R"({}{{"addresses": ["${{pod{}}}"], "nodeName": "{}", "conditions": {}{}}})",
          endpoints.empty() ? "" : ",", pod, pod < 4 ? "node1" : "node2",
          one_of({R"({"ready": true})", R"({"ready": true})", R"({})", R"({"ready": false})",
                  R"({"ready": false, "serving": true, "terminating": true})"}),
          hinted ? hints() : "");
    }
    return fmt::format(
        R"({{"kind": "EndpointSlice", "addressType": "${{family}}",
            "metadata": {{"name": "s{0}-{3}",
            "labels": {{"kubernetes.io/service-name": "s{0}"}}}}, "ports": [
            {{"name": "a", "port": {1}}}, {{"name": "b", "port": 8081, "protocol": "UDP"}}],
            "endpoints": [{2}]}})",
        i, one_of({8080, 8080, 8081}), endpoints, number);
  }

  std::string node() {
    return fmt::format(
        R"({{"kind": "Node", "metadata": {{"name": "node1", "labels": {{{0}}}}},
            "spec": {{"podCIDRs": ["${{pods1_range}}"]}},
            "status": {{"addresses": [{{"type": "InternalIP", "address": "${{node1}}"}}]}}}})",
        likely(0.6) ? R"("topology.kubernetes.io/zone": "z1")" : "");
  }

 private:
  std::string hints() {
    if (likely(0.1)) return "";
    return fmt::format(
        R"(, "hints": {{{}}})",
        one_of({R"("forZones": [{"name": "z1"}])", R"("forZones": [{"name": "z2"}])",
                R"("forZones": [{"name": "z1"}, {"name": "z2"}])",
                R"("forNodes": [{"name": "node1"}])", R"("forNodes": [{"name": "node2"}])"}));
  }
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

std::vector<std::string> modes_here() {
  std::vector<std::string> out = {
      "nftables",  "iptables-nft",        "iptables-legacy",      "iptables-large",
      "userspace", "userspace-addresses", "userspace-transparent"};
  if (std::filesystem::exists("/proc/net/ip_vs")) out.emplace_back("ipvs");
  return out;
}

// Every mode has its turn with a few seeds, in both families.
std::vector<Case> all_cases() {
  std::vector<Case> out;
  const char* wanted = std::getenv("FAIRLEAD_RANDOM_SEEDS");
  const std::vector<std::string_view> parts = split(wanted == nullptr ? "" : wanted, ':');
  if (parts.size() == 2) {
    const auto first = static_cast<unsigned>(parse_int(parts[0]).value_or(1));
    const auto count = static_cast<unsigned>(parse_int(parts[1]).value_or(1));
    for (unsigned seed = first; seed < first + count; ++seed) {
      const IpFamily family = seed % 2 == 0 ? IpFamily::V6 : IpFamily::V4;
      for (const std::string& mode : modes_here()) out.push_back({family, seed, mode});
    }
    return out;
  }
  unsigned seed = 0;
  for (const std::string& mode : modes_here()) {
    out.push_back({IpFamily::V4, ++seed, mode});
    out.push_back({IpFamily::V6, ++seed, mode});
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

  IpAddress source_of(const Send& send) {
    return send.source.value_or(rig().host(send.from).addresses.at(GetParam().family).front());
  }

  plan::Explanation explain(const Cluster& cluster, const Send& send) {
    return cluster.explain(rig().host(send.from), send.protocol, source_of(send), send.to);
  }

  // Where a service's address is one of the node's.
  bool binds_addresses() const {
    return GetParam().mode == "ipvs" || GetParam().mode == "userspace-addresses";
  }
  // There a deleted service's address stays, and refuses, until the end of its last connection has
  // been seen; of one that was closed just before, a busy machine may not have seen it yet.
  bool leaves_late(const IpAddress& address, const plan::Explanation& explanation) const {
    return binds_addresses() && !explanation.service && bound_.contains(address);
  }

  // What explain leaves possible, in the words of Outcome::to_string().
  std::set<std::string> possible(const Cluster& cluster, const Send& send,
                                 const IpAddress& source) {
    const auto explanation = cluster.explain(rig().host(send.from), send.protocol, source, send.to);
    std::set<std::string> out;
    switch (explanation.verdict) {
      case plan::Verdict::Reject:
        return {"refused"};
      case plan::Verdict::Drop:
        if (leaves_late(send.to.address, explanation)) return {"no answer", "refused"};
        // What a service refuses there it refuses to those as well whom its ranges exclude.
        if (GetParam().mode == "userspace-addresses" && explanation.service) {
          return {"no answer", "refused"};
        }
        return {"no answer"};
      case plan::Verdict::NotAService:
        if (rig().owner_of(send.to.address) == "node1" ||
            send.to.address == *IpAddress::parse(expand("${bridge1}")))
          return {"refused"};
        if (binds_addresses() && is_bound(cluster, send.to.address)) return {"refused"};
        out = {fmt::format("answered by internet:7, which saw {}", source)};
        if (leaves_late(send.to.address, explanation)) out.insert("refused");
        return out;
      case plan::Verdict::Forward:
        break;
    }
    // What the node sends itself would come from there.
    const bool from_node = GetParam().mode == "ipvs" && send.from == "node1";
    for (const plan::EndpointShare& share : explanation.endpoints) {
      const IpAddress& at = share.backend.address;
      const std::string host = rig().owner_of(at);
      const bool sees_node =
          share.masqueraded || from_node || cluster.asks_for_itself(send, rig().host(host));
      out.insert(fmt::format("answered by {}:{}, which saw {}", host, share.backend.port,
                             sees_node ? Rig::masquerade_address(at) : source));
    }
    return out;
  }

  // Those that should be answered are waited for as long as it takes; silence has its time.
  std::vector<Outcome> send_as_explained(const Cluster& cluster, const std::vector<Send>& sends) {
    std::vector<Outcome> out(sends.size());
    for (const bool silent : {false, true}) {
      std::vector<Send> some;
      std::vector<std::size_t> places;
      for (std::size_t i = 0; i < sends.size(); ++i) {
        if ((explain(cluster, sends[i]).verdict == plan::Verdict::Drop) != silent) continue;
        some.push_back(sends[i]);
        places.push_back(i);
      }
      auto outcomes = send_all(rig(), some, silent ? kSilence : kPatience);
      for (std::size_t i = 0; i < some.size(); ++i) out[places[i]] = std::move(outcomes[i]);
    }
    return out;
  }

  bool agrees(const Cluster& cluster, const Send& send, const Outcome& outcome) {
    return possible(cluster, send, outcome.source).contains(outcome.to_string());
  }

  Result<std::unique_ptr<Cluster>> new_cluster() {
    return Cluster::create(rig(),
                           {.mode = GetParam().mode, .config = config_, .service_cidrs = cidrs_});
  }

  // Whether the packet is still another one's business than explain says, in a cluster that has
  // had nothing but `objects`.
  bool disagrees_in(const Objects& objects, const Send& send) {
    auto cluster = new_cluster();
    if (!cluster) return false;
    for (const std::string& object : objects) {
      if (!(*cluster)->apply(object)) return false;
    }
    if (!(*cluster)->sync()) return false;
    return !agrees(**cluster, send, send_as_explained(**cluster, {send}).front());
  }

  void report(const Cluster& cluster, const Send& send, const Outcome& outcome) {
    constexpr int kAttempts = 300;
    const Objects all = current_objects();
    const bool again = disagrees_in(all, send);
    const Objects least =
        again ? shrink(
                    all, [&](const Objects& some) { return disagrees_in(some, send); }, kAttempts)
              : all;
    ADD_FAILURE() << send.from << " -> " << send.to.to_string() << "/"
                  << fairlead::to_string(send.protocol) << ": " << outcome.to_string() << "\n"
                  << plan::to_text(explain(cluster, send)) << "\nwith " << config_ << "\n"
                  << (again ? "and these alone:\n"
                            : "and these, but only after what came before them:\n")
                  << fmt::format("{}\n", fmt::join(least, "\n"));
  }

  void compare_all(const Cluster& cluster) {
    for (const auto& [key, service] : cluster.plan().services) {
      for (const plan::Frontend& frontend : service->frontends) bound_.insert(frontend.address);
    }
    const std::vector<Send> sends = all_sends();
    const std::vector<Outcome> outcomes = send_as_explained(cluster, sends);
    for (std::size_t i = 0; i < sends.size(); ++i) {
      // One is enough to look into.
      if (!agrees(cluster, sends[i], outcomes[i])) return report(cluster, sends[i], outcomes[i]);
    }
  }

  void put(Cluster& cluster, const std::string& name, const std::string& object) {
    objects_[name] = expand(object);
    const auto applied = cluster.apply(objects_[name]);
    ASSERT_TRUE(applied) << applied.error().message;
  }
  Objects current_objects() const {
    Objects out;
    for (const auto& [name, object] : objects_) out.push_back(object);
    return out;
  }

  std::string config_;
  std::vector<IpPrefix> cidrs_;
  std::map<std::string, std::string> objects_;  // as last applied
  std::set<IpAddress> bound_;                   // by services, now or before
};
INSTANTIATE_TEST_SUITE_P(, RandomPackets, ::testing::ValuesIn(all_cases()), [](const auto& param) {
  const Case& c = param.param;
  std::string name = fmt::format("{}_{}_seed{}", c.mode, c.family, c.seed);
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST_P(RandomPackets, DoWhatExplainSays) {
  Dice dice(GetParam().seed);
  if (dice.likely(0.5)) cidrs_.push_back(*IpPrefix::parse(expand("${service_cidr}")));
  config_ = expand(dice.config());
  auto created = new_cluster();
  ASSERT_TRUE(created) << created.error().message;
  Cluster& cluster = **created;
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    if (dice.likely(0.3)) put(cluster, "node", dice.node());
    for (int i = 0; i < kServices; ++i) {
      if (round > 0 && dice.likely(0.5)) continue;
      const std::string name = fmt::format("s{}", i);
      if (dice.likely(0.15)) {
        objects_.erase(name);
        ASSERT_TRUE(cluster.remove({.kind = "Service", .name = name}));
      } else if (dice.likely(0.6) || round == 0) {
        put(cluster, name, dice.service(i));
      }
      put(cluster, name + "-1", dice.slice(i, 1));
      if (dice.likely(0.4)) put(cluster, name + "-2", dice.slice(i, 2));
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
