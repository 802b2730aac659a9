// A netlink socket for request/ack exchanges and batches (libmnl underneath). Blocking with a
// deadline: it is used on the worker thread that owns it, never on the loop. Message contents are
// the caller's (libnftnl, rtnetlink, ctnetlink).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "io/fd.hpp"

namespace fairlead::io {

class NetlinkSocket {
 public:
  struct Config {
    int protocol = 0;              // NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_GENERIC
    std::vector<unsigned> groups;  // multicast groups to join
    int receive_buffer = 0;        // bytes, 0 = kernel default (SO_RCVBUFFORCE tried first)
    int send_buffer = 0;
    std::chrono::milliseconds timeout{5000};  // for each receive
  };
  // Opens in the calling thread's network namespace.
  static Result<NetlinkSocket> create(const Config& config);

  std::uint32_t port_id() const { return port_id_; }
  int fd() const { return fd_.get(); }
  std::uint32_t next_sequence() { return ++sequence_; }

  // Multicast groups may change during the socket's life (a listener may step aside during its own
  // large transaction).
  Result<void> join(unsigned group);
  Result<void> leave(unsigned group);

  // Makes room for one datagram of `bytes`. Never shrinks; a limit of the system shows up in
  // send().
  Result<void> reserve_send_buffer(std::size_t bytes);

  // Sends raw messages (one datagram).
  Result<void> send(std::span<const std::uint8_t> messages);
  // Receives one datagram and calls `each` for every message in it (header included). Returns false
  // on timeout. NLMSG_ERROR with a non-zero code is passed on like any other message; ENOBUFS is an
  // error with that errno.
  Result<bool> receive(const std::function<void(std::span<const std::uint8_t>)>& each);
  // The same with a deadline of its own; zero only takes what is there already.
  Result<bool> receive_within(std::chrono::milliseconds timeout,
                              const std::function<void(std::span<const std::uint8_t>)>& each);

 private:
  UniqueFd fd_;
  std::uint32_t port_id_ = 0;
  std::uint32_t sequence_ = 0;
  std::chrono::milliseconds timeout_{0};
  std::vector<std::uint8_t> buffer_;
};

}  // namespace fairlead::io
