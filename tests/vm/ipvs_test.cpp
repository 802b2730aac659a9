// Mode ipvs on a real kernel, beside the tools its users know: ipvsadm reads what we programmed,
// and is timed beside us. Runs in the virtual machine, or wherever the kernel has IPVS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "base/text.hpp"
#include "io/netns.hpp"
#include "io/process.hpp"
#include "proxy/modes/ipvs/ipvs_mode.hpp"
#include "proxy/modes/ipvs/scheduler.hpp"
#include "proxy/modes/ipvs/script.hpp"
#include "unit/ipvs/plans.hpp"

namespace fairlead::ipvs {
namespace {

using namespace std::chrono_literals;
using testing::backend;
using ::testing::HasSubstr;
using testing::ip;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::put;

// A namespace of its own for each test, and a mode in it.
class IpvsKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/proc/net/ip_vs"))
      GTEST_SKIP() << "this kernel has no IPVS; tests/vm/machine has one";
    auto network = io::NetNamespace::create();
    ASSERT_TRUE(network) << network.error().message;
    network_ = std::make_unique<io::NetNamespace>(*std::move(network));
    make({});
  }

  void make(const Config& config) {
    const auto made = network_->run([&]() -> Result<void> {
      FAIRLEAD_TRY(mode, create(config));
      mode_ = std::move(mode);
      return {};
    });
    ASSERT_TRUE(made) << made.error().message;
  }

  std::string run(std::vector<std::string> argv, std::string_view input = {}) {
    const auto output =
        io::run_blocking({.argv = std::move(argv), .namespaces = {network_->fd()}}, input, 200s);
    EXPECT_TRUE(output && output->status.ok()) << (output ? output->err : output.error().message);
    return output ? output->out : "";
  }
  plan::ApplyStats program(const plan::Plan& plan) {
    const auto stats = mode_->apply_full(plan);
    EXPECT_TRUE(stats) << stats.error().message;
    return stats ? *stats : plan::ApplyStats{};
  }

  std::unique_ptr<io::NetNamespace> network_;
  std::unique_ptr<plan::Mode> mode_;
};

plan::Plan plan_with(std::string scheduler) {
  plan::Plan plan = testing::empty_plan();
  auto service =
      testing::simple_service("web", "10.96.0.1", {backend("10.0.1.2"), backend("10.0.2.2")});
  service.ipvs_scheduler = std::move(scheduler);
  put(plan, service);
  return plan;
}

TEST_F(IpvsKernelTest, IpvsadmSeesEverySchedulerAsWePlannedIt) {
  struct Row {
    std::string_view chosen;
    std::string_view seen;  // by ipvsadm -Sn
  };
  std::vector<Row> rows;
  for (const std::string_view name : scheduler_names()) {
    if (name != "mh") rows.push_back({name, name});
  }
  rows.push_back({"mh", "mh -b mh-port"});
  rows.push_back({"mh:fallback", "mh -b mh-fallback"});
  rows.push_back({"mh:fallback,port", "mh -b mh-fallback,mh-port"});
  rows.push_back({"sh:port", "sh -b sh-port"});
  for (const Row& row : rows) {
    SCOPED_TRACE(row.chosen);
    program(plan_with(std::string(row.chosen)));
    EXPECT_EQ(run({"ipvsadm", "-Sn"}), fmt::format("-A -t 10.96.0.1:80 -s {}\n"
                                                   "-a -t 10.96.0.1:80 -r 10.0.1.2:8080 -m -w 1\n"
                                                   "-a -t 10.96.0.1:80 -r 10.0.2.2:8080 -m -w 1\n",
                                                   row.seen));
    EXPECT_THAT(*mode_->verify(plan_with(std::string(row.chosen)), 9), IsEmpty());
  }
}

TEST_F(IpvsKernelTest, EveryKindOfServiceIsReadBackAsItWasWritten) {
  const plan::Plan plan = testing::example_plan();
  program(plan);
  EXPECT_THAT(*mode_->verify(plan, 9), IsEmpty());
  const plan::ApplyStats again = program(plan);
  EXPECT_EQ(again.elements, 0U);
  EXPECT_EQ(again.messages, 2 * kSets.size()) << "only the sets are made sure of";
}

TEST_F(IpvsKernelTest, WhatOthersDoIsFoundAndForeignServersStay) {
  const plan::Plan plan = plan_with("rr");
  program(plan);
  run({"ipvsadm", "-A", "-t", "203.0.113.1:80", "-s", "wlc"});
  run({"ipvsadm", "-e", "-t", "10.96.0.1:80", "-r", "10.0.1.2:8080", "-m", "-w", "7"});
  run({"ipset", "del", "KUBE-CLUSTER-IP", "10.96.0.1,tcp:80"});
  EXPECT_THAT(*mode_->verify(plan, 9),
              ::testing::ElementsAre(
                  "to mend it: edit destination TCP 10.96.0.1:80 -> 10.0.1.2:8080 weight 1",
                  "to mend it: add entry KUBE-CLUSTER-IP 10.96.0.1,tcp:80"));
  program(plan);
  EXPECT_THAT(*mode_->verify(plan, 9), IsEmpty());
  const auto cleaned = mode_->cleanup();
  ASSERT_TRUE(cleaned) << cleaned.error().message;
  EXPECT_EQ(run({"ipvsadm", "-Sn"}), "-A -t 203.0.113.1:80 -s wlc\n");
  EXPECT_EQ(run({"ipset", "list", "-n"}), "");
  EXPECT_THAT(run({"ip", "link"}), Not(HasSubstr("ipvs")));
}

// As kube-proxy leaves it on a node of 192.168.50.1 and fd00:50::1, one service of each kind, and
// beside it servers of others. ipset's and ipvsadm's input.
constexpr std::string_view kSetsOfKubeProxy =
    "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-CLUSTER-IP 10.96.7.1,tcp:80\n"
    "create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536\n"
    "create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-IPVS-IPS 10.96.7.1\n"
    "create KUBE-LOAD-BALANCER hash:ip,port family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-LOAD-BALANCER 192.168.50.1,tcp:443\n"
    "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n"
    "add KUBE-NODE-PORT-TCP 30111\n"
    "create KUBE-NODE-PORT-UDP bitmap:port range 0-65535\n"
    "add KUBE-NODE-PORT-UDP 30112\n"
    "create KUBE-NODE-PORT-SCTP-HASH hash:ip,port family inet hashsize 1024 maxelem 65536\n"
    "add KUBE-NODE-PORT-SCTP-HASH 192.168.50.1,sctp:30113\n"
    "create KUBE-6-NODE-PORT-TCP bitmap:port range 0-65535\n"
    "add KUBE-6-NODE-PORT-TCP 30114\n"
    "create KUBE-6-NODE-PORT-LOCAL-SCTP-HAS hash:ip,port family inet6\n"
    "create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535\n"
    "create SOMEBODY-ELSES hash:ip family inet\n";
constexpr std::string_view kServersOfKubeProxy =
    "-A -t 10.96.7.1:80 -s rr\n"
    "-a -t 10.96.7.1:80 -r 10.0.1.2:8080 -m -w 1\n"
    "-A -t 192.168.50.1:443 -s rr\n"
    "-A -t 192.168.50.1:30111 -s rr\n"
    "-A -u 192.168.50.1:30112 -s rr\n"
    "-A --sctp-service 192.168.50.1:30113 -s rr\n"
    "-A -t [fd00:50::1]:30114 -s rr\n";
constexpr std::string_view kServersOfOthers =
    "-A -t 192.168.50.1:8443 -s wlc\n"
    "-A -t 192.168.50.1:30112 -s wlc\n"
    "-A -t 203.0.113.1:30111 -s wlc\n"
    "-A -f 7 -s wlc\n";

class TakeOverTest : public IpvsKernelTest {
 protected:
  void SetUp() override {
    IpvsKernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    run({"ip", "-batch", "-"},
        "link set lo up\nlink add eth0 type dummy\naddress add 192.168.50.1/24 dev eth0\n"
        "address add fd00:50::1/64 dev eth0 nodad\nlink add kube-ipvs0 type dummy\n"
        "address add 10.96.7.1/32 dev kube-ipvs0\n");
    run({"ipset", "restore"}, kSetsOfKubeProxy);
    run({"ipvsadm", "-R"}, fmt::format("{}{}", kServersOfKubeProxy, kServersOfOthers));
    run({"iptables", "-A", "INPUT", "-m", "set", "--match-set", "KUBE-CLUSTER-IP", "dst,dst", "-j",
         "ACCEPT"});
  }
  void remove_leftovers_in_use(bool in_use) {
    const auto removed = network_->run([&]() -> Result<void> {
      FAIRLEAD_TRY(was_there, remove_leftovers(in_use));
      EXPECT_TRUE(was_there);
      return {};
    });
    ASSERT_TRUE(removed) << removed.error().message;
  }
  std::set<std::string> servers() {
    std::set<std::string> out;
    const std::string saved = run({"ipvsadm", "-Sn"});
    for (const std::string_view line : split(saved, '\n')) {
      if (line.starts_with("-A")) out.emplace(line);
    }
    return out;
  }
  static std::set<std::string> lines(std::string_view text) {
    std::set<std::string> out;
    for (const std::string_view line : split(text, '\n')) {
      if (!line.empty()) out.emplace(line);
    }
    return out;
  }
};

TEST_F(TakeOverTest, CleanupTakesWhatIsKubeProxysAndNothingElse) {
  run({"iptables", "-F", "INPUT"});
  remove_leftovers_in_use(false);
  EXPECT_EQ(servers(), lines(kServersOfOthers));
  EXPECT_EQ(run({"ipset", "list", "-n"}), "SOMEBODY-ELSES\n");
  EXPECT_THAT(run({"ip", "link"}), Not(HasSubstr("kube-ipvs0")));
}

TEST_F(TakeOverTest, ModeTakesOverSetsOfAnotherShapeUnderTheRulesThatSpeakOfThem) {
  const plan::Plan plan = plan_with("rr");
  program(plan);
  EXPECT_THAT(*mode_->verify(plan, 9), IsEmpty());
  auto wanted = lines(kServersOfOthers);
  wanted.insert("-A -t 10.96.0.1:80 -s rr");
  EXPECT_EQ(servers(), wanted);
  EXPECT_THAT(run({"iptables-save"}), HasSubstr("--match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT"));
  const std::string set = run({"ipset", "list", "KUBE-CLUSTER-IP"});
  EXPECT_THAT(set, HasSubstr("maxelem 1048576"));
  EXPECT_THAT(set, HasSubstr("10.96.0.1,tcp:80"));
  remove_leftovers_in_use(true);
  const std::string sets = run({"ipset", "list", "-n"});
  EXPECT_THAT(sets, HasSubstr("SOMEBODY-ELSES"));
  EXPECT_THAT(sets, Not(HasSubstr("NODE-PORT-TCP")));
  EXPECT_THAT(sets, Not(HasSubstr("SPARE")));
}

// Whole things, not single entries: the audit names what is missing, and a full program mends it.
TEST_F(IpvsKernelTest, WhatOthersTakeAwayIsNamedAndMended) {
  const plan::Plan plan = testing::example_plan();
  program(plan);
  struct Row {
    std::vector<std::string> deed;
    std::string_view found;
  };
  const Row rows[] = {
      {{"ipvsadm", "-D", "-t", "10.96.0.11:80"}, "to mend it: add server TCP 10.96.0.11:80 rr"},
      {{"ipvsadm", "-C"}, "to mend it: add server TCP 10.96.0.11:80 rr"},
      {{"ip", "link", "del", "kube-ipvs0"}, "to mend it: bind 10.96.0.11"},
      {{"ipset", "flush"}, "to mend it: add entry KUBE-CLUSTER-IP 10.96.0.11,tcp:80"},
      {{"ip", "addr", "del", "10.96.0.11/32", "dev", "kube-ipvs0"}, "to mend it: bind 10.96.0.11"},
      {{"iptables", "-t", "nat", "-F"}, "the iptables rules of IPv4 are not as we left them"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(row.deed, " ")));
    run(row.deed);
    EXPECT_THAT(*mode_->verify(plan, 1000), ::testing::Contains(row.found));
    program(plan);
    EXPECT_THAT(*mode_->verify(plan, 9), IsEmpty());
  }
}

TEST_F(IpvsKernelTest, ExcludedServersAndAddressesStayThroughEverything) {
  make({.exclude_cidrs = {testing::cidr("203.0.113.0/24")}});
  program(plan_with("rr"));
  run({"ipvsadm", "-A", "-t", "203.0.113.1:80", "-s", "wlc"});
  run({"ip", "addr", "add", "203.0.113.1/32", "dev", "kube-ipvs0"});
  run({"ip", "addr", "add", "203.0.114.1/32", "dev", "kube-ipvs0"});
  program(plan_with("rr"));
  EXPECT_THAT(run({"ipvsadm", "-Sn"}), HasSubstr("-A -t 203.0.113.1:80 -s wlc\n"));
  const std::string addresses = run({"ip", "addr", "show", "kube-ipvs0"});
  EXPECT_THAT(addresses, HasSubstr("203.0.113.1/32"));
  EXPECT_THAT(addresses, Not(HasSubstr("203.0.114.1/32")));
}

TEST_F(IpvsKernelTest, StrictArpAndTimeoutsAreSetWhereAskedFor) {
  EXPECT_THAT(run({"sysctl", "-n", "net.ipv4.conf.all.arp_ignore"}), "0\n");
  make(
      {.kernel = {
           .strict_arp = true, .tcp_timeout = 901s, .tcp_fin_timeout = 121s, .udp_timeout = 301s}});
  EXPECT_EQ(run({"sysctl", "-n", "net.ipv4.conf.all.arp_ignore"}), "1\n");
  EXPECT_EQ(run({"sysctl", "-n", "net.ipv4.conf.all.arp_announce"}), "2\n");
  EXPECT_EQ(run({"ipvsadm", "-l", "--timeout"}), "Timeout (tcp tcpfin udp): 901 121 301\n");
  make({.kernel = {.udp_timeout = 60s}});
  EXPECT_EQ(run({"ipvsadm", "-l", "--timeout"}), "Timeout (tcp tcpfin udp): 901 121 60\n");
}

TEST_F(IpvsKernelTest, ToolsThatReadTheScriptDoWhatTheModeDoes) {
  const plan::Plan plan = testing::example_plan();
  const Surroundings here{.interface_addresses = {ip("127.0.0.1"), ip("::1")},
                          .schedulers = {scheduler_names().begin(), scheduler_names().end()}};
  run({"ip", "link", "set", "lo", "up"});
  std::string script = device_script();
  for (const auto& [family, node] : plan.nodes)
    script += to_script(render_family(plan, family, here), rules_for(node, family), family);
  std::vector<std::string> tool;
  std::string input;
  const auto feed = [&] {
    if (!tool.empty()) run(tool, input);
    tool.clear();
    input.clear();
  };
  for (const std::string_view line : split(script, '\n')) {
    if (line.starts_with("# ")) {
      feed();
      for (const std::string_view word : split(line.substr(2), ' ')) tool.emplace_back(word);
    } else {
      input += fmt::format("{}\n", line);
    }
  }
  feed();
  EXPECT_THAT(*mode_->verify(plan, 9), IsEmpty());
  EXPECT_THAT(run({"ipset", "list", "KUBE-HEALTH-CHECK-NODE-PORT"}), HasSubstr("\n30999\n"));
}

// No time decides here; both are printed, and the work of one change is counted.
TEST_F(IpvsKernelTest, TenThousandServicesBesideIpvsadm) {
  const plan::Plan plan = testing::large_plan(10'000, 10);
  using Clock = std::chrono::steady_clock;
  const auto milliseconds_since = [](Clock::time_point start) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  };
  auto start = Clock::now();
  const auto stats = program(plan);
  const auto ours = milliseconds_since(start);

  plan::Plan more = plan;
  auto service = *plan.services.begin()->second;
  service.cluster_pool.push_back(backend("10.0.9.9"));
  put(more, service);
  start = Clock::now();
  const auto change = mode_->apply(more, plan::diff(plan, more));
  const auto one = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_EQ(change->messages, 1U);

  start = Clock::now();
  const auto counted = mode_->traffic(more);
  const auto scrape = milliseconds_since(start);
  ASSERT_TRUE(counted) << counted.error().message;
  EXPECT_EQ(counted->size(), 10'000U);

  const std::string saved = run({"ipvsadm", "-Sn"});
  EXPECT_EQ(std::ranges::count(saved, '\n'), 10'000 + 100'001);
  auto other = io::NetNamespace::create();
  ASSERT_TRUE(other) << other.error().message;
  start = Clock::now();
  const auto restored =
      io::run_blocking({.argv = {"ipvsadm", "-R"}, .namespaces = {other->fd()}}, saved, 200s);
  const auto theirs = milliseconds_since(start);
  ASSERT_TRUE(restored && restored->status.ok());
  fmt::print(
      "10,000 services x 10: {} ms with sets and addresses ({} messages); ipvsadm -R of the same "
      "virtual servers alone: {} ms; ratio {:.2f}; one endpoint: {} us with diff; "
      "statistics of a scrape, nobody connected: {} ms\n",
      ours, stats.messages, theirs, static_cast<double>(ours) / static_cast<double>(theirs),
      one.count(), scrape);
}

}  // namespace
}  // namespace fairlead::ipvs
