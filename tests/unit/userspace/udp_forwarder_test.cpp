// UDP through the forwarder: flows of clients, each with answers of its own.
#include <gmock/gmock.h>

#include "unit/userspace/forwarder_fixture.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

std::string receive(int fd, sockaddr_in* from = nullptr) {
  if (!readable(fd)) return "!late";
  char buffer[65536];
  socklen_t size = sizeof(sockaddr_in);
  const ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(from),
                               from == nullptr ? nullptr : &size);
  return got < 0 ? fmt::format("!{}", errno) : std::string(buffer, static_cast<std::size_t>(got));
}

class UdpForwarderTest : public ForwarderTest {
 protected:
  void SetUp() override { start({.loops = 2, .udp_idle = 200ms, .families = {IpFamily::V4}}); }
  bool a_flow_ends() const {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (totals().closed == 0 && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    return totals().closed == 1;
  }
  io::UniqueFd connect_udp() {
    return connect_to(*forwarder_->udp_port({.key = key_, .pool = PoolKind::Cluster}), SOCK_DGRAM);
  }
};

TEST_F(UdpForwarderTest, EachClientGetsItsAnswers) {
  const io::UniqueFd server = bound(SOCK_DGRAM);
  serve({*port_of(server)}, Protocol::Udp);
  std::vector<io::UniqueFd> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connect_udp());
    ASSERT_TRUE(write_all(clients.back().get(), fmt::format("question {}", i)));
    sockaddr_in from{};
    ASSERT_EQ(receive(server.get(), &from), fmt::format("question {}", i));
    const std::string answer = fmt::format("answer {}", i);
    sendto(server.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from),
           sizeof from);
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(receive(clients[static_cast<std::size_t>(i)].get()), fmt::format("answer {}", i));
  }
}

TEST_F(UdpForwarderTest, AServiceThatGoesTakesItsFlowsAlong) {
  const io::UniqueFd server = bound(SOCK_DGRAM);
  serve({*port_of(server)}, Protocol::Udp);
  const io::UniqueFd one = connect_udp();
  const io::UniqueFd other = connect_udp();
  ASSERT_TRUE(write_all(one.get(), "x"));
  ASSERT_TRUE(write_all(other.get(), "y"));
  // Each client's loop is its own: which datagram arrives first is nobody's promise.
  EXPECT_THAT((std::vector{receive(server.get()), receive(server.get())}),
              testing::UnorderedElementsAre("x", "y"));
  ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = nullptr}}));
  EXPECT_TRUE(forwarder_->drain(std::chrono::steady_clock::now()));
}

TEST_F(UdpForwarderTest, AnotherTakesTheSocketAndNoDatagramIsLost) {
  const io::UniqueFd server = bound(SOCK_DGRAM);
  serve({*port_of(server)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  const UdpEntry entry{.key = key_, .pool = PoolKind::Cluster};
  auto next = Forwarder::create({.loops = 1, .families = {IpFamily::V4}}, forwarder_->copies());
  ASSERT_TRUE(next) << next.error().message;
  ASSERT_TRUE((*next)->apply({{.before = nullptr, .after = plan_}}));
  EXPECT_EQ((*next)->udp_port(entry), forwarder_->udp_port(entry));
  forwarder_->let_go();
  ASSERT_TRUE(write_all(client.get(), "between"));
  (*next)->begin();
  EXPECT_EQ(receive(server.get()), "between");
  EXPECT_EQ((*next)->totals().at(0).opened, 1U);
  EXPECT_EQ(totals().opened, 0U);
}

TEST_F(UdpForwarderTest, LargeDatagramsStayWhole) {
  const io::UniqueFd server = bound(SOCK_DGRAM);
  serve({*port_of(server)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  const std::string large = noise(60'000);
  ASSERT_TRUE(write_all(client.get(), large));
  EXPECT_TRUE(receive(server.get()) == large);
}

TEST_F(UdpForwarderTest, AFlowEndsWhenItIsIdleAndTheNextIsBalancedAnew) {
  const io::UniqueFd first = bound(SOCK_DGRAM);
  const io::UniqueFd second = bound(SOCK_DGRAM);
  serve({*port_of(first), *port_of(second)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  ASSERT_TRUE(write_all(client.get(), "one"));
  EXPECT_EQ(receive(first.get()), "one");
  ASSERT_TRUE(write_all(client.get(), "two"));
  EXPECT_EQ(receive(first.get()), "two");
  EXPECT_TRUE(a_flow_ends());
  ASSERT_TRUE(write_all(client.get(), "three"));
  EXPECT_EQ(receive(second.get()), "three");
}

TEST_F(UdpForwarderTest, AFlowLeavesAnEndpointThatIsGone) {
  const io::UniqueFd first = bound(SOCK_DGRAM);
  const io::UniqueFd second = bound(SOCK_DGRAM);
  serve({*port_of(first)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  ASSERT_TRUE(write_all(client.get(), "one"));
  EXPECT_EQ(receive(first.get()), "one");
  serve({*port_of(second)}, Protocol::Udp);
  ASSERT_TRUE(write_all(client.get(), "two"));
  EXPECT_EQ(receive(second.get()), "two");
}

TEST_F(UdpForwarderTest, AFlowLeavesAnEndpointWhereNobodyListensAnyMore) {
  io::UniqueFd first = bound(SOCK_DGRAM);
  const io::UniqueFd second = bound(SOCK_DGRAM);
  serve({*port_of(first), *port_of(second)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  ASSERT_TRUE(write_all(client.get(), "one"));
  EXPECT_EQ(receive(first.get()), "one");
  first.reset();
  // The first datagram meets nobody, which ends the flow.
  ASSERT_TRUE(write_all(client.get(), "lost"));
  EXPECT_TRUE(a_flow_ends());
  ASSERT_TRUE(write_all(client.get(), "two"));
  EXPECT_EQ(receive(second.get()), "two");
}

}  // namespace
}  // namespace fairlead::userspace
