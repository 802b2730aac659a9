// Making sockets: bound and listening TCP sockets, CLOEXEC and non-blocking from the first syscall.
#pragma once

#include "base/error.hpp"
#include "base/ip.hpp"
#include "io/fd.hpp"

namespace fairlead::io {

// Port 0 lets the kernel choose; ask local_address(). [::] is dual-stack (accepts IPv4 too) when
// `dual` is set.
struct ListenOptions {
  bool dual = true;
  int backlog = 1024;
};
Result<UniqueFd> listen_tcp(const SocketAddress& address, const ListenOptions& options = {});
Result<SocketAddress> local_address(const UniqueFd& socket);
// How this machine itself reaches a listener bound to `bound`: loopback instead of "any address".
SocketAddress reachable(SocketAddress bound);

// What every connection of ours wants: no delay for small messages, and an end (ETIMEDOUT) within
// about a minute when the peer's machine or the path to it is gone and nothing would ever say so.
// Best effort.
void tune_connection(int socket);

}  // namespace fairlead::io
