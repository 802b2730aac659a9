// Walking netlink attributes: libmnl's iteration macros are C.
#pragma once

#include <libmnl/libmnl.h>

#include <cstddef>

namespace fairlead::nftables {

// Attributes of `message` after its header of `skip` bytes.
template <class Each>
void each_attribute(const nlmsghdr* message, std::size_t skip, Each each) {
  const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(message));
  const auto* at = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, skip));
  for (; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)));
       at = mnl_attr_next(at))
    each(at);
}

template <class Each>
void each_nested(const nlattr* nest, Each each) {
  const auto* at = static_cast<const nlattr*>(mnl_attr_get_payload(nest));
  const auto* end = reinterpret_cast<const char*>(at) + mnl_attr_get_payload_len(nest);
  for (; mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at)));
       at = mnl_attr_next(at))
    each(at);
}

}  // namespace fairlead::nftables
