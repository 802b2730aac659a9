// The mode on a kernel in memory: whatever came before, a plan leads to the same state; a change
// costs what changed; connections end in peace; what is not ours stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/modes/ipvs/ipvs_mode.hpp"
#include "unit/ipvs/memory_kernel.hpp"
#include "unit/ipvs/plans.hpp"

namespace fairlead::ipvs {
namespace {

using testing::backend;
using testing::cidr;
using ::testing::Contains;
using testing::ip;
using ::testing::IsEmpty;
using testing::MemoryKernel;
using ::testing::Not;
using testing::put;

IpvsMode mode_in(MemoryKernel::World& world, std::vector<IpPrefix> excluded = {}) {
  return {std::make_unique<MemoryKernel>(world),
          IpvsMode::Options{.exclude_cidrs = std::move(excluded)}};
}

ServerKey tcp(std::string_view address, std::uint16_t port = 80) {
  return {.address = ip(address), .port = Port{port}};
}
Destination to(std::string_view address) { return {.address = ip(address), .port = Port{8080}}; }

void expect_ok(const auto& result) { ASSERT_TRUE(result) << result.error().message; }

// What a fresh start makes of the plan.
State state_of(const plan::Plan& plan) {
  MemoryKernel::World world;
  auto mode = mode_in(world);
  expect_ok(mode.apply_full(plan));
  return world.state;
}

class IpvsModeTest : public ::testing::Test {
 protected:
  void start(const plan::Plan& plan) {
    plan_ = plan;
    expect_ok(mode_.apply_full(plan_));
  }
  plan::ApplyStats change_to(const plan::Plan& plan) {
    const auto delta = plan::diff(plan_, plan);
    plan_ = plan;
    const auto stats = mode_.apply(plan_, delta);
    EXPECT_TRUE(stats) << stats.error().message;
    return stats ? *stats : plan::ApplyStats{};
  }
  void expect_in_order() {
    const auto differences = mode_.verify(plan_, 10);
    ASSERT_TRUE(differences);
    EXPECT_THAT(*differences, IsEmpty());
  }

  MemoryKernel::World world_;
  FakeClock clock_;
  IpvsMode mode_{std::make_unique<MemoryKernel>(world_), IpvsMode::Options{.clock = &clock_}};
  plan::Plan plan_;
};

plan::Plan two_endpoints() {
  plan::Plan plan = testing::empty_plan();
  put(plan,
      testing::simple_service("web", "10.96.0.1", {backend("10.0.1.2"), backend("10.0.2.2")}));
  return plan;
}
plan::Plan one_endpoint() {
  plan::Plan plan = testing::empty_plan();
  put(plan, testing::simple_service("web", "10.96.0.1", {backend("10.0.1.2")}));
  return plan;
}

TEST_F(IpvsModeTest, AnySequenceOfChangesLeadsWhereAFreshStartLeads) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    start(testing::random_plan(random));
    for (int step = 0; step < 10; ++step) {
      change_to(testing::random_plan(random));
      ASSERT_EQ(world_.state, state_of(plan_)) << "step " << step;
      expect_in_order();
    }
  }
}

TEST_F(IpvsModeTest, RestartFindsEverythingAndChangesNothing) {
  start(testing::example_plan());
  const State before = world_.state;
  auto restarted = mode_in(world_);
  const auto stats = restarted.apply_full(plan_);
  ASSERT_TRUE(stats);
  EXPECT_EQ(*stats, plan::ApplyStats{});
  EXPECT_EQ(world_.state, before);
}

TEST_F(IpvsModeTest, AnyRefusalIsMendedByTheNextFullApply) {
  const State wanted = state_of(testing::example_plan());
  for (std::size_t k = 1;; ++k) {
    MemoryKernel::World world;
    auto mode = mode_in(world);
    world.fail_at = k;
    if (mode.apply_full(testing::example_plan())) break;  // past the last operation
    world.fail_at = 0;
    expect_ok(mode.apply_full(testing::example_plan()));
    ASSERT_EQ(world.state, wanted) << "operation " << k;
  }
}

TEST_F(IpvsModeTest, OneEndpointOfThousandsIsAHandfulOfMessages) {
  start(testing::large_plan(2000, 5));
  const std::size_t reads = world_.reads;
  plan::Plan more = plan_;
  auto service = *plan_.services.begin()->second;
  service.cluster_pool.push_back(backend("10.0.9.9"));
  put(more, service);
  EXPECT_EQ(change_to(more), (plan::ApplyStats{.transactions = 1, .messages = 1, .elements = 1}));

  service.cluster_pool.pop_back();
  plan::Plan fewer = plan_;
  put(fewer, service);
  // Weight 0, how many connections, and away with it.
  EXPECT_EQ(change_to(fewer), (plan::ApplyStats{.transactions = 3, .messages = 3, .elements = 2}));
  EXPECT_EQ(world_.reads, reads) << "the kernel's tables are not read for a change";
}

TEST_F(IpvsModeTest, LeavingEndpointKeepsItsConnectionsUntilTheyEnd) {
  start(two_endpoints());
  auto& connections = world_.connections[tcp("10.96.0.1")];
  connections[to("10.0.2.2")].inactive = 1;
  change_to(one_endpoint());
  EXPECT_EQ(world_.state.servers.at(tcp("10.96.0.1")).destinations,
            (std::map<Destination, std::uint32_t>{{to("10.0.1.2"), 1}, {to("10.0.2.2"), 0}}));
  EXPECT_TRUE(world_.timer_is_set);
  expect_in_order();

  connections[to("10.0.2.2")].inactive = 0;
  world_.wake.timer = true;
  const auto tampered = mode_.tampered();
  ASSERT_TRUE(tampered);
  EXPECT_FALSE(*tampered);
  EXPECT_EQ(world_.state, state_of(plan_));
}

TEST_F(IpvsModeTest, LeavingEndpointThatReturnsIsChosenAgain) {
  start(two_endpoints());
  world_.connections[tcp("10.96.0.1")][to("10.0.2.2")].active = 1;
  change_to(one_endpoint());
  change_to(two_endpoints());
  EXPECT_EQ(world_.state, state_of(plan_));
  expect_in_order();
}

TEST_F(IpvsModeTest, DatagramsDoNotWait) {
  plan::Plan plan = two_endpoints();
  auto service = *plan.services.begin()->second;
  service.key.service_port.protocol = Protocol::Udp;
  plan.services.clear();
  put(plan, service);
  start(plan);
  ServerKey server = tcp("10.96.0.1");
  server.protocol = Protocol::Udp;
  world_.connections[server][to("10.0.2.2")].inactive = 5;
  service.cluster_pool.pop_back();
  put(plan, service);
  change_to(plan);
  EXPECT_EQ(world_.state, state_of(plan_));
}

TEST_F(IpvsModeTest, DeletedServiceStaysForItsConnectionsAndNoLonger) {
  start(two_endpoints());
  world_.connections[tcp("10.96.0.1")][to("10.0.2.2")].active = 1;
  change_to(testing::empty_plan());
  EXPECT_EQ(world_.state.servers.at(tcp("10.96.0.1")).destinations,
            (std::map<Destination, std::uint32_t>{{to("10.0.2.2"), 0}}));
  EXPECT_THAT(world_.state.addresses, Contains(ip("10.96.0.1")));
  expect_in_order();

  auto restarted = mode_in(world_);
  expect_ok(restarted.apply_full(plan_));
  EXPECT_THAT(world_.state.addresses, Contains(ip("10.96.0.1"))) << "a restart knows nothing else";

  world_.connections.clear();
  world_.wake.timer = true;
  expect_ok(restarted.tampered());
  EXPECT_EQ(world_.state, State{});
}

TEST_F(IpvsModeTest, ForeignServersAreNeverTouched) {
  const ServerKey foreign = tcp("203.0.113.1");
  const ServerKey foreign_mark{.mark = 7, .address = ip("0.0.0.0")};
  world_.state.servers[foreign] = Server{.scheduling = {.name = "wlc"}};
  world_.state.servers[foreign_mark] = Server{};
  start(testing::example_plan());
  change_to(one_endpoint());
  expect_ok(mode_.cleanup());
  EXPECT_EQ(world_.state.servers.size(), 2U);
  EXPECT_TRUE(world_.state.servers.contains(foreign));
  EXPECT_THAT(world_.state.entries, IsEmpty());
  EXPECT_THAT(world_.sets, IsEmpty());
  EXPECT_FALSE(world_.device);
}

TEST_F(IpvsModeTest, ServersThatKubeProxyMadeOnAddressesOfTheNodeGo) {
  const ServerKey node_port = tcp("192.168.50.1", 30080);
  const ServerKey other = tcp("192.168.50.1", 30081);
  world_.state.servers[node_port] = world_.state.servers[other] = Server{};
  world_.of_kube_proxy = {node_port};
  start(one_endpoint());
  EXPECT_FALSE(world_.state.servers.contains(node_port));
  EXPECT_TRUE(world_.state.servers.contains(other));
  world_.state.servers[node_port] = Server{};
  expect_ok(mode_.cleanup());
  EXPECT_FALSE(world_.state.servers.contains(node_port));
  EXPECT_TRUE(world_.state.servers.contains(other));
}

TEST_F(IpvsModeTest, ServersInExcludedRangesAreNotDeleted) {
  world_.device = true;
  world_.state.addresses.insert(ip("10.96.7.7"));
  world_.state.servers[tcp("10.96.7.7")] = Server{};
  auto mode = mode_in(world_, {cidr("10.96.7.0/24")});
  expect_ok(mode.apply_full(one_endpoint()));
  EXPECT_TRUE(world_.state.servers.contains(tcp("10.96.7.7")));
  auto other = mode_in(world_);
  expect_ok(other.apply_full(one_endpoint()));
  EXPECT_FALSE(world_.state.servers.contains(tcp("10.96.7.7"))) << "its address is on our device";
}

TEST_F(IpvsModeTest, NewAddressOfTheNodeAnswersNodePortsAfterTheNextFullApply) {
  start(testing::example_plan());
  world_.interfaces.insert(ip("192.168.60.1"));
  world_.wake.events = {{.added = true, .address = ip("192.168.60.1")}};
  const auto tampered = mode_.tampered();
  ASSERT_TRUE(tampered);
  EXPECT_TRUE(*tampered);
  expect_ok(mode_.apply_full(plan_));
  EXPECT_TRUE(world_.state.servers.contains(tcp("192.168.60.1", 30080)));
}

TEST_F(IpvsModeTest, AddressTakenFromTheDeviceIsNoticed) {
  start(one_endpoint());
  world_.wake.events = {{.on_device = true, .added = true, .address = ip("10.96.0.1")}};
  EXPECT_EQ(*mode_.tampered(), false) << "our own";
  world_.wake.events = {{.on_device = true, .added = false, .address = ip("10.96.0.1")}};
  EXPECT_EQ(*mode_.tampered(), true);
  world_.state.addresses.clear();
  EXPECT_THAT(*mode_.verify(plan_, 10), Contains("to mend it: bind 10.96.0.1"));
}

TEST_F(IpvsModeTest, TrafficOfAllServersOfAServiceIsItsSum) {
  start(testing::example_plan());
  const auto key = testing::key("everywhere");
  const Destination busy = to("10.0.1.2");
  const ServerKey node_port = tcp("192.168.50.1", 30080);
  world_.traffic = {
      {.server = tcp("10.96.0.15"),
       .connections = 3,
       .packets_in = 7,
       .packets_out = 8,
       .bytes_in = 10,
       .bytes_out = 20},
      {.server = tcp("10.96.0.15"), .destination = busy, .connections = 3, .active = 1},
      {.server = tcp("10.96.0.15"), .destination = to("10.0.2.2")},
      {.server = node_port, .connections = 1, .bytes_in = 5, .bytes_out = 6},
      {.server = node_port, .destination = busy, .connections = 1, .active = 1},
      {.server = tcp("203.0.113.1"), .connections = 99},
  };
  const auto traffic = mode_.traffic(plan_);
  ASSERT_TRUE(traffic);
  const std::vector<plan::Traffic> wanted = {
      {.service = key,
       .connections = 4,
       .bytes_in = 15,
       .bytes_out = 26,
       .packets_in = 7,
       .packets_out = 8},
      {.service = key,
       .endpoint = SocketAddress{.address = busy.address, .port = busy.port},
       .connections = 4,
       .packets_in = 0,
       .packets_out = 0,
       .active = 2}};
  EXPECT_EQ(*traffic, wanted);
}

class TrafficTest : public IpvsModeTest {
 protected:
  void SetUp() override { start(testing::large_plan(50, 2)); }
  // A service's first server and its one busy endpoint, which has no connection any more.
  void count(std::size_t service, std::uint64_t connections, std::uint64_t active = 0) {
    const auto& plan = *std::next(plan_.services.begin(), static_cast<std::ptrdiff_t>(service));
    const ServerKey server = tcp(plan.second->frontends.front().address.to_string());
    std::erase_if(world_.traffic, [&](const TrafficSample& s) { return s.server == server; });
    world_.traffic.push_back({.server = server, .connections = connections});
    world_.traffic.push_back({.server = server,
                              .destination = to("10.0.1.2"),
                              .connections = connections,
                              .active = active});
  }
  // How many servers' destinations it took.
  std::size_t scrape() {
    clock_.advance(kSettling);
    world_.listed.clear();
    counted_ = *mode_.traffic(plan_);
    return world_.listed.size();
  }
  std::vector<plan::Traffic> counted_;
};

TEST_F(TrafficTest, OnlyServersOnWhichSomethingHappenedAreLookedInto) {
  for (std::size_t i = 0; i < 50; ++i) count(i, 0);
  EXPECT_EQ(scrape(), 0U) << "nobody came yet";
  EXPECT_EQ(counted_.size(), 50U);
  count(1, 5);
  count(2, 6);
  EXPECT_EQ(scrape(), 2U);
  EXPECT_EQ(counted_.size(), 52U);
  EXPECT_EQ(scrape(), 2U) << "their numbers may have come after the server's";
  EXPECT_EQ(scrape(), 0U);
  EXPECT_EQ(counted_.size(), 52U) << "and what was known is said again";
  count(2, 7);
  EXPECT_EQ(scrape(), 1U);
}

TEST_F(TrafficTest, OpenConnectionsAreLookedAtEachTimeForTheyMayTimeOut) {
  count(3, 5, 2);
  EXPECT_EQ(scrape(), 1U);
  EXPECT_EQ(counted_.back().active, 2U);
  count(3, 5, 0);
  EXPECT_EQ(scrape(), 1U);
  EXPECT_EQ(counted_.back().active, 0U);
  EXPECT_EQ(scrape(), 0U);
}

TEST_F(TrafficTest, ChangedEndpointsAndDeletedServicesAreForgotten) {
  count(0, 5);
  count(1, 5);
  EXPECT_EQ(scrape(), 2U);
  plan::Plan changed = plan_;
  auto service = *plan_.services.begin()->second;
  service.cluster_pool.push_back(backend("10.0.9.9"));
  put(changed, service);
  testing::drop(changed, std::next(plan_.services.begin())->first);
  change_to(changed);
  EXPECT_EQ(scrape(), 1U);
  EXPECT_EQ(counted_.size(), 2U) << "the other service's series are gone";
}

TEST_F(TrafficTest, BeyondTheBoundThoseThatWaitLongestAreNext) {
  start(testing::large_plan(kMostListings + 10, 1));
  for (std::size_t i = 0; i < kMostListings + 10; ++i) count(i, 1);
  EXPECT_EQ(scrape(), kMostListings);
  const std::set<ServerKey> first(world_.listed.begin(), world_.listed.end());
  EXPECT_EQ(counted_.size(), 2 * kMostListings + 10) << "services are always counted";
  count(0, 2);
  EXPECT_EQ(scrape(), kMostListings);
  EXPECT_EQ(std::ranges::count_if(world_.listed, [&](const auto& s) { return first.contains(s); }),
            kMostListings - 10);
  EXPECT_EQ(counted_.size(), 2 * kMostListings + 20);
}

TEST_F(IpvsModeTest, SchedulerTheKernelLacksIsTheNodesChoiceInstead) {
  plan::Plan plan = testing::empty_plan();
  auto service = testing::simple_service("web", "10.96.0.1", {backend("10.0.1.2")});
  service.ipvs_scheduler = "lblcr";
  put(plan, service);
  start(plan);
  EXPECT_EQ(world_.state.servers.at(tcp("10.96.0.1")).scheduling, (Scheduling{.name = "rr"}));
  service.ipvs_scheduler = "mh";
  put(plan, service);
  change_to(plan);
  EXPECT_EQ(world_.state.servers.at(tcp("10.96.0.1")).scheduling,
            (Scheduling{.name = "mh", .flags = kHashPort}));
}

}  // namespace
}  // namespace fairlead::ipvs
