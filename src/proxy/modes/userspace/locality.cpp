#include "proxy/modes/userspace/locality.hpp"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <string>

#include "io/fd.hpp"
#include "io/netlink.hpp"
#include "io/sockaddr.hpp"

namespace fairlead::userspace {
namespace {

struct Question {
  nlmsghdr header;
  rtmsg route;
  rtattr attribute;
  std::array<std::uint8_t, 16> address;
};

// RTA_OIF of an answer to RTM_GETROUTE (rtnetlink(7)); 0: none.
unsigned interface_index(std::span<const std::uint8_t> message) {
  const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
  if (header->nlmsg_type != RTM_NEWROUTE) return 0;
  auto rest = message.subspan(NLMSG_LENGTH(sizeof(rtmsg)));
  while (rest.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, rest.data(), sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > rest.size()) return 0;
    if (attribute.rta_type == RTA_OIF && attribute.rta_len >= RTA_LENGTH(sizeof(unsigned))) {
      unsigned out = 0;
      std::memcpy(&out, rest.data() + RTA_LENGTH(0), sizeof out);
      return out;
    }
    rest = rest.subspan(std::min<std::size_t>(RTA_ALIGN(attribute.rta_len), rest.size()));
  }
  return 0;
}

}  // namespace

bool is_own_address(const IpAddress& address) {
  const io::KernelAddress kernel = io::to_kernel({.address = address, .port = Port{0}});
  const io::UniqueFd probe(socket(kernel.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe && bind(probe.get(), kernel.get(), kernel.size) == 0;
}

std::string interface_to(const IpAddress& address) {
  auto netlink = io::NetlinkSocket::create({.protocol = NETLINK_ROUTE});
  if (!netlink) return {};
  const std::size_t size = address.bytes().size();
  Question question{
      .header = {.nlmsg_len = static_cast<std::uint32_t>(offsetof(Question, address) + size),
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST,
                 .nlmsg_seq = netlink->next_sequence()},
      .route = {.rtm_family = static_cast<unsigned char>(address.is_v4() ? AF_INET : AF_INET6),
                .rtm_dst_len = static_cast<unsigned char>(address.bits())},
      .attribute = {.rta_len = static_cast<unsigned short>(RTA_LENGTH(size)), .rta_type = RTA_DST},
      .address = {}};
  std::memcpy(question.address.data(), address.bytes().data(), size);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&question);
  unsigned index = 0;
  if (!netlink->send({bytes, question.header.nlmsg_len})) return {};
  if (!netlink->receive([&index](auto message) { index = interface_index(message); })) return {};
  std::array<char, IF_NAMESIZE> name{};
  return index != 0 && if_indextoname(index, name.data()) != nullptr ? name.data() : "";
}

bool Locality::is_local(const IpAddress& client) const {
  return is_pod(client) || is_own_address(client);
}

bool Locality::is_pod(const IpAddress& client) const {
  if (detector_.source_prefix) return detector_.source_prefix->contains(client);
  if (detector_.interface_name.empty() && detector_.interface_prefix.empty()) return false;
  const std::string interface = interface_to(client);
  if (interface.empty()) return false;
  return interface == detector_.interface_name ||
         (!detector_.interface_prefix.empty() && interface.starts_with(detector_.interface_prefix));
}

}  // namespace fairlead::userspace
