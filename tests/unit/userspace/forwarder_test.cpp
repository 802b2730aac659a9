// The data path over loopback: real sockets, no rules. A client connects to the forwarder's own
// port, which then is the frontend.
#include "proxy/modes/userspace/forwarder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <numeric>

#include "io/fd.hpp"
#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/proxy_protocol.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 10s;
const IpAddress kLoopback = IpAddress::loopback(IpFamily::V4);

io::UniqueFd bound(int type, Port port = {}) {
  const io::KernelAddress address = io::to_kernel({.address = kLoopback, .port = port});
  io::UniqueFd out(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  check(bind(out.get(), address.get(), address.size) == 0, "loopback can be bound");
  return out;
}

Port port_of(const io::UniqueFd& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  check(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0,
        "a bound socket has a name");
  return io::from_kernel(address)->port;
}

io::UniqueFd listening() {
  io::UniqueFd out = bound(SOCK_STREAM);
  check(listen(out.get(), 128) == 0, "a bound socket can listen");
  return out;
}

bool readable(int fd) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
}

io::UniqueFd accept_from(const io::UniqueFd& listener) {
  return readable(listener.get())
             ? io::UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))
             : io::UniqueFd();
}

io::UniqueFd connect_to(Port port, int type = SOCK_STREAM) {
  const io::KernelAddress address = io::to_kernel({.address = kLoopback, .port = port});
  io::UniqueFd out(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  check(connect(out.get(), address.get(), address.size) == 0, "the forwarder listens");
  return out;
}

// Everything until the end, or until an error, which is appended as "!errno".
std::string read_all(int fd) {
  std::string out;
  char buffer[65536];
  while (readable(fd)) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got == 0) return out;
    if (got < 0) return out + fmt::format("!{}", errno);
    out.append(buffer, static_cast<std::size_t>(got));
  }
  return out + "!late";
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (put <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

// Bytes without a period that a lost or repeated block could hide in.
std::string noise(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 1;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

class ForwarderTest : public testing::Test {
 protected:
  void SetUp() override { start({.loops = 2, .families = {IpFamily::V4}}); }

  void start(ForwarderConfig config) {
    forwarder_.reset();
    auto made = Forwarder::create(std::move(config));
    ASSERT_TRUE(made) << made.error().message;
    forwarder_ = *std::move(made);
    forwarder_->begin();
  }

  // The service's endpoints from now on.
  void serve(const std::vector<Port>& endpoints, Protocol protocol = Protocol::Tcp,
             std::optional<std::chrono::seconds> affinity = {}) {
    plan::ServicePlan plan;
    plan.key.service_port = {.namespace_ = "ns", .name = "s", .port = "p", .protocol = protocol};
    plan.affinity = affinity;
    for (const Port port : endpoints)
      plan.cluster_pool.push_back({.address = kLoopback, .port = port});
    plan.frontends.push_back({.kind = plan::FrontendKind::ClusterIp,
                              .address = kLoopback,
                              .port = forwarder_->tcp_ports(IpFamily::V4).pool.first,
                              .target = plan::Target::ClusterPool});
    key_ = plan.key;
    auto after = std::make_shared<const plan::ServicePlan>(std::move(plan));
    ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = after}}));
    plan_ = after;
  }
  io::UniqueFd connect_client() {
    return connect_to(forwarder_->tcp_ports(IpFamily::V4).pool.first);
  }
  ServiceTotals totals() const { return forwarder_->totals().at(0); }
  bool becomes(std::size_t open) const {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (forwarder_->budget().connections() != open && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    return forwarder_->budget().connections() == open;
  }

  std::unique_ptr<Forwarder> forwarder_;
  plan::PlanKey key_;
  plan::ServicePlanPtr plan_;
};

TEST_F(ForwarderTest, BytesArriveWholeInBothDirectionsAtOnce) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd server = accept_from(listener);
  ASSERT_TRUE(server);
  const std::string up = noise(20'000'000);
  const std::string down = noise(15'000'001);
  const auto send_and_end = [](int fd, const std::string& text) {
    const bool sent = write_all(fd, text);
    shutdown(fd, SHUT_WR);
    return sent;
  };
  auto sent_up = std::async(std::launch::async, send_and_end, client.get(), std::cref(up));
  auto sent_down = std::async(std::launch::async, send_and_end, server.get(), std::cref(down));
  auto got_up = std::async(std::launch::async, read_all, server.get());
  const std::string got_down = read_all(client.get());
  EXPECT_TRUE(sent_up.get());
  EXPECT_TRUE(sent_down.get());
  EXPECT_TRUE(got_up.get() == up) << "what the server got differs";
  EXPECT_TRUE(got_down == down) << "what the client got differs";
  EXPECT_TRUE(becomes(0));
  EXPECT_EQ(totals().bytes_in, up.size());
  EXPECT_EQ(totals().bytes_out, down.size());
}

TEST_F(ForwarderTest, AHalfClosedConnectionGoesOnInTheOtherDirection) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd server = accept_from(listener);
  ASSERT_TRUE(write_all(client.get(), "question"));
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_all(server.get()), "question");
  ASSERT_TRUE(write_all(server.get(), "late answer"));
  shutdown(server.get(), SHUT_WR);
  EXPECT_EQ(read_all(client.get()), "late answer");
  EXPECT_TRUE(becomes(0));
}

TEST_F(ForwarderTest, AResetIsPassedOnAsAReset) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  const io::UniqueFd client = connect_client();
  io::UniqueFd server = accept_from(listener);
  // Before that, a reset would be one more endpoint that does not answer.
  ASSERT_TRUE(write_all(client.get(), "x"));
  ASSERT_TRUE(readable(server.get()));
  char got = 0;
  EXPECT_EQ(read(server.get(), &got, 1), 1);
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  server.reset();
  EXPECT_EQ(read_all(client.get()), fmt::format("!{}", ECONNRESET));
  EXPECT_TRUE(becomes(0));
}

// What the endpoint said before it went arrives, as it would without us; nobody dies of the bytes
// that it did not take.
TEST_F(ForwarderTest, AnAnswerArrivesThoughTheRequestWasNotTaken) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  for (int i = 0; i < 20; ++i) {
    const io::UniqueFd client = connect_client();
    io::UniqueFd server = accept_from(listener);
    ASSERT_TRUE(write_all(client.get(), noise(200'000)));
    ASSERT_TRUE(readable(server.get()));
    ASSERT_TRUE(write_all(server.get(), "too large"));
    server.reset();  // with bytes unread: a reset
    std::string got = read_all(client.get());
    EXPECT_EQ(got.substr(0, 9), "too large");
    send(client.get(), "x", 1, MSG_NOSIGNAL);
    EXPECT_TRUE(becomes(0));
  }
}

TEST_F(ForwarderTest, AReaderThatStallsStopsTheWriterAndLosesNothing) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd server = accept_from(listener);
  const std::string text = noise(64 * 1024 * 1024);
  std::string_view left = text;
  const auto writable = [&client] {
    pollfd waiting{.fd = client.get(), .events = POLLOUT, .revents = 0};
    return poll(&waiting, 1, 300) == 1;
  };
  while (!left.empty() && writable()) {
    const ssize_t put = send(client.get(), left.data(), left.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ASSERT_GT(put, 0);
    left.remove_prefix(static_cast<std::size_t>(put));
  }
  EXPECT_FALSE(left.empty()) << "somebody has taken it all in";
  auto got = std::async(std::launch::async, read_all, server.get());
  EXPECT_TRUE(write_all(client.get(), left));
  shutdown(client.get(), SHUT_WR);
  EXPECT_TRUE(got.get() == text);
}

TEST_F(ForwarderTest, AnEndpointThatRefusesIsPassedOver) {
  const io::UniqueFd gone = bound(SOCK_STREAM);  // nobody listens
  const io::UniqueFd listener = listening();
  serve({port_of(gone), port_of(listener)});
  for (int i = 0; i < 6; ++i) {
    const io::UniqueFd client = connect_client();
    const io::UniqueFd server = accept_from(listener);
    ASSERT_TRUE(server);
    ASSERT_TRUE(write_all(server.get(), "x"));
    char got = 0;
    ASSERT_TRUE(readable(client.get()));
    EXPECT_EQ(read(client.get(), &got, 1), 1);
  }
  EXPECT_EQ(totals().refused, 0U);
  EXPECT_GE(totals().retries, 2U);
}

TEST_F(ForwarderTest, WithoutAnEndpointThatAnswersTheClientIsReset) {
  const io::UniqueFd gone = bound(SOCK_STREAM);
  serve({port_of(gone)});
  const io::UniqueFd client = connect_client();
  EXPECT_EQ(read_all(client.get()), fmt::format("!{}", ECONNRESET));
  EXPECT_EQ(totals().refused, 1U);
  EXPECT_TRUE(becomes(0));
}

TEST_F(ForwarderTest, ConnectionsOutliveTheirEndpointAndTheirService) {
  const io::UniqueFd first = listening();
  const io::UniqueFd second = listening();
  serve({port_of(first)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd server = accept_from(first);
  serve({port_of(second)});
  ASSERT_TRUE(write_all(client.get(), "still"));
  ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = nullptr}}));
  ASSERT_TRUE(write_all(client.get(), " there"));
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_all(server.get()), "still there");
  const io::UniqueFd late = connect_client();
  EXPECT_EQ(read_all(late.get()), fmt::format("!{}", ECONNRESET)) << "the service is gone";
}

TEST_F(ForwarderTest, AboveTheLimitNewConnectionsAreRefusedAndOldOnesLive) {
  start({.loops = 1, .most_connections = 3, .families = {IpFamily::V4}});
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  std::vector<io::UniqueFd> clients, servers;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(connect_client());
    servers.push_back(accept_from(listener));
  }
  const io::UniqueFd surplus = connect_client();
  EXPECT_EQ(read_all(surplus.get()), fmt::format("!{}", ECONNRESET));
  EXPECT_EQ(totals().refused, 1U);
  ASSERT_TRUE(write_all(clients[0].get(), "x"));
  EXPECT_TRUE(readable(servers[0].get()));
}

TEST_F(ForwarderTest, DrainingRefusesNewConnectionsAndWaitsForTheOthers) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  io::UniqueFd client = connect_client();
  io::UniqueFd server = accept_from(listener);
  EXPECT_FALSE(forwarder_->drain(std::chrono::steady_clock::now() + 50ms));
  const io::KernelAddress address =
      io::to_kernel({.address = kLoopback, .port = forwarder_->tcp_ports(IpFamily::V4).pool.first});
  const io::UniqueFd late(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(connect(late.get(), address.get(), address.size), 0);
  client.reset();
  server.reset();
  EXPECT_TRUE(forwarder_->drain(std::chrono::steady_clock::now() + kPatience));
}

TEST_F(ForwarderTest, AnotherTakesTheSocketsWithTheConnectionsThatWaitAtThem) {
  const io::UniqueFd listener = listening();
  serve({port_of(listener)});
  const io::UniqueFd old_client = connect_client();
  const io::UniqueFd old_server = accept_from(listener);
  ASSERT_TRUE(old_server);
  ASSERT_TRUE(becomes(1));

  const Port port = forwarder_->tcp_ports(IpFamily::V4).pool.first;
  auto next = Forwarder::create({.loops = 1, .families = {IpFamily::V4}}, forwarder_->copies());
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ((*next)->tcp_ports(IpFamily::V4).pool.first, port);
  ASSERT_TRUE((*next)->apply({{.before = nullptr, .after = plan_}}));
  forwarder_->let_go();
  const io::UniqueFd new_client = connect_client();  // nobody takes it yet
  ASSERT_TRUE(write_all(new_client.get(), "new"));
  (*next)->begin();
  const io::UniqueFd new_server = accept_from(listener);
  ASSERT_TRUE(readable(new_server.get()));
  EXPECT_EQ((*next)->budget().connections(), 1U);
  EXPECT_EQ(forwarder_->budget().connections(), 1U);
  ASSERT_TRUE(write_all(old_client.get(), "old"));
  EXPECT_TRUE(readable(old_server.get())) << "what had begun goes on";
}

TEST_F(ForwarderTest, SocketsThatDoNotMakeAWholeRangeAreNotUsed) {
  Sockets some = forwarder_->copies();
  some.tcp.erase(std::next(some.tcp.begin()));
  const auto next = Forwarder::create({.loops = 1, .families = {IpFamily::V4}}, std::move(some));
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_NE(number((*next)->tcp_ports(IpFamily::V4).pool.first),
            number(forwarder_->tcp_ports(IpFamily::V4).pool.first));
}

// ---- UDP

TEST_F(ForwarderTest, EndpointsThatWantItAreToldOfTheClientFirst) {
  const io::UniqueFd server = listening();
  serve({port_of(server)});
  auto plan = *plan_;
  plan.proxy_protocol = true;
  const auto after = std::make_shared<const plan::ServicePlan>(plan);
  ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = after}}));
  const io::UniqueFd client = connect_client();
  ASSERT_TRUE(write_all(client.get(), "hello"));
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  const io::UniqueFd accepted = accept_from(server);
  const std::string expected =
      proxy_header({.address = kLoopback, .port = port_of(client)},
                   {.address = kLoopback, .port = forwarder_->tcp_ports(IpFamily::V4).pool.first}) +
      "hello";
  EXPECT_EQ(read_all(accepted.get()), expected);
}

TEST_F(ForwarderTest, EndpointsAreCountedOneByOne) {
  const io::UniqueFd server = listening();
  serve({port_of(server)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd accepted = accept_from(server);
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (totals().opened == 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  const auto counts = totals().endpoints;
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts.begin()->second.open, 1U);
  EXPECT_EQ(counts.begin()->second.total, 1U);
}

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
  serve({port_of(server)}, Protocol::Udp);
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
  serve({port_of(server)}, Protocol::Udp);
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
  serve({port_of(server)}, Protocol::Udp);
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
  serve({port_of(server)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  const std::string large = noise(60'000);
  ASSERT_TRUE(write_all(client.get(), large));
  EXPECT_TRUE(receive(server.get()) == large);
}

TEST_F(UdpForwarderTest, AFlowEndsWhenItIsIdleAndTheNextIsBalancedAnew) {
  const io::UniqueFd first = bound(SOCK_DGRAM);
  const io::UniqueFd second = bound(SOCK_DGRAM);
  serve({port_of(first), port_of(second)}, Protocol::Udp);
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
  serve({port_of(first)}, Protocol::Udp);
  const io::UniqueFd client = connect_udp();
  ASSERT_TRUE(write_all(client.get(), "one"));
  EXPECT_EQ(receive(first.get()), "one");
  serve({port_of(second)}, Protocol::Udp);
  ASSERT_TRUE(write_all(client.get(), "two"));
  EXPECT_EQ(receive(second.get()), "two");
}

TEST_F(UdpForwarderTest, AFlowLeavesAnEndpointWhereNobodyListensAnyMore) {
  io::UniqueFd first = bound(SOCK_DGRAM);
  const io::UniqueFd second = bound(SOCK_DGRAM);
  serve({port_of(first), port_of(second)}, Protocol::Udp);
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
