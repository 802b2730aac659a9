// The mode against the kernel, in both variants, each test in a network namespace of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <cstdio>
#include <memory>
#include <sstream>

#include "proxy/modes/iptables/chain_names.hpp"
#include "proxy/modes/iptables/iptables_mode.hpp"
#include "unit/iptables/plans.hpp"
#include "unit/nftables/namespace_guard.hpp"

namespace fairlead::iptables {
namespace {

using namespace testing;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// What a shell command printed; fails the test unless it succeeded.
std::string run(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return output;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe)) {
    output.append(part.data(), n);
  }
  EXPECT_EQ(::pclose(pipe), 0) << command << ": " << output;
  return output;
}

std::vector<std::string> lines_with(const std::string& text, std::string_view part) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.find(part) != std::string::npos) out.push_back(line);
  }
  return out;
}

bool readable(int fd, int milliseconds) {
  pollfd wait{.fd = fd, .events = POLLIN};
  return ::poll(&wait, 1, milliseconds) == 1;
}

// Both families, with services in each.
Plan dual_stack_example() {
  Plan plan = worked_example();
  plan.nodes[IpFamily::V6].detector.source_prefix = cidr("fd00:10::/64");
  put(plan, {.key = {.service_port = port_name("six", "p"), .family = IpFamily::V6},
             .affinity = std::chrono::seconds{60},
             .cluster_pool = {backend("fd00:10::1"), backend("fd00:10::2")},
             .frontends = {cluster_ip("fd00:96::1", Target::ClusterPool)}});
  put(plan, {.key = {.service_port = port_name("none", "p"), .family = IpFamily::V6},
             .frontends = {cluster_ip("fd00:96::2", Target::Reject)}});
  return plan;
}

Plan large_dual_stack() {
  Plan plan = many_services(110, 10);
  plan.nodes[IpFamily::V6] = {};
  ServicePlan big{.key = {.service_port = port_name("six", "p"), .family = IpFamily::V6},
                  .frontends = {cluster_ip("fd00:96::1", Target::ClusterPool)}};
  for (int i = 0; i < 1001; ++i) {
    big.cluster_pool.push_back(backend(fmt::format("fd00:10::{:x}", i + 1)));
  }
  put(plan, std::move(big));
  return plan;
}

void expect_in_order(plan::Mode& mode, const Plan& plan) {
  const auto differences = mode.verify(plan, 5);
  ASSERT_TRUE(differences) << differences.error().message;
  EXPECT_THAT(*differences, IsEmpty());
}

plan::ApplyStats applied(Result<plan::ApplyStats> result) {
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : plan::ApplyStats{};
}

class IptablesKernel : public ::testing::TestWithParam<Variant> {
 protected:
  static std::unique_ptr<plan::Mode> make_mode() {
    auto mode = create({.variant = GetParam(), .canary_interval = std::chrono::milliseconds{1}});
    EXPECT_TRUE(mode) << mode.error().message;
    return mode ? *std::move(mode) : nullptr;
  }
  static std::string tool(std::string_view family = "iptables") {
    return fmt::format("{}-{}", family, to_string(GetParam()));
  }
  static std::string save() { return run(tool() + "-save"); }
};

TEST_P(IptablesKernel, WhatIsWrittenReadsBackTheSame) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    for (const Plan& plan : {dual_stack_example(), large_dual_stack()}) {
      auto mode = make_mode();
      ASSERT_TRUE(mode);
      EXPECT_GT(applied(mode->apply_full(plan)).messages, 0U);
      expect_in_order(*mode, plan);
    }
  });
}

TEST_P(IptablesKernel, AnotherProxyWithTheSamePlanWritesNothing) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    for (const Plan& plan : {dual_stack_example(), large_dual_stack()}) {
      applied(make_mode()->apply_full(plan));
      auto next = make_mode();
      EXPECT_EQ(applied(next->apply_full(plan)), plan::ApplyStats{});
      expect_in_order(*next, plan);
    }
  });
}

TEST_P(IptablesKernel, AChangeWritesItsOwnChainsOnly) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    for (const int services : {20, 120}) {
      const Plan before = many_services(services, 10);
      const Plan after = without_one_backend(before);
      auto mode = make_mode();
      applied(mode->apply_full(before));
      const auto stats = applied(mode->apply(after, plan::diff(before, after)));
      EXPECT_EQ(stats.transactions, 1U);
      EXPECT_LT(stats.messages, 20U);
      expect_in_order(*mode, after);
      applied(mode->apply(before, plan::diff(after, before)));
      expect_in_order(*mode, before);
    }
  });
}

TEST_P(IptablesKernel, RulesAreCountedAsTheKernelHasThem) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    const auto held = [](const std::string& table) {
      const auto rules = lines_with(run(fmt::format("{}-save -t {}", tool(), table)), "-A KUBE-");
      return static_cast<std::uint64_t>(std::ranges::count_if(
          rules, [](const std::string& rule) { return !rule.starts_with("-A KUBE-FIREWALL"); }));
    };
    const auto counted = [](const plan::Mode& mode, const std::string& table) {
      for (const plan::RuleCount& count : mode.rule_counts()) {
        if (count.family == IpFamily::V4 && count.table == table) return count;
      }
      return plan::RuleCount{};
    };
    const Plan before = many_services(20, 10);
    auto mode = make_mode();
    applied(mode->apply_full(before));
    for (const std::string table : {"nat", "filter"}) {
      EXPECT_EQ(counted(*mode, table).total, held(table));
      EXPECT_EQ(counted(*mode, table).last, held(table)) << "all of them, the first time";
    }
    const Plan after = without_one_backend(before);
    applied(mode->apply(after, plan::diff(before, after)));
    EXPECT_EQ(counted(*mode, "nat").total, held("nat"));
    EXPECT_GT(counted(*mode, "nat").last, 0U);
    EXPECT_LT(counted(*mode, "nat").last, 20U);
  });
}

TEST_P(IptablesKernel, ServicesThatComeAndGoLeadWhereAFullSyncDoes) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    auto mode = make_mode();
    Plan empty;
    empty.nodes = dual_stack_example().nodes;
    applied(mode->apply_full(empty));
    Plan before = empty;
    for (const Plan& next : {dual_stack_example(), empty, dual_stack_example()}) {
      applied(mode->apply(next, plan::diff(before, next)));
      expect_in_order(*mode, next);
      EXPECT_EQ(applied(make_mode()->apply_full(next)), plan::ApplyStats{});
      before = next;
    }
  });
}

TEST_P(IptablesKernel, ForeignRulesStayAndStaleChainsGo) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    run(tool() + " -t nat -N KUBE-SVC-STALE && " + tool() + " -t nat -N KUBE-SEP-STALE && " +
        tool() + " -t nat -A KUBE-SVC-STALE -j KUBE-SEP-STALE && " + tool() +
        " -t nat -N KUBE-SVC-HELD && " + tool() + " -t nat -A KUBE-SVC-HELD -j RETURN && " +
        tool() + " -t nat -N CNI-X && " + tool() +
        " -t nat -A CNI-X -s 10.9.0.1 -j KUBE-SVC-HELD && " + tool() +
        " -t nat -A POSTROUTING -j CNI-X && " + tool() + " -A INPUT -p tcp -j ACCEPT && " + tool() +
        " -t mangle -N KUBE-KUBELET-CANARY && " + tool() + " -N KUBE-FIREWALL && " + tool() +
        " -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP");
    auto mode = make_mode();
    const Plan plan = worked_example();
    applied(mode->apply_full(plan));
    expect_in_order(*mode, plan);
    const std::vector<std::string> foreign = {
        "-A CNI-X -s 10.9.0.1/32 -j KUBE-SVC-HELD", "-A POSTROUTING -j CNI-X",
        "-A INPUT -p tcp -j ACCEPT", ":KUBE-KUBELET-CANARY - [0:0]",
        "-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP"};
    const std::string with_us = save();
    for (const std::string& line : foreign) EXPECT_THAT(with_us, HasSubstr(line));
    EXPECT_THAT(with_us, Not(HasSubstr("STALE")));
    EXPECT_THAT(lines_with(with_us, "KUBE-SVC-HELD"),
                ElementsAre(":KUBE-SVC-HELD - [0:0]", foreign[0]));  // emptied
    ASSERT_TRUE(mode->cleanup());
    const std::string without_us = save();
    for (const std::string& line : foreign) EXPECT_THAT(without_us, HasSubstr(line));
  });
}

TEST_P(IptablesKernel, CleanupLeavesNothingAndMayBeRepeated) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    auto mode = make_mode();
    applied(mode->apply_full(dual_stack_example()));
    EXPECT_THAT(save(), HasSubstr("KUBE-FIREWALL"));
    for (int i = 0; i < 2; ++i) {
      const auto done = make_mode()->cleanup();
      ASSERT_TRUE(done) << done.error().message;
      for (const char* family : {"iptables", "ip6tables"}) {
        const std::string left = run(tool(family) + "-save");
        EXPECT_THAT(left, Not(HasSubstr("KUBE"))) << left;
        EXPECT_THAT(lines_with(left, "-A "), IsEmpty());
      }
    }
  });
}

TEST_P(IptablesKernel, JumpsStandInKubeProxysOrderAndOnce) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    for (int i = 0; i < 2; ++i) applied(make_mode()->apply_full(worked_example()));
    const auto targets = [](std::string_view table, std::string_view chain) {
      std::vector<std::string> out;
      for (const std::string& line :
           lines_with(run(fmt::format("{} -t {} -S {}", tool(), table, chain)), "-A ")) {
        out.push_back(line.substr(line.rfind(' ') + 1));
      }
      return out;
    };
    EXPECT_THAT(targets("filter", "INPUT"),
                ElementsAre("KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-NODEPORTS",
                            "KUBE-EXTERNAL-SERVICES"));
    EXPECT_THAT(targets("filter", "FORWARD"),
                ElementsAre("KUBE-PROXY-FIREWALL", "KUBE-FORWARD", "KUBE-SERVICES",
                            "KUBE-EXTERNAL-SERVICES"));
    EXPECT_THAT(targets("filter", "OUTPUT"),
                ElementsAre("KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES",
                            "KUBE-EXTERNAL-SERVICES"));
    EXPECT_THAT(targets("nat", "PREROUTING"), ElementsAre("KUBE-SERVICES"));
    EXPECT_THAT(targets("nat", "OUTPUT"), ElementsAre("KUBE-SERVICES"));
    EXPECT_THAT(targets("nat", "POSTROUTING"), ElementsAre("KUBE-POSTROUTING"));
  });
}

struct Damage {
  const char* name;
  const char* commands;  // TOOL stands for the variant's iptables
  const char* finding;
  bool seen_by_canary;
};
constexpr std::array kDamages = {
    Damage{
        .name = "all flushed",
        .commands = "for t in nat filter mangle; do TOOL -t $t -F && TOOL -t $t -X || exit 1; done",
        .finding = "is missing",
        .seen_by_canary = true},
    Damage{.name = "one table flushed",
           .commands = "TOOL -t nat -F && TOOL -t nat -X",
           .finding = "is missing",
           .seen_by_canary = true},
    Damage{.name = "a rule deleted",
           .commands = "TOOL -t nat -D KUBE-POSTROUTING 1",
           .finding = "chain KUBE-POSTROUTING: rule 1 is",
           .seen_by_canary = false},
    Damage{.name = "a jump deleted",
           .commands = "TOOL -t nat -D PREROUTING 1",
           .finding = "not done: -I PREROUTING",
           .seen_by_canary = false},
};

TEST_P(IptablesKernel, DamageIsNoticedSaidAndMended) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    const Plan plan = worked_example();
    auto mode = make_mode();
    applied(mode->apply_full(plan));
    for (const Damage& damage : kDamages) {
      SCOPED_TRACE(damage.name);
      if (GetParam() == Variant::Nft) EXPECT_FALSE(readable(mode->tamper_fd(), 0));
      run(fmt::format("sh -c '{}'", [&] {
        std::string commands = damage.commands;
        for (std::size_t at = 0; (at = commands.find("TOOL", at)) != std::string::npos;) {
          commands.replace(at, 4, tool());
        }
        return commands;
      }()));
      ASSERT_TRUE(readable(mode->tamper_fd(), 5000));
      const auto noticed = mode->tampered();
      ASSERT_TRUE(noticed) << noticed.error().message;
      EXPECT_EQ(*noticed, damage.seen_by_canary || GetParam() == Variant::Nft);
      const auto findings = mode->verify(plan, 1000);
      ASSERT_TRUE(findings);
      EXPECT_THAT(*findings, Contains(HasSubstr(damage.finding)));
      applied(mode->apply_full(plan));
      expect_in_order(*mode, plan);
      const auto after = mode->tampered();
      ASSERT_TRUE(after);
      EXPECT_FALSE(*after);  // we hear nothing of ourselves
    }
  });
}

TEST_P(IptablesKernel, OthersRulesInTheirOwnChainsAreNoTampering) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    auto mode = make_mode();
    applied(mode->apply_full(worked_example()));
    run(tool() + " -t nat -N CNI-X && " + tool() + " -t nat -A CNI-X -j RETURN && " + tool() +
        " -t nat -A POSTROUTING -j CNI-X");
    ASSERT_TRUE(readable(mode->tamper_fd(), 5000));
    const auto noticed = mode->tampered();
    ASSERT_TRUE(noticed);
    EXPECT_FALSE(*noticed);
    expect_in_order(*mode, worked_example());
  });
}

TEST_P(IptablesKernel, ARefusedTextNamesItsLine) {
  FAIRLEAD_IN_PRIVATE_NETWORK([] {
    auto tools = open_tools(GetParam());
    ASSERT_TRUE(tools);
    const auto done = (*tools)->restore(
        IpFamily::V4, "*nat\n:KUBE-A - [0:0]\n-A KUBE-A --no-such-option\nCOMMIT\n");
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().message, HasSubstr("\"-A KUBE-A --no-such-option\""));
  });
}

INSTANTIATE_TEST_SUITE_P(, IptablesKernel, ::testing::Values(Variant::Legacy, Variant::Nft),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(IptablesVariant, IsWhereKubeletOrRulesAreElseNft) {
  struct Row {
    const char* name;
    const char* commands;
    Variant wanted;
  };
  const std::array rows = {
      Row{"nothing", "true", Variant::Nft},
      Row{"legacy rules", "iptables-legacy -A INPUT -j ACCEPT", Variant::Legacy},
      Row{"more nft rules",
          "iptables-legacy -A INPUT -j ACCEPT; iptables-nft -A INPUT -j ACCEPT; "
          "ip6tables-nft -A INPUT -j ACCEPT",
          Variant::Nft},
      Row{"kubelet in nft",
          "iptables-legacy -A INPUT -j ACCEPT; iptables-nft -t mangle -N KUBE-IPTABLES-HINT",
          Variant::Nft},
      Row{"kubelet in legacy",
          "iptables-nft -A INPUT -j ACCEPT; iptables-legacy -t mangle -N KUBE-KUBELET-CANARY",
          Variant::Legacy},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    FAIRLEAD_IN_PRIVATE_NETWORK([&] {
      run(row.commands);
      const auto found = detect_variant();
      ASSERT_TRUE(found) << found.error().message;
      EXPECT_EQ(to_string(*found), to_string(row.wanted));
    });
  }
}

}  // namespace
}  // namespace fairlead::iptables
