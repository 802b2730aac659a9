#include "packets/echo.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <map>
#include <mutex>

namespace fairlead::packets {
namespace {

// All sockets are IPv6 ones that take IPv4 as well; peers are named in their own family.
std::string name_of(const sockaddr_in6& peer) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr)) {
    ::inet_ntop(AF_INET, &peer.sin6_addr.s6_addr[12], text.data(), text.size());
  } else {
    ::inet_ntop(AF_INET6, &peer.sin6_addr, text.data(), text.size());
  }
  return text.data();
}

Result<io::UniqueFd> bound_socket(int type, Port port) {
  io::UniqueFd fd(::socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error(errno, "open an echo socket");
  const int off = 0;
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(number(port));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error(errno, fmt::format("bind an echo socket to port {}", port));
  return fd;
}

}  // namespace

// Runs on the servers' thread; add() may be called from another one meanwhile.
class EchoServers::Loop {
 public:
  enum class Kind { Listener, Connection, Datagrams };
  struct Socket {
    io::UniqueFd fd;
    Kind kind = Kind::Listener;
    std::string name;
  };

  static Result<std::unique_ptr<Loop>> create() {
    auto loop = std::make_unique<Loop>();
    loop->epoll_ = io::UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
    loop->stop_ = io::UniqueFd(::eventfd(0, EFD_CLOEXEC));
    if (!loop->epoll_ || !loop->stop_) return errno_error(errno, "make the echo servers' loop");
    FAIRLEAD_CHECK(loop->watch(loop->stop_.get()));
    return loop;
  }

  Result<void> add(Socket socket) {
    const std::lock_guard lock(mutex_);
    const int fd = socket.fd.get();
    sockets_.insert_or_assign(fd, std::move(socket));
    return watch(fd);
  }

  void run() {
    std::array<epoll_event, 64> events{};
    while (true) {
      const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
      const std::lock_guard lock(mutex_);
      for (int i = 0; i < n; ++i) {
        const int fd = events.at(static_cast<std::size_t>(i)).data.fd;
        if (fd == stop_.get()) return;
        if (const auto found = sockets_.find(fd); found != sockets_.end()) serve(found->second);
      }
    }
  }

  void stop() { ::eventfd_write(stop_.get(), 1); }

 private:
  Result<void> watch(int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return errno_error(errno, "watch an echo socket");
    return {};
  }

  void serve(Socket& socket) {
    switch (socket.kind) {
      case Kind::Listener:
        return accept(socket);
      case Kind::Datagrams:
        return answer(socket);
      case Kind::Connection:
        return echo(socket);
    }
  }

  void accept(const Socket& listener) {
    sockaddr_in6 peer{};
    socklen_t size = sizeof peer;
    io::UniqueFd fd(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                              SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    const std::string greeting = fmt::format("{} {}\n", listener.name, name_of(peer));
    ::send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
    const int key = fd.get();
    sockets_.insert_or_assign(key, Socket{.fd = std::move(fd), .kind = Kind::Connection});
    if (!watch(key)) sockets_.erase(key);
  }

  static void answer(const Socket& socket) {
    std::array<char, 256> datagram{};
    sockaddr_in6 peer{};
    socklen_t size = sizeof peer;
    auto* const from = reinterpret_cast<sockaddr*>(&peer);
    if (::recvfrom(socket.fd.get(), datagram.data(), datagram.size(), 0, from, &size) < 0) return;
    const std::string reply = fmt::format("{} {}\n", socket.name, name_of(peer));
    ::sendto(socket.fd.get(), reply.data(), reply.size(), 0, from, size);
  }

  void echo(const Socket& socket) {
    std::array<char, 256> line{};
    const ssize_t n = ::recv(socket.fd.get(), line.data(), line.size(), 0);
    if (n <= 0) {
      sockets_.erase(socket.fd.get());  // closing it ends the watch
      return;
    }
    ::send(socket.fd.get(), line.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL);
  }

  io::UniqueFd epoll_;
  io::UniqueFd stop_;
  std::mutex mutex_;
  std::map<int, Socket> sockets_;
};

EchoServers::EchoServers(std::unique_ptr<Loop> loop)
    : loop_(std::move(loop)), thread_([this] { loop_->run(); }) {}

EchoServers::~EchoServers() {
  loop_->stop();
  thread_.join();
}

Result<std::unique_ptr<EchoServers>> EchoServers::start() {
  FAIRLEAD_TRY(loop, Loop::create());
  return std::unique_ptr<EchoServers>(new EchoServers(std::move(loop)));
}

Result<void> EchoServers::listen(const std::string& name, Port port) {
  const std::string full_name = fmt::format("{}:{}", name, port);
  FAIRLEAD_TRY(stream, bound_socket(SOCK_STREAM, port));
  if (::listen(stream.get(), 128) != 0) return errno_error(errno, "listen");
  FAIRLEAD_CHECK(
      loop_->add({.fd = std::move(stream), .kind = Loop::Kind::Listener, .name = full_name}));
  FAIRLEAD_TRY(datagrams, bound_socket(SOCK_DGRAM, port));
  return loop_->add({.fd = std::move(datagrams), .kind = Loop::Kind::Datagrams, .name = full_name});
}

}  // namespace fairlead::packets
