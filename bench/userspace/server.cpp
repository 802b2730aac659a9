// The server of the benchmark: one epoll, four ports.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <unordered_map>
#include <vector>

#include "io/fd.hpp"
#include "userspace/machines.hpp"

namespace fairlead::bench {
namespace {

enum class Does : std::uint8_t { Listen, EchoDatagrams, Echo, Source, Sink, Once };

struct Peer {
  io::UniqueFd socket;
  Does does = Does::Listen;
  Does children = Does::Echo;  // of a listener
};

class Server {
 public:
  bool open() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bytes_.resize(1 << 18);
    epoll_ = io::UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    return listen(kPorts.echo, Does::Echo) && listen(kPorts.source, Does::Source) &&
           listen(kPorts.sink, Does::Sink) && listen(kPorts.once, Does::Once) && datagrams() &&
           watch(STDIN_FILENO, EPOLLIN);
  }
  void run() {
    std::array<epoll_event, 256> events;
    while (true) {
      const int count = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == STDIN_FILENO) return;
        const auto found = peers_.find(fd);
        if (found != peers_.end() && !serve(found->second)) peers_.erase(found);
      }
    }
  }

 private:
  io::UniqueFd bound(int type, Port port) {
    io::UniqueFd out(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int yes = 1;
    setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(number(port));
    if (bind(out.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) return {};
    return out;
  }
  bool listen(Port port, Does children) {
    io::UniqueFd out = bound(SOCK_STREAM, port);
    if (!out || ::listen(out.get(), 16384) != 0) return false;
    return watch({.socket = std::move(out), .does = Does::Listen, .children = children});
  }
  bool datagrams() {
    io::UniqueFd out = bound(SOCK_DGRAM, kPorts.echo);
    return out && watch({.socket = std::move(out), .does = Does::EchoDatagrams});
  }
  bool watch(int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  bool watch(Peer peer) {
    const int fd = peer.socket.get();
    if (!watch(fd, peer.does == Does::Source ? EPOLLOUT : EPOLLIN)) return false;
    peers_.insert_or_assign(fd, std::move(peer));
    return true;
  }
  bool serve(Peer& peer) {
    switch (peer.does) {
      case Does::Listen:
        return accept_all(peer);
      case Does::EchoDatagrams:
        return echo_datagrams(peer);
      case Does::Echo:
        return echo(peer);
      case Does::Source:
        return send(peer.socket.get(), bytes_.data(), bytes_.size(), MSG_NOSIGNAL) > 0 ||
               errno == EAGAIN;
      case Does::Sink:
        return recv(peer.socket.get(), bytes_.data(), bytes_.size(), 0) > 0;
      case Does::Once:
        echo(peer);
        return false;
    }
    return false;
  }
  bool accept_all(const Peer& listener) {
    const Does does = listener.children;
    const int fd = listener.socket.get();
    while (true) {
      io::UniqueFd client(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!client) return true;
      const int yes = 1;
      setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      watch({.socket = std::move(client), .does = does});
    }
  }
  bool echo(Peer& peer) {
    const ssize_t got = recv(peer.socket.get(), bytes_.data(), bytes_.size(), 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    return send(peer.socket.get(), bytes_.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) ==
           got;
  }
  bool echo_datagrams(Peer& peer) {
    constexpr std::size_t kBatch = 32;
    std::array<mmsghdr, kBatch> headers{};
    std::array<iovec, kBatch> parts{};
    std::array<sockaddr_in, kBatch> from{};
    for (std::size_t i = 0; i < kBatch; ++i) {
      parts[i] = {.iov_base = bytes_.data() + i * 2048, .iov_len = 2048};
      headers[i].msg_hdr = {.msg_name = &from[i],
                            .msg_namelen = sizeof from[i],
                            .msg_iov = &parts[i],
                            .msg_iovlen = 1};
    }
    const int got = recvmmsg(peer.socket.get(), headers.data(), kBatch, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < got; ++i) {
      parts[static_cast<std::size_t>(i)].iov_len = headers[static_cast<std::size_t>(i)].msg_len;
    }
    if (got > 0) sendmmsg(peer.socket.get(), headers.data(), static_cast<unsigned>(got), 0);
    return true;
  }

  io::UniqueFd epoll_;
  std::vector<char> bytes_;
  std::unordered_map<int, Peer> peers_;
};

}  // namespace

int be_server() {
  Server server;
  if (!server.open()) {
    std::perror("bench server");
    return EXIT_FAILURE;
  }
  std::puts("ready");
  std::fflush(stdout);
  server.run();
  return EXIT_SUCCESS;
}

}  // namespace fairlead::bench
