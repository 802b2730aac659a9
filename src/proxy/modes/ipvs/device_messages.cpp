// rtnetlink: the dummy device and addresses.
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "proxy/modes/ipvs/messages.hpp"

namespace fairlead::ipvs {

MessageBuilder create_device() {
  MessageBuilder message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                         ifinfomsg{.ifi_family = AF_UNSPEC});
  message.text(IFLA_IFNAME, kDevice);
  message.nest(IFLA_LINKINFO, [](MessageBuilder& m) { m.text(IFLA_INFO_KIND, "dummy"); });
  return message;
}

MessageBuilder delete_device() {
  MessageBuilder message(RTM_DELLINK, 0, ifinfomsg{.ifi_family = AF_UNSPEC});
  message.text(IFLA_IFNAME, kDevice);
  return message;
}

MessageBuilder address_message(int device, const IpAddress& address, bool add) {
  ifaddrmsg header{.ifa_family = static_cast<std::uint8_t>(address.is_v4() ? AF_INET : AF_INET6),
                   .ifa_prefixlen = static_cast<std::uint8_t>(address.bits()),
                   .ifa_index = static_cast<std::uint32_t>(device)};
  // Nobody else has it on this wire, which ends here.
  if (add && !address.is_v4()) header.ifa_flags = IFA_F_NODAD;
  MessageBuilder message(add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
                         header);
  message.raw(IFA_LOCAL, address.bytes());
  message.raw(IFA_ADDRESS, address.bytes());
  return message;
}

MessageBuilder list_addresses(IpFamily family) {
  return {RTM_GETADDR, NLM_F_DUMP,
          ifaddrmsg{.ifa_family =
                        static_cast<std::uint8_t>(family == IpFamily::V4 ? AF_INET : AF_INET6)}};
}

std::optional<ListedAddress> read_address(Bytes message) {
  const auto* header = reinterpret_cast<const nlmsghdr*>(message.data());
  if (header->nlmsg_type != RTM_NEWADDR && header->nlmsg_type != RTM_DELADDR) return std::nullopt;
  const auto* body = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(header));
  const Attributes attributes = Attributes::of_message(message, sizeof *body);
  // On a point-to-point interface only this one is the node's own.
  Bytes bytes = attributes.bytes(IFA_LOCAL);
  if (bytes.empty()) bytes = attributes.bytes(IFA_ADDRESS);
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  return ListedAddress{.device = static_cast<int>(body->ifa_index),
                       .address = IpAddress::from_bytes(bytes),
                       .added = header->nlmsg_type == RTM_NEWADDR};
}

}  // namespace fairlead::ipvs
