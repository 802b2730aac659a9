#include "io/netlink.hpp"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <ctime>

namespace fairlead::io {
namespace {

// The kernel cuts dumps into datagrams of at most 32 KiB; acks carry no payload because of
// NETLINK_CAP_ACK. Twice that leaves room for one oversized message.
constexpr std::size_t kReceiveChunk = std::size_t{64} * 1024;

Result<void> set_option(int fd, int level, int option, int value, const char* what) {
  if (::setsockopt(fd, level, option, &value, sizeof value) < 0) return errno_error(errno, what);
  return {};
}

// The FORCE variants ignore net.core.[rw]mem_max but need CAP_NET_ADMIN in the initial user
// namespace's sense; without it we take what the limit allows.
void set_buffer(int fd, int forced, int ordinary, int bytes) {
  if (bytes <= 0) return;
  if (::setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) == 0) return;
  ::setsockopt(fd, SOL_SOCKET, ordinary, &bytes, sizeof bytes);
}

Result<UniqueFd> open_socket(const NetlinkSocket::Config& config) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, config.protocol));
  if (!fd)
    return errno_error(errno, fmt::format("open a netlink socket (protocol {})", config.protocol));
  set_buffer(fd.get(), SO_RCVBUFFORCE, SO_RCVBUF, config.receive_buffer);
  set_buffer(fd.get(), SO_SNDBUFFORCE, SO_SNDBUF, config.send_buffer);
  // Both options only make errors smaller and more precise; kernels before 4.12 lack one of them.
  (void)set_option(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, 1, "");
  (void)set_option(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, 1, "");
  return fd;
}

Result<std::uint32_t> bind_to_free_port(int fd) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return errno_error(errno, "bind a netlink socket");
  }
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) {
    return errno_error(errno, "read a netlink socket's port");
  }
  return address.nl_pid;
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::create(const Config& config) {
  FAIRLEAD_TRY(fd, open_socket(config));
  FAIRLEAD_TRY(port_id, bind_to_free_port(fd.get()));
  NetlinkSocket socket;
  socket.fd_ = std::move(fd);
  socket.port_id_ = port_id;
  socket.timeout_ = config.timeout;
  // Any start will do; one that differs between runs keeps late answers of a former life apart.
  socket.sequence_ = static_cast<std::uint32_t>(std::time(nullptr)) << 8U;
  socket.buffer_.resize(kReceiveChunk);
  for (const unsigned group : config.groups) FAIRLEAD_CHECK(socket.join(group));
  return socket;
}

Result<void> NetlinkSocket::join(unsigned group) {
  return set_option(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, static_cast<int>(group),
                    "join a netlink multicast group");
}

Result<void> NetlinkSocket::leave(unsigned group) {
  return set_option(fd_.get(), SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, static_cast<int>(group),
                    "leave a netlink multicast group");
}

Result<void> NetlinkSocket::reserve_send_buffer(std::size_t bytes) {
  int current = 0;
  socklen_t length = sizeof current;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &current, &length) < 0) {
    return errno_error(errno, "read a netlink socket's send buffer size");
  }
  // getsockopt reports what the kernel doubled; a datagram may have that many bytes less a few.
  constexpr std::size_t kSlack = 4096;
  if (static_cast<std::size_t>(current) >= bytes + kSlack) return {};
  set_buffer(fd_.get(), SO_SNDBUFFORCE, SO_SNDBUF, static_cast<int>(bytes + kSlack));
  return {};
}

Result<void> NetlinkSocket::send(std::span<const std::uint8_t> messages) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  while (true) {
    const ssize_t sent = ::sendto(fd_.get(), messages.data(), messages.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EMSGSIZE) {
      return Error{
          .code = ErrorCode::Exhausted,
          .message = fmt::format(
              "send {} bytes over netlink: larger than the socket's send buffer, which only "
              "CAP_NET_ADMIN may enlarge (or raise net.core.wmem_max)",
              messages.size()),
          .sys_errno = EMSGSIZE};
    }
    return errno_error(errno, "send over netlink");
  }
}

Result<bool> NetlinkSocket::receive(
    const std::function<void(std::span<const std::uint8_t>)>& each) {
  return receive_within(timeout_, each);
}

Result<bool> NetlinkSocket::receive_within(
    std::chrono::milliseconds timeout,
    const std::function<void(std::span<const std::uint8_t>)>& each) {
  pollfd readable{.fd = fd_.get(), .events = POLLIN};
  const int ready = ::poll(&readable, 1, static_cast<int>(timeout.count()));
  if (ready < 0 && errno != EINTR) return errno_error(errno, "wait for a netlink answer");
  if (ready <= 0) return false;
  sockaddr_nl from{};
  iovec part{.iov_base = buffer_.data(), .iov_len = buffer_.size()};
  msghdr header{};
  header.msg_name = &from;
  header.msg_namelen = sizeof from;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    return errno_error(errno, "receive over netlink");
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return make_error(ErrorCode::Internal,
                      "receive over netlink: a message is larger than {} bytes", buffer_.size());
  }
  if (from.nl_pid != 0) return true;  // not from the kernel: nobody we talk to
  auto remaining = static_cast<int>(got);
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
       mnl_nlmsg_ok(message, remaining); message = mnl_nlmsg_next(message, &remaining)) {
    each({reinterpret_cast<const std::uint8_t*>(message), message->nlmsg_len});
  }
  return true;
}

}  // namespace fairlead::io
