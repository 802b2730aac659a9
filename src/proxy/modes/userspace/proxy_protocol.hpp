// What tells an endpoint who its client is when the forwarder is: the PROXY protocol, version 2
// (haproxy.org, "The PROXY protocol", section 2.2). Pure.
#pragma once

#include <string>

#include "base/ip.hpp"

namespace fairlead::userspace {

// The first bytes of a TCP connection that is made for `client`, who connected to `destination`;
// both of one family.
std::string proxy_header(const SocketAddress& client, const SocketAddress& destination);

}  // namespace fairlead::userspace
