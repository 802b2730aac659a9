// What the kernel and its tools tell: netlink messages of IPVS, ipset and addresses, and what
// iptables-save prints. (Those of nftables and conntrack are read by libnftnl and
// libnetfilter_conntrack.)
#include <cstring>
#include <vector>

#include "fuzz/input.hpp"
#include "proxy/modes/iptables/saved_rules.hpp"
#include "proxy/modes/ipvs/messages.hpp"
#include "proxy/modes/ipvs/scheduler.hpp"

using namespace fairlead;

namespace {

// A message is as long as its header says: netlink cuts datagrams into messages by that.
std::vector<std::uint8_t> message_of(std::string_view body) {
  std::vector<std::uint8_t> out(sizeof(nlmsghdr) + body.size());
  const nlmsghdr header{.nlmsg_len = static_cast<std::uint32_t>(out.size())};
  std::memcpy(out.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(out.data() + sizeof header, body.data(), body.size());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  if (choice.number % 2 == 0) {
    const auto rules = iptables::SavedRules::parse(choice.rest);
    if (rules) static_cast<void>(rules->ours());
    static_cast<void>(ipvs::parse_scheduler(choice.rest));
    return 0;
  }
  const auto message = message_of(choice.rest);
  static_cast<void>(ipvs::read_family_id(message));
  static_cast<void>(ipvs::read_address(message));
  const auto server = ipvs::read_server(message);
  static_cast<void>(ipvs::read_destination(message, server ? server->key : ipvs::ServerKey{}));
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    for (const auto set : {ipvs::SetId{}, static_cast<ipvs::SetId>(1)})
      static_cast<void>(ipvs::read_entries(message, set, family));
  }
  return 0;
}
