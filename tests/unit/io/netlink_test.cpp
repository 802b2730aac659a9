#include "io/netlink.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>

namespace fairlead::io {
namespace {

using namespace std::chrono_literals;

struct DumpLinks {
  nlmsghdr header;
  rtgenmsg body;
};

DumpLinks dump_links(std::uint32_t sequence) {
  DumpLinks request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg));
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = sequence;
  return request;
}

nlmsghdr header_of(std::span<const std::uint8_t> message) {
  nlmsghdr header{};
  std::memcpy(&header, message.data(), sizeof header);
  return header;
}

TEST(Netlink, DumpArrivesWithOurSequenceAndEndsInDone) {
  auto socket = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  ASSERT_TRUE(socket) << socket.error().message;
  const auto sequence = socket->next_sequence();
  const DumpLinks request = dump_links(sequence);
  ASSERT_TRUE(
      socket->send({reinterpret_cast<const std::uint8_t*>(&request), request.header.nlmsg_len}));
  int links = 0;
  bool done = false;
  while (!done) {
    const auto more = socket->receive([&](std::span<const std::uint8_t> message) {
      const nlmsghdr header = header_of(message);
      EXPECT_EQ(header.nlmsg_seq, sequence);
      EXPECT_EQ(header.nlmsg_pid, socket->port_id());
      links += header.nlmsg_type == RTM_NEWLINK ? 1 : 0;
      done = done || header.nlmsg_type == NLMSG_DONE;
    });
    ASSERT_TRUE(more) << more.error().message;
    ASSERT_TRUE(*more) << "no answer";
  }
  EXPECT_GE(links, 1);  // loopback at least
}

TEST(Netlink, NothingToReceiveIsFalseNotAnError) {
  auto socket = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  ASSERT_TRUE(socket);
  const auto got = socket->receive_within(0ms, [](auto) { FAIL() << "a message out of nowhere"; });
  ASSERT_TRUE(got);
  EXPECT_FALSE(*got);
}

TEST(Netlink, EverySocketHasAPortOfItsOwn) {
  auto a = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  auto b = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->port_id(), 0U);
  EXPECT_NE(a->port_id(), b->port_id());
}

TEST(Netlink, UnknownProtocolIsNamedInTheError) {
  const auto socket = NetlinkSocket::create({.protocol = 31});
  ASSERT_FALSE(socket);
  EXPECT_THAT(socket.error().message, testing::HasSubstr("protocol 31"));
}

}  // namespace
}  // namespace fairlead::io
