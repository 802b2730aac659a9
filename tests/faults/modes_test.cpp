// From one mode of fairlead-proxy to another, from kube-proxy to fairlead-proxy, and away from
// both: what stays in the kernel.
#include <fcntl.h>
#include <sys/file.h>

#include <cstdlib>

#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kWeb[] = "10.96.0.80";

std::string printed(std::vector<std::string> argv) { return run(std::move(argv)).out; }

// The modes that have something of ours or kube-proxy's in the kernel.
std::vector<std::string> traces() {
  std::vector<std::string> out;
  const std::string tables = printed({"nft", "list", "tables"});
  if (tables.find("ip fairlead\n") != std::string::npos) out.emplace_back("nftables");
  for (const std::string variant : {"legacy", "nft"}) {
    const std::string saved = printed({"iptables-" + variant + "-save"});
    if (saved.find(":KUBE-SERVICES") != std::string::npos) out.push_back("iptables-" + variant);
  }
  if (tables.find("ip fairlead-userspace\n") != std::string::npos) out.emplace_back("userspace");
  if (tables.find("ip kube-proxy\n") != std::string::npos) out.emplace_back("kube-proxy");
  return out;
}

class ModesTest : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    if (IsSkipped()) return;
    start_api();
    create_node();
    create_service("web", kWeb);
    put_endpoints("web", {"10.0.0.1"});
  }
  // kubelet's hint decides which variant of iptables is used.
  Program start(const std::string& mode) {
    run({"iptables-nft", "-t", "mangle", "-X", "KUBE-IPTABLES-HINT"});
    run({"iptables-legacy", "-t", "mangle", "-X", "KUBE-IPTABLES-HINT"});
    if (mode.starts_with("iptables-")) run({mode, "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"});
    return start_proxy({"--proxy-mode=" + mode.substr(0, mode.find('-'))});
  }
  void clean_up() {
    Program cleanup = start_proxy({"--cleanup"});
    EXPECT_EQ(cleanup.end(20s), (io::ExitStatus{.code = 0})) << cleanup.log();
  }
};

TEST_F(ModesTest, ANewModeRemovesWhatTheOldOneLeft) {
  std::string before;
  for (const std::string mode : {"nftables", "iptables-nft", "userspace", "iptables-legacy",
                                 "iptables-nft", "nftables", "iptables-legacy", "userspace"}) {
    SCOPED_TRACE(before + " -> " + mode);
    Program proxy = start(mode);
    ASSERT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
    if (!before.empty()) {
      ASSERT_TRUE(proxy.says("Removed what another mode had left")) << proxy.log();
    }
    EXPECT_TRUE(proxy.until([&] { return traces() == std::vector{mode}; }))
        << testing::PrintToString(traces()) << proxy.log();
    proxy.signal(SIGKILL);
    proxy.end(5s);
    before = mode;
  }
  clean_up();
  EXPECT_THAT(traces(), IsEmpty());
}

TEST_F(ModesTest, WhatKubeProxyLeftGoesAndNothingElse) {
  run({"iptables-nft-restore"}, R"(*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-4VB6MUFW77M32NXI - [0:0]
:KUBE-SEP-4RSXNIJTE3CL3WFS - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.11/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-4VB6MUFW77M32NXI
-A KUBE-SVC-4VB6MUFW77M32NXI -j KUBE-SEP-4RSXNIJTE3CL3WFS
-A KUBE-SEP-4RSXNIJTE3CL3WFS -p tcp -j DNAT --to-destination 10.0.1.3:8080
COMMIT
)");
  nft("add table ip kube-proxy");
  nft("add table ip6 kube-proxy");
  nft("add table ip theirs");
  ASSERT_THAT(traces(), testing::ElementsAre("iptables-nft", "kube-proxy"));
  Program proxy = start("nftables");
  EXPECT_TRUE(proxy.until([] { return traces() == std::vector<std::string>{"nftables"}; }))
      << testing::PrintToString(traces()) << proxy.log();
  const std::string saved = printed({"iptables-nft-save"});
  EXPECT_THAT(saved, HasSubstr("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"));
  EXPECT_THAT(saved, Not(HasSubstr("KUBE-S")));
  EXPECT_THAT(printed({"nft", "list", "tables"}), HasSubstr("table ip theirs"));
  EXPECT_THAT(printed({"nft", "list", "tables"}), Not(HasSubstr("kube-proxy")));
}

TEST_F(ModesTest, AutoSaysWhatItChoseAndWhy) {
  Program proxy = start("auto");
  ASSERT_TRUE(proxy.says("Chose the proxy mode")) << proxy.log();
  ASSERT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
  EXPECT_THAT(proxy.log(), HasSubstr("mode=\"nftables\" because=\"a change costs what changed"));
  EXPECT_EQ(ask(10249, "/proxyMode")->body, "nftables");
}

// A tool that goes first in PATH and fails once, as when another program holds the lock too long.
TEST_F(ModesTest, AFirstRestoreThatFailsIsTriedAgain) {
  const std::string armed = machine().write("fails-once", "");
  const std::string tool = machine().write("iptables-nft-restore", fmt::format(R"(#!/bin/sh
if rm {} 2>/dev/null; then
  echo "Another app is currently holding the xtables lock." >&2
  exit 4
fi
exec /usr/sbin/iptables-nft-restore "$@"
)",
                                                                               armed));
  run({"chmod", "+x", tool});
  std::vector<std::string> command = {
      "env", fmt::format("PATH={}:{}", tool.substr(0, tool.rfind('/')), ::getenv("PATH"))};
  for (std::string& word : proxy_command({"--proxy-mode=iptables"})) command.push_back(word);
  Program proxy(command);
  ASSERT_TRUE(proxy.says("Cannot program the rules, trying again")) << proxy.log();
  EXPECT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
  EXPECT_THAT(traces(), testing::ElementsAre("iptables-nft"));
}

TEST_F(ModesTest, AStuckLockIsSeenInHealthAndGotOver) {
  const std::string lock = machine().write("xtables.lock", "");
  run({"iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"});
  std::vector<std::string> command = {"env", "XTABLES_LOCKFILE=" + lock};
  for (std::string& word : proxy_command({"--proxy-mode=iptables", "--iptables-sync-period=1s"})) {
    command.push_back(word);
  }
  Program proxy(command);
  ASSERT_TRUE(proxy.says("Programmed all rules")) << proxy.log();
  const auto health = [&] {
    const auto answer = ask(10256, "/healthz");
    return answer ? answer->status : 0;
  };
  ASSERT_TRUE(proxy.until([&] { return health() == 200; }));
  {
    const io::UniqueFd held(::open(lock.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);
    create_service("late", "10.96.0.81");
    ASSERT_TRUE(proxy.says("trying again")) << proxy.log();
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    while (health() != 503 && std::chrono::steady_clock::now() < deadline) {
    }
    EXPECT_EQ(health(), 503U) << proxy.log();
    EXPECT_THAT(printed({"iptables-legacy-save"}), Not(HasSubstr("10.96.0.81")));
  }
  EXPECT_TRUE(proxy.until([] {
    return printed({"iptables-legacy-save"}).find("10.96.0.81") != std::string::npos;
  })) << proxy.log();
  EXPECT_TRUE(proxy.until([&] { return health() == 200; })) << proxy.log();
}

TEST_F(ModesTest, InitOnlySetsTheHostUpAndProgramsNothing) {
  const auto route_localnet = [] {
    return printed({"cat", "/proc/sys/net/ipv4/conf/all/route_localnet"});
  };
  ASSERT_EQ(route_localnet(), "0\n");
  Program proxy = start_proxy({"--proxy-mode=iptables", "--init-only"});
  EXPECT_EQ(proxy.end(20s), (io::ExitStatus{.code = 0})) << proxy.log();
  EXPECT_EQ(route_localnet(), "1\n");
  EXPECT_THAT(traces(), IsEmpty());
}

}  // namespace
}  // namespace fairlead::faults
