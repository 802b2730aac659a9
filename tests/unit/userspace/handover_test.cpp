// Sockets that pass from one process to the next; both sides in this process, in a network
// namespace of its own.
#include "proxy/modes/userspace/handover.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>

#include "io/netns.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

plan::PlanKey dns(IpFamily family) {
  return {.service_port = {.namespace_ = "kube-system",
                           .name = "dns",
                           .port = "dns",
                           .protocol = Protocol::Udp},
          .family = family};
}

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

std::set<TcpEntry> tcp_entries() {
  return {{.family = IpFamily::V4, .port = Port{1000}},
          {.family = IpFamily::V6, .short_cut = true, .port = Port{1001}},
          {.family = IpFamily::V4, .port = Port{80}, .address = *IpAddress::parse("10.96.0.1")}};
}

std::set<UdpEntry> udp_entries() {
  std::set<UdpEntry> out = {
      {.key = dns(IpFamily::V4)},
      {.key = dns(IpFamily::V6), .pool = PoolKind::Local, .place = at("[fd00:96::10]:53")}};
  for (const auto masquerade :
       {plan::Masquerade::Never, plan::Masquerade::OffCluster, plan::Masquerade::Always}) {
    for (const bool cluster_ip : {false, true}) {
      for (const bool short_circuit : {false, true}) {
        out.insert({.key = dns(IpFamily::V4),
                    .pool = PoolKind::Local,
                    .source = SourceRule{.masquerade = masquerade,
                                         .cluster_ip = cluster_ip,
                                         .short_circuit = short_circuit}});
      }
    }
  }
  return out;
}

template <class Entry>
std::set<Entry> keys_of(const std::map<Entry, std::vector<io::UniqueFd>>& sockets) {
  std::set<Entry> out;
  for (const auto& [entry, each] : sockets) out.insert(entry);
  return out;
}

class HandoverTest : public testing::Test {
 protected:
  void SetUp() override {
    auto network = io::NetNamespace::create();
    if (!network) GTEST_SKIP() << network.error().message;
    network_.emplace(*std::move(network));
  }
  // The thread that a handover starts is in the namespace of the one that makes it.
  void in_network(const std::function<void()>& work) {
    const auto done = network_->run([&]() -> Result<void> {
      work();
      return {};
    });
    ASSERT_TRUE(done) << done.error().message;
  }
  Handover::Hooks hooks() {
    return {.sockets =
                [] {
                  Sockets out;
                  for (const TcpEntry& entry : tcp_entries()) {
                    out.tcp[entry].emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                  }
                  for (const UdpEntry& entry : udp_entries()) {
                    for (int i = 0; i < 2; ++i) {
                      out.udp[entry].emplace_back(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
                    }
                  }
                  return out;
                },
            .let_go = [this] { end_.set_value("let go"); },
            .keep = [this] { end_.set_value("kept"); }};
  }
  std::string how_it_ended() {
    auto end = end_.get_future();
    return end.wait_for(20s) == std::future_status::ready ? end.get() : "never";
  }

  std::optional<io::NetNamespace> network_;
  std::promise<std::string> end_;
};

TEST_F(HandoverTest, EverySocketArrivesWithWhatItIsFor) {
  in_network([this] {
    const auto older = Handover::start(hooks());
    ASSERT_TRUE(older) << older.error().message;
    auto predecessor = Predecessor::find();
    ASSERT_TRUE(predecessor) << predecessor.error().message;
    ASSERT_TRUE(*predecessor) << "nobody serves";
    const Sockets sockets = (*predecessor)->take_sockets();
    EXPECT_EQ(keys_of(sockets.tcp), tcp_entries());
    EXPECT_EQ(keys_of(sockets.udp), udp_entries());
    for (const auto& [entry, each] : sockets.udp) EXPECT_EQ(each.size(), 2U);
    const auto replaced = (*predecessor)->replace();
    EXPECT_TRUE(replaced) << replaced.error().message;
    EXPECT_EQ(how_it_ended(), "let go");
  });
}

TEST_F(HandoverTest, WhoGivesUpLeavesTheOlderOneServing) {
  in_network([this] {
    const auto older = Handover::start(hooks());
    ASSERT_TRUE(older) << older.error().message;
    {
      const auto predecessor = Predecessor::find();
      ASSERT_TRUE(predecessor && *predecessor);
    }
    EXPECT_EQ(how_it_ended(), "kept");
    end_ = {};
    auto next = Predecessor::find();
    ASSERT_TRUE(next && *next) << "the name is still its own";
    EXPECT_TRUE((*next)->replace());
    EXPECT_EQ(how_it_ended(), "let go");
  });
}

TEST_F(HandoverTest, NobodyServesAtFirst) {
  in_network([] {
    const auto predecessor = Predecessor::find();
    ASSERT_TRUE(predecessor) << predecessor.error().message;
    EXPECT_FALSE(*predecessor);
  });
}

TEST_F(HandoverTest, OnlyOneProcessServes) {
  in_network([this] {
    const auto one = Handover::start(hooks());
    ASSERT_TRUE(one) << one.error().message;
    const auto other = Handover::start(hooks());
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::AlreadyExists) << other.error().message;
  });
}

}  // namespace
}  // namespace fairlead::userspace
