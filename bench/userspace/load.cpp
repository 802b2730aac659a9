#include "userspace/load.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "io/sockaddr.hpp"
#include "userspace/machines.hpp"

namespace fairlead::bench {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kRequest = 64;
constexpr auto kPatience = 10s;

double per_second(double count, Clock::time_point start) {
  return count / std::chrono::duration<double>(Clock::now() - start).count();
}

// Takes source addresses in turn, so that ports do not run out.
class Opener {
 public:
  Result<io::UniqueFd> open(const SocketAddress& to, int type) {
    io::UniqueFd out(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!out) return errno_error(errno, "open a socket");
    const int yes = 1;
    setsockopt(out.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (type == SOCK_STREAM) setsockopt(out.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    const auto from =
        io::to_kernel({.address = client_address(next_++ % kClientAddresses), .port = Port{0}});
    if (bind(out.get(), from.get(), from.size) != 0) return errno_error(errno, "bind");
    const auto address = io::to_kernel(to);
    if (connect(out.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
      return errno_error(errno, fmt::format("connect to {}", to));
    }
    return out;
  }

 private:
  unsigned next_ = 0;
};

class Poll {
 public:
  Poll() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  Result<void> add(int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return errno_error(errno, "epoll_ctl");
    }
    return {};
  }
  // Calls `each(fd)` for all that are ready within `wait`; an error ends it.
  template <class Each>
  Result<void> turn(std::chrono::nanoseconds wait, const Each& each) {
    std::array<epoll_event, 256> events;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(wait);
    const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (wait - seconds).count()};
    const int count = epoll_pwait2(epoll_.get(), events.data(), events.size(), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      FAIRLEAD_CHECK(each(events[static_cast<std::size_t>(i)].data.fd));
    }
    return {};
  }

 private:
  io::UniqueFd epoll_;
};

Result<void> ask(int socket) {
  const std::array<char, kRequest> request{};
  if (send(socket, request.data(), request.size(), MSG_NOSIGNAL) == kRequest) return {};
  return errno_error(errno, "send a request");
}

}  // namespace

Result<double> bulk(const IpAddress& subject, Direction direction, int connections,
                    std::chrono::milliseconds lasts) {
  const bool down = direction == Direction::Download;
  Opener opener;
  Poll poll;
  std::vector<io::UniqueFd> sockets;
  for (int i = 0; i < connections; ++i) {
    FAIRLEAD_TRY(
        socket,
        opener.open({.address = subject, .port = down ? kPorts.source : kPorts.sink}, SOCK_STREAM));
    FAIRLEAD_CHECK(poll.add(socket.get(), down ? EPOLLIN : EPOLLOUT));
    sockets.push_back(std::move(socket));
  }
  std::vector<char> bytes(1 << 18);
  double moved = 0;
  const auto move = [&](int fd) -> Result<void> {
    const ssize_t now = down ? recv(fd, bytes.data(), bytes.size(), MSG_TRUNC)
                             : send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (now <= 0 && errno != EAGAIN) return errno_error(errno, "move bytes");
    if (now > 0) moved += static_cast<double>(now);
    return {};
  };
  const auto warm = Clock::now() + lasts / 4;
  while (Clock::now() < warm) FAIRLEAD_CHECK(poll.turn(10ms, move));
  moved = 0;
  const auto start = Clock::now();
  while (Clock::now() < start + lasts) FAIRLEAD_CHECK(poll.turn(10ms, move));
  return per_second(moved, start);
}

Result<double> new_connections(const IpAddress& subject, int at_once,
                               std::chrono::milliseconds lasts) {
  const SocketAddress to{.address = subject, .port = kPorts.once};
  Opener opener;
  Poll poll;
  struct Connection {
    io::UniqueFd socket;
    bool asked = false, answered = false;
  };
  std::map<int, Connection> open;
  const auto begin = [&]() -> Result<void> {
    FAIRLEAD_TRY(socket, opener.open(to, SOCK_STREAM));
    const int fd = socket.get();
    FAIRLEAD_CHECK(poll.add(fd, EPOLLIN | EPOLLOUT | EPOLLET));
    open.insert_or_assign(fd, Connection{.socket = std::move(socket)});
    return {};
  };
  double done = 0;
  const auto step = [&](int fd) -> Result<void> {
    Connection& connection = open.at(fd);
    if (!connection.asked) {
      FAIRLEAD_CHECK(ask(fd));
      connection.asked = true;
    }
    while (true) {
      std::array<char, kRequest> answer{};
      const ssize_t got = recv(fd, answer.data(), answer.size(), 0);
      if (got < 0 && errno == EAGAIN) return {};
      if (got < 0) return errno_error(errno, "read an answer");
      if (got > 0) {
        connection.answered = true;
        continue;
      }
      if (!connection.answered) return make_error(ErrorCode::Unavailable, "end without an answer");
      open.erase(fd);
      ++done;
      return begin();
    }
  };
  for (int i = 0; i < at_once; ++i) FAIRLEAD_CHECK(begin());
  const auto start = Clock::now();
  while (Clock::now() < start + lasts) FAIRLEAD_CHECK(poll.turn(100ms, step));
  return per_second(done, start);
}

Result<std::vector<io::UniqueFd>> idle(const IpAddress& subject, int connections) {
  const SocketAddress to{.address = subject, .port = kPorts.echo};
  constexpr int kAtOnce = 256;
  Opener opener;
  Poll poll;
  std::vector<io::UniqueFd> out;
  std::map<int, bool> asked;                 // of those under way
  auto deadline = Clock::now() + kPatience;  // of the next answer
  const auto begin = [&]() -> Result<void> {
    FAIRLEAD_TRY(socket, opener.open(to, SOCK_STREAM));
    FAIRLEAD_CHECK(poll.add(socket.get(), EPOLLIN | EPOLLOUT | EPOLLET));
    asked.emplace(socket.get(), false);
    out.push_back(std::move(socket));
    return {};
  };
  const auto step = [&](int fd) -> Result<void> {
    const auto found = asked.find(fd);
    if (found == asked.end()) return {};
    if (!found->second) {
      FAIRLEAD_CHECK(ask(fd));
      found->second = true;
    }
    std::array<char, kRequest> answer{};
    const ssize_t got = recv(fd, answer.data(), answer.size(), 0);
    if (got < 0 && errno == EAGAIN) return {};
    if (got <= 0) return errno_error(errno, "read an answer");
    asked.erase(found);
    deadline = Clock::now() + kPatience;
    return {};
  };
  while (static_cast<int>(out.size()) < connections || !asked.empty()) {
    while (static_cast<int>(out.size()) < connections && asked.size() < kAtOnce) {
      FAIRLEAD_CHECK(begin());
    }
    FAIRLEAD_CHECK(poll.turn(100ms, step));
    if (Clock::now() > deadline) return make_error(ErrorCode::Timeout, "connections stall");
  }
  return out;
}

Result<std::vector<double>> latencies(const IpAddress& subject, int connections, double rate,
                                      std::chrono::milliseconds lasts) {
  FAIRLEAD_TRY(sockets, idle(subject, connections));
  Poll poll;
  for (const io::UniqueFd& socket : sockets) FAIRLEAD_CHECK(poll.add(socket.get(), EPOLLIN));
  std::map<int, Clock::time_point> due;  // of the requests on their way
  std::vector<double> out;
  const auto answered = [&](int fd) -> Result<void> {
    std::array<char, kRequest> answer{};
    if (recv(fd, answer.data(), answer.size(), 0) <= 0) return errno_error(errno, "an answer");
    const auto found = due.find(fd);
    if (found == due.end()) return make_error(ErrorCode::Internal, "an answer to nothing");
    out.push_back(std::chrono::duration<double, std::micro>(Clock::now() - found->second).count());
    due.erase(found);
    return {};
  };
  const auto step =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / rate));
  const auto start = Clock::now();
  auto next = start;
  std::size_t turn = 0;
  while (next < start + lasts) {
    for (; next <= Clock::now() && next < start + lasts; next += step) {
      const int fd = sockets[turn++ % sockets.size()].get();
      if (due.contains(fd)) continue;  // a round late: counted by the one that waits
      FAIRLEAD_CHECK(ask(fd));
      due.emplace(fd, next);
    }
    // Asleep until the next request is due: who spins has a CPU that the forwarder should have.
    const auto left = std::max<Clock::duration>(next - Clock::now(), 0ns);
    FAIRLEAD_CHECK(poll.turn(left, answered));
  }
  const auto deadline = Clock::now() + kPatience;
  while (!due.empty()) {
    FAIRLEAD_CHECK(poll.turn(100ms, answered));
    if (Clock::now() > deadline) return make_error(ErrorCode::Timeout, "answers are missing");
  }
  return out;
}

Result<double> datagrams(const IpAddress& subject, int flows, int window,
                         std::chrono::milliseconds lasts) {
  const SocketAddress to{.address = subject, .port = kPorts.echo};
  Opener opener;
  Poll poll;
  std::vector<io::UniqueFd> sockets;
  std::array<char, kRequest> bytes{};
  const auto send_some = [&](int fd, int count) {
    for (int i = 0; i < count; ++i) send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  };
  for (int i = 0; i < flows; ++i) {
    FAIRLEAD_TRY(socket, opener.open(to, SOCK_DGRAM));
    FAIRLEAD_CHECK(poll.add(socket.get(), EPOLLIN));
    sockets.push_back(std::move(socket));
  }
  double answered = 0;
  Clock::time_point last = Clock::now();
  const auto step = [&](int fd) -> Result<void> {
    int got = 0;
    while (got < window && recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) ++got;
    answered += got;
    if (got > 0) last = Clock::now();
    send_some(fd, got);
    return {};
  };
  const auto start = Clock::now();
  for (const io::UniqueFd& socket : sockets) send_some(socket.get(), window);
  while (Clock::now() < start + lasts) {
    FAIRLEAD_CHECK(poll.turn(10ms, step));
    if (Clock::now() - last > 100ms) {  // what was lost leaves the windows empty in the end
      for (const io::UniqueFd& socket : sockets) send_some(socket.get(), window);
      last = Clock::now();
    }
  }
  return per_second(answered, start);
}

}  // namespace fairlead::bench
