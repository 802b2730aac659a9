// Generic netlink of IPVS (linux/ip_vs.h).
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>

#include <algorithm>
#include <array>

#include "proxy/modes/ipvs/messages.hpp"

namespace fairlead::ipvs {
namespace {

constexpr std::uint32_t kMasquerading = 0;  // IP_VS_CONN_F_MASQ, the forwarding that translates

MessageBuilder start(std::uint16_t family_id, std::uint8_t command, std::uint16_t flags = 0) {
  return {family_id, flags,
          genlmsghdr{.cmd = command, .version = IPVS_GENL_VERSION, .reserved = 0}};
}

std::uint16_t number_of(IpFamily family) { return family == IpFamily::V4 ? AF_INET : AF_INET6; }

// All addresses go as the sixteen bytes of a union.
std::array<std::uint8_t, 16> wide(const IpAddress& address) {
  std::array<std::uint8_t, 16> out{};
  std::ranges::copy(address.bytes(), out.begin());
  return out;
}

void put_key(MessageBuilder& message, const ServerKey& key) {
  message.u16(IPVS_SVC_ATTR_AF, number_of(key.family));
  if (key.mark != 0) {
    message.u32(IPVS_SVC_ATTR_FWMARK, key.mark);
    return;
  }
  message.u16(IPVS_SVC_ATTR_PROTOCOL, static_cast<std::uint16_t>(key.protocol));
  message.raw(IPVS_SVC_ATTR_ADDR, wide(key.address));
  message.u16(IPVS_SVC_ATTR_PORT, htons(number(key.port)));
}

void put_options(MessageBuilder& message, const PutServer& put) {
  ip_vs_flags flags{.flags = put.scheduling.flags, .mask = 0xffffffff};
  if (put.persistence != 0) flags.flags |= IP_VS_SVC_F_PERSISTENT;
  message.text(IPVS_SVC_ATTR_SCHED_NAME, put.scheduling.name);
  message.raw(IPVS_SVC_ATTR_FLAGS, {reinterpret_cast<const std::uint8_t*>(&flags), sizeof flags});
  message.u32(IPVS_SVC_ATTR_TIMEOUT, put.persistence);
  // Each client by itself is persistent: a full mask, for IPv6 its length.
  message.u32(IPVS_SVC_ATTR_NETMASK, put.key.family == IpFamily::V4 ? 0xffffffffU : 128U);
}

void put_destination_key(MessageBuilder& message, const Destination& destination) {
  message.raw(IPVS_DEST_ATTR_ADDR, wide(destination.address));
  message.u16(IPVS_DEST_ATTR_PORT, htons(number(destination.port)));
  message.u16(IPVS_DEST_ATTR_ADDR_FAMILY, number_of(destination.address.family()));
}

MessageBuilder with_server(MessageBuilder message, const ServerKey& key) {
  message.nest(IPVS_CMD_ATTR_SERVICE, [&](MessageBuilder& m) { put_key(m, key); });
  return message;
}

IpAddress read_address(const Attributes& from, std::uint16_t type, IpFamily family) {
  const Bytes bytes = from.bytes(type);
  const std::size_t length = family == IpFamily::V4 ? 4 : 16;
  return bytes.size() < length ? IpAddress::any(family)
                               : IpAddress::from_bytes(bytes.first(length));
}

IpFamily family_of(std::uint16_t number) {
  return number == AF_INET6 ? IpFamily::V6 : IpFamily::V4;
}

void read_stats(const nlattr* nest, TrafficSample& out) {
  const Attributes stats = Attributes::of_nest(nest);
  out.connections = stats.u64(IPVS_STATS_ATTR_CONNS);
  out.packets_in = stats.u64(IPVS_STATS_ATTR_INPKTS);
  out.packets_out = stats.u64(IPVS_STATS_ATTR_OUTPKTS);
  out.bytes_in = stats.u64(IPVS_STATS_ATTR_INBYTES);
  out.bytes_out = stats.u64(IPVS_STATS_ATTR_OUTBYTES);
}

ServerKey read_key(const Attributes& from) {
  ServerKey key{.family = family_of(from.u16(IPVS_SVC_ATTR_AF)),
                .mark = from.u32(IPVS_SVC_ATTR_FWMARK)};
  if (key.mark != 0) {
    key.address = IpAddress::any(key.family);
    key.protocol = protocol_of_mark(key.mark);
  } else {
    key.address = read_address(from, IPVS_SVC_ATTR_ADDR, key.family);
    key.port = Port{ntohs(from.u16(IPVS_SVC_ATTR_PORT))};
    key.protocol = static_cast<Protocol>(from.u16(IPVS_SVC_ATTR_PROTOCOL));
  }
  return key;
}

}  // namespace

MessageBuilder server_message(std::uint16_t family_id, const PutServer& put) {
  auto message = start(family_id, put.exists ? IPVS_CMD_SET_SERVICE : IPVS_CMD_NEW_SERVICE);
  message.nest(IPVS_CMD_ATTR_SERVICE, [&](MessageBuilder& m) {
    put_key(m, put.key);
    put_options(m, put);
  });
  return message;
}

MessageBuilder server_message(std::uint16_t family_id, const DeleteServer& gone) {
  return with_server(start(family_id, IPVS_CMD_DEL_SERVICE), gone.key);
}

MessageBuilder destination_message(std::uint16_t family_id, const PutDestination& put) {
  auto message =
      with_server(start(family_id, put.exists ? IPVS_CMD_SET_DEST : IPVS_CMD_NEW_DEST), put.server);
  message.nest(IPVS_CMD_ATTR_DEST, [&](MessageBuilder& m) {
    put_destination_key(m, put.destination);
    m.u32(IPVS_DEST_ATTR_FWD_METHOD, kMasquerading);
    m.u32(IPVS_DEST_ATTR_WEIGHT, put.weight);
    m.u32(IPVS_DEST_ATTR_U_THRESH, 0);
    m.u32(IPVS_DEST_ATTR_L_THRESH, 0);
  });
  return message;
}

MessageBuilder destination_message(std::uint16_t family_id, const DeleteDestination& gone) {
  auto message = with_server(start(family_id, IPVS_CMD_DEL_DEST), gone.server);
  message.nest(IPVS_CMD_ATTR_DEST,
               [&](MessageBuilder& m) { put_destination_key(m, gone.destination); });
  return message;
}

MessageBuilder list_servers(std::uint16_t family_id) {
  return start(family_id, IPVS_CMD_GET_SERVICE, NLM_F_DUMP);
}

MessageBuilder list_destinations(std::uint16_t family_id, const ServerKey& server) {
  return with_server(start(family_id, IPVS_CMD_GET_DEST, NLM_F_DUMP), server);
}

MessageBuilder find_family(std::string_view name) {
  MessageBuilder message(GENL_ID_CTRL, 0,
                         genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0});
  message.text(CTRL_ATTR_FAMILY_NAME, name);
  return message;
}

std::uint16_t read_family_id(Bytes message) {
  return Attributes::of_message(message, sizeof(genlmsghdr)).u16(CTRL_ATTR_FAMILY_ID);
}

MessageBuilder set_timeouts(std::uint16_t family_id, std::uint32_t tcp, std::uint32_t fin,
                            std::uint32_t udp) {
  auto message = start(family_id, IPVS_CMD_SET_CONFIG);
  message.u32(IPVS_CMD_ATTR_TIMEOUT_TCP, tcp)
      .u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, fin)
      .u32(IPVS_CMD_ATTR_TIMEOUT_UDP, udp);
  return message;
}

std::optional<ListedServer> read_server(Bytes message) {
  const Attributes all = Attributes::of_message(message, sizeof(genlmsghdr));
  const nlattr* nest = all.find(IPVS_CMD_ATTR_SERVICE);
  if (nest == nullptr) return std::nullopt;
  const Attributes from = Attributes::of_nest(nest);
  ListedServer out{.key = read_key(from)};
  ip_vs_flags flags{};
  if (const Bytes bytes = from.bytes(IPVS_SVC_ATTR_FLAGS); bytes.size() >= sizeof flags)
    std::copy_n(bytes.data(), sizeof flags, reinterpret_cast<std::uint8_t*>(&flags));
  out.server.scheduling = {
      .name = std::string(from.text(IPVS_SVC_ATTR_SCHED_NAME)),
      .flags = flags.flags & ~std::uint32_t{IP_VS_SVC_F_HASHED | IP_VS_SVC_F_PERSISTENT}};
  if ((flags.flags & IP_VS_SVC_F_PERSISTENT) != 0)
    out.server.persistence = from.u32(IPVS_SVC_ATTR_TIMEOUT);
  out.traffic.server = out.key;
  read_stats(from.find(IPVS_SVC_ATTR_STATS64), out.traffic);
  return out;
}

std::optional<ListedDestination> read_destination(Bytes message, const ServerKey& server) {
  const Attributes all = Attributes::of_message(message, sizeof(genlmsghdr));
  const nlattr* nest = all.find(IPVS_CMD_ATTR_DEST);
  if (nest == nullptr) return std::nullopt;
  const Attributes from = Attributes::of_nest(nest);
  const std::uint16_t family = from.find(IPVS_DEST_ATTR_ADDR_FAMILY) != nullptr
                                   ? from.u16(IPVS_DEST_ATTR_ADDR_FAMILY)
                                   : number_of(server.family);
  ListedDestination out{
      .destination = {.address = read_address(from, IPVS_DEST_ATTR_ADDR, family_of(family)),
                      .port = Port{ntohs(from.u16(IPVS_DEST_ATTR_PORT))}},
      .connections = {.weight = from.u32(IPVS_DEST_ATTR_WEIGHT),
                      .active = from.u32(IPVS_DEST_ATTR_ACTIVE_CONNS),
                      .inactive = from.u32(IPVS_DEST_ATTR_INACT_CONNS)}};
  out.traffic = {.server = server,
                 .destination = out.destination,
                 .active = out.connections.active,
                 .inactive = out.connections.inactive};
  read_stats(from.find(IPVS_DEST_ATTR_STATS64), out.traffic);
  return out;
}

}  // namespace fairlead::ipvs
