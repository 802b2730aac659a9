// Mode ipvs under connections of real clients: what is counted is current whenever it is asked for,
// and whoever is connected stays so while endpoints leave, come back and flap.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/text.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"
#include "proxy/modes/ipvs/ipvs_mode.hpp"
#include "unit/ipvs/plans.hpp"

namespace fairlead::ipvs {
namespace {

using namespace std::chrono_literals;
using testing::backend;
using ::testing::Contains;
using ::testing::Each;
using ::testing::IsEmpty;
using Steady = std::chrono::steady_clock;

constexpr auto kPatience = 10s;
constexpr std::string_view kStays = "10.0.1.3";
constexpr std::string_view kLeaves = "10.0.2.2";

struct Connection {
  std::string backend;
  io::UniqueFd socket;
};

// On node1 of a rig: one service of TCP and one of UDP, of an endpoint that stays and one that may
// leave.
class LiveIpvsTest : public packets::RigTest {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/proc/net/ip_vs"))
      GTEST_SKIP() << "this kernel has no IPVS; tests/vm/machine has one";
    RigTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const auto made = rig().node().network.run([&]() -> Result<void> {
      FAIRLEAD_TRY(mode, create({}));
      mode_ = std::move(mode);
      return {};
    });
    ASSERT_TRUE(made) << made.error().message;
    plan_ = plan_of({kStays, kLeaves});
    const auto programmed = mode_->apply_full(plan_);
    ASSERT_TRUE(programmed) << programmed.error().message;
  }

  static plan::Plan plan_of(const std::vector<std::string_view>& endpoints) {
    plan::Plan out = testing::empty_plan();
    for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp}) {
      plan::Pool pool;
      for (const std::string_view address : endpoints) pool.push_back(backend(address));
      auto service = testing::simple_service("web", "10.96.0.1", std::move(pool));
      service.key.service_port.protocol = protocol;
      testing::put(out, std::move(service));
    }
    return out;
  }
  void change_to(const std::vector<std::string_view>& endpoints) {
    plan::Plan next = plan_of(endpoints);
    const auto done = mode_->apply(next, plan::diff(plan_, next));
    ASSERT_TRUE(done) << done.error().message;
    plan_ = std::move(next);
  }

  packets::Outcome send(Protocol protocol) {
    const packets::Send what{.from = "pod1",
                             .protocol = protocol,
                             .to = {.address = testing::ip("10.96.0.1"), .port = Port{80}}};
    auto outcomes = packets::send_all(rig(), {what}, kPatience);
    EXPECT_EQ(outcomes.front().fate, packets::Fate::Answered) << outcomes.front().to_string();
    return std::move(outcomes.front());
  }
  Connection connect() {
    auto outcome = send(Protocol::Tcp);
    return {.backend = outcome.backend, .socket = std::move(outcome.connection)};
  }
  // Round robin: one on each endpoint.
  std::vector<Connection> connect_to_both() {
    std::vector<Connection> out;
    for (int i = 0; i < 2; ++i) out.push_back(connect());
    EXPECT_NE(out[0].backend, out[1].backend);
    return out;
  }
  static void expect_alive(const std::vector<Connection>& connections) {
    for (const Connection& each : connections)
      EXPECT_TRUE(packets::still_answers(each.socket, kPatience)) << each.backend;
  }
  static void reset(std::vector<Connection> connections) {
    const linger none{.l_onoff = 1, .l_linger = 0};
    for (const Connection& each : connections)
      ::setsockopt(each.socket.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }

  // "10.0.2.2:8080 0": real servers of the protocol with their weights.
  std::vector<std::string> real_servers(char protocol) {
    const auto saved = packets::Rig::run(rig().node(), {"ipvsadm", "-Sn"});
    EXPECT_TRUE(saved) << saved.error().message;
    std::vector<std::string> out;
    const std::string text = saved ? *saved : "";
    for (const std::string_view line : split(text, '\n')) {
      const auto words = split(line, ' ');
      if (words.size() >= 8 && words[0] == "-a" && words[1][1] == protocol)
        out.push_back(fmt::format("{} {}", words[4], words[7]));
    }
    return out;
  }
  std::vector<plan::Traffic> traffic() {
    const auto counted = mode_->traffic(plan_);
    EXPECT_TRUE(counted) << counted.error().message;
    std::vector<plan::Traffic> out = counted.value_or(std::vector<plan::Traffic>{});
    std::erase_if(out, [](const plan::Traffic& t) {
      return t.service.service_port.protocol != Protocol::Tcp;
    });
    return out;
  }
  // What the proxy does when the mode's descriptor is readable, until `holds`.
  bool attend_until(const std::function<bool()>& holds) {
    const auto deadline = Steady::now() + 60s;
    while (!holds()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Steady::now());
      if (left <= 0ms) return false;
      pollfd wait{.fd = mode_->tamper_fd(), .events = POLLIN};
      ::poll(&wait, 1, static_cast<int>(left.count()));
      const auto tampered = mode_->tampered();
      EXPECT_TRUE(tampered && !*tampered);
    }
    return true;
  }
  static bool comes_true(const std::function<bool()>& holds) {
    const auto deadline = Steady::now() + 20s;
    while (!holds()) {
      if (Steady::now() > deadline) return false;
      std::this_thread::sleep_for(50ms);  // sleeps: between two looks at the kernel's counters
    }
    return true;
  }
  void expect_in_order() {
    const auto found = mode_->verify(plan_, 9);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_THAT(*found, IsEmpty());
  }

  std::unique_ptr<plan::Mode> mode_;
  plan::Plan plan_;
};

// The kernel adds up what it counted every two seconds; how many connections there are it knows at
// once.
TEST_F(LiveIpvsTest, CountsAreThoseOfTheMomentTheyAreAskedFor) {
  ASSERT_EQ(traffic().size(), 1U);
  EXPECT_EQ(traffic()[0].connections, 0U);
  auto connections = connect_to_both();
  const auto counts = [&](std::uint64_t bytes) {
    const auto now = traffic();
    return now.size() == 3 && now[0].connections == 2 && now[0].bytes_in > bytes &&
           now[0].packets_out.value_or(0) > 2 && now[1].connections == 1 && now[1].active == 1 &&
           now[2].connections == 1 && now[2].active == 1 &&
           now[1].bytes_in + now[2].bytes_in == now[0].bytes_in;
  };
  ASSERT_TRUE(comes_true([&] { return counts(0); })) << "of the service and both endpoints";
  const std::uint64_t before = traffic()[0].bytes_in;
  ASSERT_TRUE(packets::still_answers(connections[0].socket, kPatience));
  EXPECT_TRUE(comes_true([&] { return counts(before); }));
  reset(std::move(connections));
  const auto closed = traffic();
  EXPECT_EQ(closed[0].connections, 2U);
  EXPECT_EQ(closed[1].active + closed[2].active, 0U) << "at once";
}

TEST_F(LiveIpvsTest, LeavingEndpointServesItsConnectionsUntilTheyEndAndIsRemovedThen) {
  auto connections = connect_to_both();
  change_to({kStays});
  EXPECT_THAT(real_servers('t'),
              ::testing::UnorderedElementsAre("10.0.1.3:8080 1", "10.0.2.2:8080 0"));
  expect_alive(connections);
  auto others = connect();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(connect().backend, others.backend) << "only one is left";
  expect_in_order();
  reset(std::move(connections));
  EXPECT_TRUE(attend_until([&] { return real_servers('t').size() == 1; }));
  EXPECT_THAT(real_servers('t'), Each("10.0.1.3:8080 1"));
  EXPECT_TRUE(packets::still_answers(others.socket, kPatience));
}

TEST_F(LiveIpvsTest, DatagramsGoElsewhereAtOnce) {
  for (int i = 0; i < 2; ++i) send(Protocol::Udp);
  change_to({kStays});
  EXPECT_THAT(real_servers('u'), Each("10.0.1.3:8080 1"));
  const std::string left = send(Protocol::Udp).backend;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(send(Protocol::Udp).backend, left);
}

// Each round opens one more connection, on whichever endpoint is its turn.
TEST_F(LiveIpvsTest, FlappingEndpointLosesNoConnectionAndIsChosenWheneverItIsThere) {
  std::vector<Connection> connections = connect_to_both();
  const auto on_both = [&] {
    std::set<std::string> out;
    for (const Connection& each : connections) out.insert(each.backend);
    return out;
  }();
  for (int round = 0; round < 20; ++round) {
    change_to({kStays});
    EXPECT_THAT(real_servers('t'), Contains("10.0.2.2:8080 0"));
    connections.push_back(connect());
    change_to({kStays, kLeaves});
    EXPECT_THAT(real_servers('t'), Contains("10.0.2.2:8080 1"));
    if (round % 5 != 0) continue;
    std::set<std::string> chosen;
    for (Connection& each : connect_to_both()) {
      chosen.insert(each.backend);
      connections.push_back(std::move(each));
    }
    EXPECT_EQ(chosen, on_both);
    expect_alive(connections);
  }
  expect_alive(connections);
  expect_in_order();
  EXPECT_TRUE(comes_true([&] {
    const auto counted = traffic();
    return counted.size() == 3 && counted[1].active + counted[2].active == connections.size();
  }));
}

}  // namespace
}  // namespace fairlead::ipvs
