// ipset's part of nfnetlink (linux/netfilter/ipset/ip_set.h). Its numbers are in network order,
// which an attribute's type says by a bit.
#include <arpa/inet.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>

#include "proxy/modes/ipvs/messages.hpp"
#include "proxy/modes/ipvs/render.hpp"

namespace fairlead::ipvs {
namespace {

// Spoken by every kernel since 2.6.39.
constexpr std::uint8_t kProtocol = 6;

constexpr std::uint16_t ordered(std::uint16_t type) { return type | NLA_F_NET_BYTEORDER; }

std::uint8_t number_of(IpFamily family) { return family == IpFamily::V4 ? AF_INET : AF_INET6; }

constexpr std::string_view kSpare = "FAIRLEAD-SPARE";

MessageBuilder start(std::uint8_t command, std::string_view name, IpFamily family,
                     std::uint16_t flags = 0) {
  MessageBuilder message(
      static_cast<std::uint16_t>(NFNL_SUBSYS_IPSET << 8U | command), flags,
      nfgenmsg{.nfgen_family = number_of(family), .version = NFNETLINK_V0, .res_id = 0});
  message.u8(IPSET_ATTR_PROTOCOL, kProtocol).text(IPSET_ATTR_SETNAME, name);
  return message;
}

void put_address(MessageBuilder& message, std::uint16_t type, const IpAddress& address) {
  message.nest(type, [&](MessageBuilder& m) {
    m.raw(ordered(address.is_v4() ? IPSET_ATTR_IPADDR_IPV4 : IPSET_ATTR_IPADDR_IPV6),
          address.bytes());
  });
}

void put_mark(MessageBuilder& message, std::uint32_t mark) {
  const std::array<std::uint32_t, 2> words = {htonl(mark), 0xffffffff};
  message.raw(ordered(IPSET_ATTR_SKBMARK),
              {reinterpret_cast<const std::uint8_t*>(words.data()), sizeof words});
}

void put_entry(MessageBuilder& message, const SetEntry& entry, bool add) {
  if (entry.set == SetId::HealthCheck) {
    message.u16(ordered(IPSET_ATTR_PORT), htons(number(entry.port)));
    return;
  }
  put_address(message, IPSET_ATTR_IP, entry.address);
  if (entry.set == SetId::Addresses) return;
  message.u8(IPSET_ATTR_PROTO, static_cast<std::uint8_t>(entry.protocol));
  message.u16(ordered(IPSET_ATTR_PORT), htons(number(entry.port)));
  if (entry.set == SetId::LoopBack) put_address(message, IPSET_ATTR_IP2, entry.source.address());
  if (entry.set == SetId::SourceRanges) {
    put_address(message, IPSET_ATTR_IP2, entry.source.address());
    message.u8(IPSET_ATTR_CIDR2, static_cast<std::uint8_t>(entry.source.length()));
  }
  if (add && entry.mark != 0) put_mark(message, entry.mark);
}

std::optional<IpAddress> read_ip(const Attributes& from, std::uint16_t type) {
  const nlattr* nest = from.find(type);
  if (nest == nullptr) return std::nullopt;
  const Attributes address = Attributes::of_nest(nest);
  for (const std::uint16_t kind : {IPSET_ATTR_IPADDR_IPV4, IPSET_ATTR_IPADDR_IPV6}) {
    const Bytes bytes = address.bytes(kind);
    if (bytes.size() == (kind == IPSET_ATTR_IPADDR_IPV4 ? 4 : 16))
      return IpAddress::from_bytes(bytes);
  }
  return std::nullopt;
}

std::optional<SetEntry> read_entry(const nlattr* nest, SetId set, IpFamily family) {
  const Attributes from = Attributes::of_nest(nest);
  if (set == SetId::HealthCheck) return admitted(Port{ntohs(from.u16(IPSET_ATTR_PORT))}, family);
  const auto address = read_ip(from, IPSET_ATTR_IP);
  if (!address) return std::nullopt;
  SetEntry out{
      .set = set, .address = *address, .source = IpPrefix(IpAddress::any(address->family()), 0)};
  if (set == SetId::Addresses) return out;
  out.protocol = static_cast<Protocol>(from.u8(IPSET_ATTR_PROTO));
  out.port = Port{ntohs(from.u16(IPSET_ATTR_PORT))};
  if (const auto second = read_ip(from, IPSET_ATTR_IP2)) {
    const std::uint8_t length = from.u8(IPSET_ATTR_CIDR2);
    out.source = length == 0 ? IpPrefix::host(*second) : IpPrefix(*second, length);
  }
  if (const Bytes mark = from.bytes(IPSET_ATTR_SKBMARK); mark.size() >= sizeof out.mark)
    out.mark = ntohl(from.u32(IPSET_ATTR_SKBMARK));
  return out;
}

MessageBuilder create(std::string_view name, SetId set, IpFamily family) {
  const SetSchema& wanted = schema(set);
  // Without NLM_F_EXCL a set of the same shape may be there already.
  auto message = start(IPSET_CMD_CREATE, name, family, NLM_F_CREATE);
  message.text(IPSET_ATTR_TYPENAME, wanted.type)
      .u8(IPSET_ATTR_REVISION, wanted.revision)
      .u8(IPSET_ATTR_FAMILY, number_of(family));
  message.nest(IPSET_ATTR_DATA, [&](MessageBuilder& m) {
    if (set == SetId::HealthCheck) {
      m.u16(ordered(IPSET_ATTR_PORT), 0).u16(ordered(IPSET_ATTR_PORT_TO), 0xffff);
      return;
    }
    m.u32(ordered(IPSET_ATTR_HASHSIZE), htonl(kFirstBuckets));
    m.u32(ordered(IPSET_ATTR_MAXELEM), htonl(kMostEntries));
    if (wanted.marks) m.u32(ordered(IPSET_ATTR_CADT_FLAGS), htonl(IPSET_FLAG_WITH_SKBINFO));
  });
  return message;
}

}  // namespace

MessageBuilder create_set(SetId set, IpFamily family) {
  return create(set_name(set, family), set, family);
}

MessageBuilder destroy_set(SetId set, IpFamily family) {
  return destroy_set(set_name(set, family), family);
}

MessageBuilder destroy_set(std::string_view name, IpFamily family) {
  return start(IPSET_CMD_DESTROY, name, family);
}

MessageBuilder list_set(std::string_view name, IpFamily family) {
  return start(IPSET_CMD_LIST, name, family, NLM_F_DUMP);
}

MessageBuilder entry_message(const SetEntry& entry, bool add) {
  const IpFamily family = entry.address.family();
  // Without NLM_F_EXCL an entry may be there already, or be missing.
  auto message = start(add ? IPSET_CMD_ADD : IPSET_CMD_DEL, set_name(entry.set, family), family);
  message.nest(IPSET_ATTR_DATA, [&](MessageBuilder& m) { put_entry(m, entry, add); });
  return message;
}

MessageBuilder create_spare(SetId set, IpFamily family) { return create(kSpare, set, family); }

MessageBuilder spare_entry_message(const SetEntry& entry) {
  auto message = start(IPSET_CMD_ADD, kSpare, entry.address.family());
  message.nest(IPSET_ATTR_DATA, [&](MessageBuilder& m) { put_entry(m, entry, true); });
  return message;
}

MessageBuilder swap_with_spare(SetId set, IpFamily family) {
  auto message = start(IPSET_CMD_SWAP, set_name(set, family), family);
  message.text(IPSET_ATTR_SETNAME2, kSpare);
  return message;
}

MessageBuilder destroy_spare(IpFamily family) { return destroy_set(kSpare, family); }

std::vector<SetEntry> read_entries(Bytes message, SetId set, IpFamily family) {
  std::vector<SetEntry> out;
  const Attributes all = Attributes::of_message(message, sizeof(nfgenmsg));
  Attributes::of_nest(all.find(IPSET_ATTR_ADT)).each([&](const nlattr* nest) {
    if (mnl_attr_get_type(nest) != IPSET_ATTR_DATA) return;
    if (auto entry = read_entry(nest, set, family)) out.push_back(*std::move(entry));
  });
  return out;
}

}  // namespace fairlead::ipvs
