#include "lab/control_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"

namespace fairlead::lab {
namespace {

namespace asio = io::asio;

constexpr std::size_t kMaxMessage = 128 * 1024;  // below the default socket buffer
constexpr char kOk = '+', kError = '-';          // first byte of an answer
constexpr int kPatience = 10;                    // seconds a command waits for an answer

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return make_error(
        ErrorCode::Invalid,
        "the state folder's path is too long for a socket in it: {} ({} bytes at most)", path,
        sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

struct Ancillary {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxDescriptors * sizeof(int))> bytes{};
};

Result<void> send_message(int socket, const std::string& text,
                          const std::vector<io::UniqueFd>& descriptors) {
  check(descriptors.size() <= kMaxDescriptors, "too many descriptors for one message");
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  Ancillary ancillary;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = ancillary.bytes.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      const int fd = descriptors[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return errno_error(errno, "send a message");
  return {};
}

Result<ControlAnswer> receive_message(int socket) {
  ControlAnswer out;
  out.text.resize(kMaxMessage);
  iovec part{.iov_base = out.text.data(), .iov_len = out.text.size()};
  Ancillary ancillary;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = ancillary.bytes.data();
  message.msg_controllen = ancillary.bytes.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno_error(errno, "receive a message");
  if (got == 0) return make_error(ErrorCode::Unavailable, "the other side hung up");
  out.text.resize(static_cast<std::size_t>(got));
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      out.descriptors.emplace_back(fd);
    }
  }
  return out;
}

// Commands send their request at once; one that does not is dropped.
Result<void> answer_one(int connection, const ControlServer::Handler& handler) {
  const timeval patience{.tv_sec = 1};
  if (::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
    return errno_error(errno, "set a timeout");
  FAIRLEAD_TRY(request, receive_message(connection));
  auto answer = handler(request.text);
  if (!answer) return send_message(connection, kError + answer.error().message, {});
  answer->text.resize(std::min(answer->text.size(), kMaxMessage - 1));
  return send_message(connection, kOk + answer->text, answer->descriptors);
}

}  // namespace

Result<void> check_socket_path(const std::string& path) {
  FAIRLEAD_CHECK(address_of(path));
  return {};
}

Result<ControlServer> ControlServer::create(const std::string& path) {
  FAIRLEAD_TRY(address, address_of(path));
  io::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error(errno, "open the control socket");
  if (::bind(socket.get(), as_sockaddr(address), sizeof address) != 0 ||
      ::listen(socket.get(), 16) != 0)
    return errno_error(errno, fmt::format("listen on {}", path));
  return ControlServer(std::move(socket));
}

io::Task<void> ControlServer::serve(Handler handler) {
  const int copy = ::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0);
  check(copy >= 0, "a descriptor for the control socket");
  asio::posix::stream_descriptor ready(co_await asio::this_coro::executor, copy);
  while (!co_await io::cancelled()) {
    const auto [ec] =
        co_await ready.async_wait(asio::posix::stream_descriptor::wait_read, io::kNoThrow);
    if (ec) co_return;
    const io::UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) continue;
    if (const auto done = answer_one(connection.get(), handler); !done)
      log::warning("A command was not answered", {{"err", done.error()}});
  }
}

Result<ControlClient> ControlClient::connect(const std::string& path) {
  FAIRLEAD_TRY(address, address_of(path));
  io::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, "open a socket");
  const timeval patience{.tv_sec = kPatience};
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
    return errno_error(errno, "set a timeout");
  if (::connect(socket.get(), as_sockaddr(address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED)
      return make_error(ErrorCode::NotFound, "no lab is running (nothing listens on {})", path);
    return errno_error(errno, fmt::format("connect to {}", path));
  }
  return ControlClient(std::move(socket));
}

Result<ControlAnswer> ControlClient::ask(const std::string& request) {
  FAIRLEAD_CHECK(send_message(socket_.get(), request, {}));
  FAIRLEAD_TRY(answer, receive_message(socket_.get()));
  const char kind = answer.text.empty() ? kError : answer.text.front();
  answer.text.erase(0, 1);
  if (kind == kOk) return answer;
  return make_error(ErrorCode::Invalid, "{}", answer.text);
}

}  // namespace fairlead::lab
