// The rules of a plan: kube-proxy's own for its worked example, and the texts that lead from one
// ruleset to another.
#include "proxy/modes/iptables/render.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "proxy/modes/iptables/chain_names.hpp"
#include "proxy/modes/iptables/dispatch.hpp"
#include "unit/iptables/plans.hpp"

namespace fairlead::iptables {
namespace {

using namespace testing;
using ::testing::HasSubstr;

// ---- kube-proxy's rules ----

// Chains as kube-proxy's documentation of its example lists them.
Ruleset read_rules(const std::filesystem::path& path) {
  Ruleset out;
  Chains* table = &out.filter;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("*")) table = line == "*nat" ? &out.nat : &out.filter;
    if (!line.starts_with("-A ")) continue;
    const auto space = line.find(' ', 3);
    (*table)[line.substr(3, space - 3)].push_back(line.substr(space + 1));
  }
  return out;
}

// Where rules exclude each other, theirs is the order of a hash map, ours that of names and
// addresses.
Chains with_listings_sorted(Chains chains) {
  for (auto& [name, rules] : chains) {
    const bool balancing_or_marks =
        name.starts_with("KUBE-SVC-") || name.starts_with("KUBE-EXT-") ||
        name.starts_with("KUBE-SEP-") || name == "KUBE-POSTROUTING" || name == "KUBE-FORWARD";
    if (!balancing_or_marks) std::ranges::sort(rules);
  }
  return chains;
}

TEST(IptablesRender, WorkedExampleHasKubeProxysRules) {
  Ruleset wanted = read_rules(std::filesystem::path(FAIRLEAD_SOURCE_DIR) /
                              "tests/golden/iptables/kube-proxy-example.txt");
  ASSERT_EQ(wanted.filter.erase("KUBE-FIREWALL"), 1U);  // kubelet's, too: not a chain of ours
  Ruleset rules = render(worked_example(), IpFamily::V4, {.localhost_node_ports = true});
  // Ours alone: one refusal for each of the five addresses.
  EXPECT_EQ(std::erase_if(rules.filter["KUBE-SERVICES"],
                          [](const std::string& rule) {
                            return rule.find("KUBE-NO-SUCH-PORT") != std::string::npos;
                          }),
            5U);
  const auto compare = [](const Chains& ours, const Chains& theirs) {
    const Chains sorted = with_listings_sorted(ours);
    for (const auto& [name, list] : with_listings_sorted(theirs)) {
      ASSERT_TRUE(sorted.contains(name)) << name;
      EXPECT_EQ(sorted.at(name), list) << name;
    }
  };
  compare(rules.filter, wanted.filter);
  compare(rules.nat, wanted.nat);
  EXPECT_THAT(rules.nat.at("KUBE-SERVICES").back(), HasSubstr("must be the last rule"));
}

TEST(IptablesChainNames, AreKubeProxys) {
  const plan::ServicePortName tcp{.namespace_ = "ns1", .name = "svc1", .port = "p80"};
  EXPECT_EQ(service_chain("KUBE-SVC-", tcp), "KUBE-SVC-XPGD46QRK7WJZT7O");
  EXPECT_EQ(endpoint_chain(tcp, {.address = ip("10.180.0.1"), .port = Port{80}}),
            "KUBE-SEP-SXIVWICOYRO3J4NJ");
  EXPECT_EQ(endpoint_chain(tcp, {.address = ip("fd00::5"), .port = Port{80}}),
            "KUBE-SEP-GVSB5HUSAWFHPNQF");
  EXPECT_EQ(
      service_chain("KUBE-SVC-", {.namespace_ = "ns1", .name = "svc1", .protocol = Protocol::Udp}),
      "KUBE-SVC-A2PEVXD55OHK2IVW");
}

TEST(IptablesRender, AFamilyThePlanDoesNotProgramHasNoRules) {
  EXPECT_EQ(render(worked_example(), IpFamily::V6, {}), Ruleset{});
}

// ---- dispatch ----

TEST(IptablesDispatch, NoPacketMeetsALongList) {
  const Ruleset rules = render(many_services(1000, 1), IpFamily::V4, {});
  std::size_t leaves = 0;
  for (const auto& [name, list] : rules.nat) {
    EXPECT_LE(list.size(), 17U) << name;  // sixteen, and the node ports behind them
    if (!name.starts_with("KUBE-DST-")) continue;
    leaves += static_cast<std::size_t>(std::ranges::count_if(list, [](const std::string& rule) {
      return rule.find("cluster IP") != std::string::npos;
    }));
  }
  EXPECT_EQ(leaves, 1000U);
}

TEST(IptablesDispatch, PortsOfOneAddressStayTogetherInOrder) {
  std::vector<Destination> ports;
  Rules wanted;
  for (int i = 0; i < 40; ++i) {
    wanted.push_back(fmt::format("port {:02}", i));
    ports.push_back({.address = ip("fd00::1"), .rule = wanted.back()});
  }
  Chains chains;
  add_dispatch(ports, "ROOT", chains);
  EXPECT_EQ(chains, (Chains{{"ROOT", wanted}}));
}

// ---- changes ----

TEST(IptablesDifference, EqualRulesetsNeedNothing) {
  const Ruleset rules = render(worked_example(), IpFamily::V4, {});
  EXPECT_EQ(difference(rules, rules), RestoreText{});
}

TEST(IptablesDifference, AnEndpointThatLeavesIsTwoChainsOfText) {
  const Plan before = many_services(10, 2);
  const auto text = difference(render(before, IpFamily::V4, {}),
                               render(without_one_backend(before), IpFamily::V4, {}));
  const auto& name = before.services.begin()->first.service_port;
  const std::string service = service_chain("KUBE-SVC-", name);
  const std::string left = endpoint_chain(name, backend("10.0.0.0"));
  const std::string gone = endpoint_chain(name, backend("10.1.0.0"));
  EXPECT_EQ(text.text,
            fmt::format("*nat\n:{0} - [0:0]\n:{2} - [0:0]\n"
                        "-A {0} ! -s 10.0.0.0/16 -d 10.96.0.0/32 -p tcp -m comment --comment "
                        "\"ns/s0:p cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
                        "-A {0} -m comment --comment \"ns/s0:p -> 10.0.0.0:8080\" -j {1}\n"
                        "-X {2}\nCOMMIT\n",
                        service, left, gone));
  EXPECT_EQ(text.lines, 7U);
}

TEST(IptablesDifference, AnEndpointChangeIsAsSmallAmongAThousandServices) {
  const auto change = [](int services) {
    const Plan before = many_services(services, 10);
    return difference(render(before, IpFamily::V4, {}),
                      render(without_one_backend(before), IpFamily::V4, {}));
  };
  EXPECT_EQ(change(100), change(10));
  EXPECT_EQ(change(1000), change(110));  // large clusters
}

TEST(IptablesDifference, RefusalsComeFirstAndGoLast) {
  Ruleset refused, served;
  refused.filter["KUBE-SERVICES"] = {"-j REJECT"};
  served.filter["KUBE-SERVICES"] = {};
  served.nat["KUBE-SVC-A"] = {"-j DNAT"};
  const std::string refuse =
      "*filter\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j REJECT\nCOMMIT\n";
  const std::string unserve = "*nat\n:KUBE-SVC-A - [0:0]\n-X KUBE-SVC-A\nCOMMIT\n";
  const std::string serve = "*nat\n:KUBE-SVC-A - [0:0]\n-A KUBE-SVC-A -j DNAT\nCOMMIT\n";
  const std::string admit = "*filter\n:KUBE-SERVICES - [0:0]\nCOMMIT\n";
  const auto text = [&](const Ruleset& before, const Ruleset& after) {
    return restore_text({.before = before, .filter_between = refused.filter, .after = after}, {})
        .text;
  };
  EXPECT_EQ(text(served, refused), refuse + unserve);
  EXPECT_EQ(text(refused, served), serve + admit);
}

// ---- changes without rendering the rest ----

// Puts a change into a copy of what was there.
Ruleset applied(Ruleset rules, const Change& change) {
  const auto apply = [](Chains& chains, const Chains& before, const Chains& after) {
    for (const auto& [name, list] : before) {
      EXPECT_EQ(chains[name], list) << name;
      chains.erase(name);
    }
    for (const auto& [name, list] : after) chains[name] = list;
  };
  apply(rules.filter, change.before.filter, change.after.filter);
  apply(rules.nat, change.before.nat, change.after.nat);
  return rules;
}

TEST(IptablesRenderer, AChangeLeadsWhereRenderingAnewDoes) {
  Plan first = worked_example();
  Plan second = first;
  put(second, {.key = {.service_port = port_name("itp", "p")},
               .cluster_pool = {backend("10.0.2.5")},
               .local_pool = {backend("10.0.2.5")},
               .frontends = {cluster_ip("10.96.0.14", Target::LocalPool)}});
  put(second, {.key = {.service_port = port_name("new", "p")},
               .frontends = {cluster_ip("10.96.0.99", Target::Reject)}});
  second.services.erase({.service_port = port_name("lb", "p")});
  for (const auto& [from, to] : {std::pair(first, second), std::pair(second, first)}) {
    Renderer renderer(IpFamily::V4, {});
    renderer.full(from);
    const Ruleset before = renderer.rules();
    const auto change = renderer.change(plan::diff(from, to));
    ASSERT_TRUE(change);
    const Ruleset after = render(to, IpFamily::V4, {});
    EXPECT_EQ(applied(before, *change), after);
    EXPECT_EQ(renderer.rules(), after);
    // Between, all refusals of before and after stand.
    for (const Ruleset* side : {&before, &after}) {
      const Rules& between = change->filter_between.at("KUBE-SERVICES");
      for (const std::string& rule : side->filter.at("KUBE-SERVICES")) {
        EXPECT_THAT(between, ::testing::Contains(rule));
      }
    }
  }
}

TEST(IptablesRenderer, AClusterThatBecomesLargeIsWrittenAnewAndLosesEndpointChains) {
  const Plan small = many_services(100, 10);
  const Plan large = many_services(101, 10);
  Renderer renderer(IpFamily::V4, {});
  renderer.full(small);
  EXPECT_TRUE(renderer.rules().nat.contains(
      endpoint_chain(small.services.begin()->first.service_port, backend("10.0.0.0"))));
  EXPECT_FALSE(renderer.change(plan::diff(small, large)));
  renderer.full(large);
  const Ruleset rules = renderer.rules();
  EXPECT_THAT(rules.nat.at(service_chain("KUBE-SVC-", large.services.begin()->first.service_port)),
              ::testing::Contains("-p tcp -m statistic --mode random --probability 0.50000000000 "
                                  "-j DNAT --to-destination 10.8.0.0:8080"));
  for (const auto& [name, list] : rules.nat) EXPECT_FALSE(name.starts_with("KUBE-SEP-")) << name;
  EXPECT_THAT(rules.nat.at("KUBE-POSTROUTING").front(), HasSubstr("-m bpf"));
  // It does not change back at the same limit.
  EXPECT_TRUE(renderer.change(plan::diff(large, small)));
}

}  // namespace
}  // namespace fairlead::iptables
