#include "lab/rtnetlink.hpp"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace fairlead::lab {
namespace {

unsigned char family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

}  // namespace

// One request under construction, on a buffer that holds any of ours (the largest has a next hop a
// node).
class RouteSocket::Message {
 public:
  Message(std::uint16_t type, unsigned flags) : header_(mnl_nlmsg_put_header(buffer_.data())) {
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }
  template <class T>
  T* extra() {
    return static_cast<T*>(mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }
  void text(unsigned type, const std::string& value) {
    mnl_attr_put_strz(header_, static_cast<std::uint16_t>(type), value.c_str());
  }
  void number(unsigned type, std::uint32_t value) {
    mnl_attr_put_u32(header_, static_cast<std::uint16_t>(type), value);
  }
  void byte(unsigned type, std::uint8_t value) {
    mnl_attr_put_u8(header_, static_cast<std::uint16_t>(type), value);
  }
  void address(unsigned type, const IpAddress& value) {
    const auto bytes = value.bytes();
    mnl_attr_put(header_, static_cast<std::uint16_t>(type), bytes.size(), bytes.data());
  }
  nlattr* begin(unsigned type) {
    return mnl_attr_nest_start(header_, static_cast<std::uint16_t>(type));
  }
  void end(nlattr* nest) { mnl_attr_nest_end(header_, nest); }

  nlmsghdr* header() { return header_; }
  std::span<const std::uint8_t> bytes() const { return {buffer_.data(), header_->nlmsg_len}; }

 private:
  alignas(8) std::array<std::uint8_t, 8192> buffer_{};
  nlmsghdr* header_;
};

Result<RouteSocket> RouteSocket::open(const io::NetNamespace& where) {
  std::optional<io::NetlinkSocket> opened;
  FAIRLEAD_CHECK(where.run([&]() -> Result<void> {
    FAIRLEAD_TRY(socket, io::NetlinkSocket::create({.protocol = NETLINK_ROUTE}));
    opened = std::move(socket);
    return {};
  }));
  return RouteSocket(*std::move(opened));
}

// Sends one request and waits for its acknowledgement.
Result<void> RouteSocket::request(Message& message, std::string_view what) {
  const std::uint32_t sequence = socket_.next_sequence();
  message.header()->nlmsg_seq = sequence;
  FAIRLEAD_CHECK(socket_.send(message.bytes()));
  std::optional<int> outcome;
  const auto take = [&](std::span<const std::uint8_t> bytes) {
    nlmsghdr header{};
    nlmsgerr answer{};
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_seq != sequence || header.nlmsg_type != NLMSG_ERROR) return;
    std::memcpy(&answer, bytes.data() + NLMSG_HDRLEN, sizeof answer);
    outcome = -answer.error;
  };
  while (!outcome) {
    FAIRLEAD_TRY(received, socket_.receive(take));
    if (!received) return make_error(ErrorCode::Timeout, "{}: the kernel does not answer", what);
  }
  if (*outcome != 0) return errno_error(*outcome, what);
  return {};
}

Result<unsigned> RouteSocket::index_of(const std::string& link) {
  Message message(RTM_GETLINK, 0);
  message.extra<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.text(IFLA_IFNAME, link);
  const std::uint32_t sequence = socket_.next_sequence();
  message.header()->nlmsg_seq = sequence;
  FAIRLEAD_CHECK(socket_.send(message.bytes()));
  unsigned index = 0;
  std::optional<int> outcome;
  const auto take = [&](std::span<const std::uint8_t> bytes) {
    nlmsghdr header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_seq != sequence) return;
    if (header.nlmsg_type == NLMSG_ERROR) {
      nlmsgerr answer{};
      std::memcpy(&answer, bytes.data() + NLMSG_HDRLEN, sizeof answer);
      outcome = -answer.error;
    } else {
      ifinfomsg info{};
      std::memcpy(&info, bytes.data() + NLMSG_HDRLEN, sizeof info);
      index = static_cast<unsigned>(info.ifi_index);
    }
  };
  while (!outcome) {
    FAIRLEAD_TRY(received, socket_.receive(take));
    if (!received) return make_error(ErrorCode::Timeout, "find link {}: no answer", link);
  }
  if (*outcome != 0) return errno_error(*outcome, fmt::format("find link {}", link));
  return index;
}

Result<void> RouteSocket::add_bridge(const std::string& name) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.extra<ifinfomsg>();
  message.text(IFLA_IFNAME, name);
  nlattr* info = message.begin(IFLA_LINKINFO);
  message.text(IFLA_INFO_KIND, "bridge");
  nlattr* data = message.begin(IFLA_INFO_DATA);
  // Neighbour discovery is multicast; without a querier, snooping could only lose it.
  message.byte(IFLA_BR_MCAST_SNOOPING, 0);
  message.end(data);
  message.end(info);
  return request(message, fmt::format("add bridge {}", name));
}

Result<void> RouteSocket::add_veth(const VethPair& pair) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.extra<ifinfomsg>();
  message.text(IFLA_IFNAME, pair.name);
  nlattr* info = message.begin(IFLA_LINKINFO);
  message.text(IFLA_INFO_KIND, "veth");
  nlattr* data = message.begin(IFLA_INFO_DATA);
  nlattr* peer = message.begin(VETH_INFO_PEER);
  message.extra<ifinfomsg>();
  message.text(IFLA_IFNAME, pair.peer);
  message.number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(pair.peer_namespace->fd()));
  message.end(peer);
  message.end(data);
  message.end(info);
  return request(message, fmt::format("add veth {}", pair.name));
}

Result<void> RouteSocket::join_bridge(const std::string& link, const std::string& bridge) {
  FAIRLEAD_TRY(index, index_of(link));
  FAIRLEAD_TRY(master, index_of(bridge));
  Message message(RTM_NEWLINK, 0);
  message.extra<ifinfomsg>()->ifi_index = static_cast<int>(index);
  message.number(IFLA_MASTER, master);
  return request(message, fmt::format("join {} to bridge {}", link, bridge));
}

Result<void> RouteSocket::bring_up(const std::string& link) {
  FAIRLEAD_TRY(index, index_of(link));
  Message message(RTM_NEWLINK, 0);
  auto* info = message.extra<ifinfomsg>();
  info->ifi_index = static_cast<int>(index);
  info->ifi_flags = IFF_UP;
  info->ifi_change = IFF_UP;
  return request(message, fmt::format("bring up {}", link));
}

Result<void> RouteSocket::delete_link(const std::string& link) {
  Message message(RTM_DELLINK, 0);
  message.extra<ifinfomsg>();
  message.text(IFLA_IFNAME, link);
  return request(message, fmt::format("delete link {}", link));
}

Result<void> RouteSocket::add_address(const std::string& link, const IpAddress& address,
                                      unsigned length) {
  FAIRLEAD_TRY(index, index_of(link));
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto* info = message.extra<ifaddrmsg>();
  info->ifa_family = family_of(address);
  info->ifa_prefixlen = static_cast<std::uint8_t>(length);
  info->ifa_index = index;
  message.address(IFA_LOCAL, address);
  message.address(IFA_ADDRESS, address);
  message.number(IFA_FLAGS, IFA_F_NODAD | IFA_F_PERMANENT);
  return request(message, fmt::format("add address {}/{} to {}", address, length, link));
}

Result<void> RouteSocket::add_route(const Route& route) {
  const IpAddress& to = route.destination.address();
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  auto* info = message.extra<rtmsg>();
  info->rtm_family = family_of(to);
  info->rtm_dst_len = static_cast<unsigned char>(route.destination.length());
  info->rtm_table = RT_TABLE_MAIN;
  info->rtm_protocol = RTPROT_STATIC;
  info->rtm_type = route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
  info->rtm_scope =
      route.via.empty() && !route.unreachable && to.is_v4() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (route.destination.length() > 0) message.address(RTA_DST, to);
  if (!route.device.empty()) {
    FAIRLEAD_TRY(index, index_of(route.device));
    message.number(RTA_OIF, index);
  }
  if (route.via.size() == 1) message.address(RTA_GATEWAY, route.via.front());
  if (route.via.size() > 1) {
    nlattr* all = message.begin(RTA_MULTIPATH);
    for (const IpAddress& via : route.via) {
      auto* hop = message.extra<rtnexthop>();
      const std::uint32_t before = message.header()->nlmsg_len;
      message.address(RTA_GATEWAY, via);
      hop->rtnh_len =
          static_cast<unsigned short>(sizeof(rtnexthop) + message.header()->nlmsg_len - before);
    }
    message.end(all);
  }
  return request(message, fmt::format("add route {}", route.destination));
}

}  // namespace fairlead::lab
