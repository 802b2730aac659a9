// TCP through the forwarder.
#include <gmock/gmock.h>

#include <future>

#include "proxy/modes/userspace/proxy_protocol.hpp"
#include "unit/userspace/forwarder_fixture.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

TEST_F(ForwarderTest, BytesArriveWholeInBothDirectionsAtOnce) {
  const io::UniqueFd listener = listening();
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(gone), *port_of(listener)});
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
  serve({*port_of(gone)});
  const io::UniqueFd client = connect_client();
  EXPECT_EQ(read_all(client.get()), fmt::format("!{}", ECONNRESET));
  EXPECT_EQ(totals().refused, 1U);
  EXPECT_TRUE(becomes(0));
}

TEST_F(ForwarderTest, ConnectionsOutliveTheirEndpointAndTheirService) {
  const io::UniqueFd first = listening();
  const io::UniqueFd second = listening();
  serve({*port_of(first)});
  const io::UniqueFd client = connect_client();
  const io::UniqueFd server = accept_from(first);
  serve({*port_of(second)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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
  serve({*port_of(listener)});
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

TEST_F(ForwarderTest, EndpointsThatWantItAreToldOfTheClientFirst) {
  const io::UniqueFd server = listening();
  serve({*port_of(server)});
  auto plan = *plan_;
  plan.proxy_protocol = true;
  const auto after = std::make_shared<const plan::ServicePlan>(plan);
  ASSERT_TRUE(forwarder_->apply({{.before = plan_, .after = after}}));
  const io::UniqueFd client = connect_client();
  ASSERT_TRUE(write_all(client.get(), "hello"));
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  const io::UniqueFd accepted = accept_from(server);
  const std::string expected =
      proxy_header({.address = kLoopback, .port = *port_of(client)},
                   {.address = kLoopback, .port = forwarder_->tcp_ports(IpFamily::V4).pool.first}) +
      "hello";
  EXPECT_EQ(read_all(accepted.get()), expected);
}

TEST_F(ForwarderTest, EndpointsAreCountedOneByOne) {
  const io::UniqueFd server = listening();
  serve({*port_of(server)});
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

}  // namespace
}  // namespace fairlead::userspace
