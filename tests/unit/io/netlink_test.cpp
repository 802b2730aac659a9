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

TEST(Netlink, GroupsOfTheConfigAreJoined) {
  const auto socket = NetlinkSocket::create({.protocol = NETLINK_ROUTE, .groups = {RTNLGRP_LINK}});
  ASSERT_TRUE(socket) << socket.error().message;
  std::uint32_t joined = 0;
  socklen_t size = sizeof joined;
  ASSERT_EQ(::getsockopt(socket->fd(), SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, &joined, &size), 0);
  EXPECT_EQ(joined, 1U << (RTNLGRP_LINK - 1));
}

TEST(Netlink, DatagramBeyondTheSendBufferIsNamedInTheError) {
  auto socket = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  ASSERT_TRUE(socket);
  const std::vector<std::uint8_t> large(64U << 20U);
  const auto sent = socket->send(large);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::Exhausted);
  EXPECT_THAT(sent.error().message, testing::HasSubstr("send 67108864 bytes over netlink"));
}

TEST(Netlink, ReservedSendBufferHasRoomForTheDatagram) {
  auto socket = NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  ASSERT_TRUE(socket);
  constexpr int kWanted = 8 << 20;
  ASSERT_TRUE(socket->reserve_send_buffer(kWanted));
  int size = 0;
  socklen_t length = sizeof size;
  ASSERT_EQ(::getsockopt(socket->fd(), SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
  EXPECT_GE(size, kWanted);
}

}  // namespace
}  // namespace fairlead::io
