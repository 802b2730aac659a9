#include "packets/probe.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.hpp"

namespace fairlead::packets {
namespace {

using Clock = std::chrono::steady_clock;

struct RawAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

RawAddress to_raw(const SocketAddress& address) {
  RawAddress raw;
  const auto bytes = address.address.bytes();
  if (address.address.is_v4()) {
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&raw.storage);
    *v4 = {.sin_family = AF_INET, .sin_port = htons(number(address.port)), .sin_addr = {}};
    std::memcpy(&v4->sin_addr, bytes.data(), bytes.size());
    raw.size = sizeof *v4;
  } else {
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&raw.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(number(address.port));
    std::memcpy(&v6->sin6_addr, bytes.data(), bytes.size());
    raw.size = sizeof *v6;
  }
  return raw;
}

IpAddress local_address(int fd) {
  RawAddress raw;
  raw.size = sizeof raw.storage;
  if (::getsockname(fd, raw.get(), &raw.size) != 0) return {};
  if (raw.storage.ss_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(&raw.storage);
    return IpAddress::from_bytes({reinterpret_cast<const std::uint8_t*>(&v4->sin_addr), 4});
  }
  const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(&raw.storage);
  return IpAddress::from_bytes({v6->sin6_addr.s6_addr, 16});
}

// One exchange under way.
struct Attempt {
  io::UniqueFd fd;
  Outcome outcome;
  bool done = false;

  // A packet of one's own that a rule throws away ends in EPERM; only the socket's own error says
  // whether it was also refused.
  void fail_to_send(int err) {
    int pending = 0;
    socklen_t size = sizeof pending;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &pending, &size);
    fail(err == EPERM && pending != 0 ? pending : err);
  }

  void fail(int err) {
    done = true;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
      outcome.repeats = info.tcpi_total_retrans;
    if (err == ECONNREFUSED) {
      outcome.fate = Fate::Refused;
    } else if (err == EPERM) {
      outcome.fate = Fate::Silence;  // dropped on the sender's own machine
    } else {
      outcome.fate = Fate::Failed;
      outcome.detail = std::strerror(err);
    }
  }

  // "pod1:8080 10.0.1.1\n"
  void take_answer(std::string_view line) {
    done = true;
    const auto words = split(trim(line), ' ');
    const auto seen = IpAddress::parse(words.size() == 2 ? words[1] : "");
    if (!seen) {
      outcome.detail = fmt::format("the answer was \"{}\"", trim(line));
      return;
    }
    outcome.fate = Fate::Answered;
    outcome.backend = words[0];
    outcome.seen_source = *seen;
  }

  void on_ready() {
    std::array<char, 256> line{};
    const ssize_t n = ::recv(fd.get(), line.data(), line.size(), 0);
    if (n > 0) {
      take_answer({line.data(), static_cast<std::size_t>(n)});
    } else if (n == 0) {
      fail(ECONNRESET);
    } else if (errno != EAGAIN) {
      fail(errno);
    }
  }
};

Attempt begin(const Send& send, Port source_port) {
  Attempt attempt;
  const bool tcp = send.protocol == Protocol::Tcp;
  attempt.fd =
      io::UniqueFd(::socket(send.to.address.is_v4() ? AF_INET : AF_INET6,
                            (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!attempt.fd) {
    attempt.fail(errno);
    return attempt;
  }
  const int fd = attempt.fd.get();
  RawAddress source =
      to_raw({.address = send.source.value_or(IpAddress::any(send.to.address.family())),
              .port = source_port});
  if (::bind(fd, source.get(), source.size) != 0) attempt.fail(errno);
  RawAddress to = to_raw(send.to);
  if (!attempt.done && ::connect(fd, to.get(), to.size) != 0 && errno != EINPROGRESS)
    attempt.fail(errno);
  attempt.outcome.source = local_address(fd);
  if (!attempt.done && !tcp && ::send(fd, "who?\n", 5, 0) < 0) attempt.fail_to_send(errno);
  return attempt;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(0, left.count()));
}

void wait_for_all(std::vector<Attempt>& attempts, Clock::time_point deadline) {
  while (true) {
    std::vector<pollfd> waiting;
    std::vector<Attempt*> owners;
    for (Attempt& attempt : attempts) {
      if (attempt.done) continue;
      waiting.push_back({.fd = attempt.fd.get(), .events = POLLIN, .revents = 0});
      owners.push_back(&attempt);
    }
    if (waiting.empty()) return;
    if (::poll(waiting.data(), waiting.size(), milliseconds_until(deadline)) == 0) break;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents != 0) owners[i]->on_ready();
    }
  }
  for (Attempt& attempt : attempts) {
    if (!attempt.done) attempt.outcome.fate = Fate::Silence;
  }
}

}  // namespace

std::string Outcome::to_string() const {
  switch (fate) {
    case Fate::Answered:
      return fmt::format("answered by {}, which saw {}", backend, seen_source);
    case Fate::Refused:
      return "refused";
    case Fate::Silence:
      return "no answer";
    case Fate::Failed:
      return fmt::format("failed: {}", detail);
  }
  return "?";
}

std::vector<Outcome> send_all(Rig& rig, const std::vector<Send>& sends,
                              std::chrono::milliseconds patience) {
  std::vector<Attempt> attempts;
  for (auto first = sends.begin(); first != sends.end();) {
    const auto last = std::find_if(first, sends.end(),
                                   [&](const Send& send) { return send.from != first->from; });
    const auto entered = rig.host(first->from).network.run([&]() -> Result<void> {
      for (auto send = first; send != last; ++send)
        attempts.push_back(begin(*send, rig.fresh_port()));
      return {};
    });
    check(entered.has_value(), "a host of the rig can be entered");
    first = last;
  }
  wait_for_all(attempts, Clock::now() + patience);
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    Outcome& outcome = outcomes.emplace_back(std::move(attempts[i].outcome));
    if (outcome.fate == Fate::Answered && sends[i].protocol == Protocol::Tcp)
      outcome.connection = std::move(attempts[i].fd);
  }
  return outcomes;
}

bool still_answers(const io::UniqueFd& connection, std::chrono::milliseconds patience) {
  constexpr std::string_view kLine = "still there?\n";
  if (::send(connection.get(), kLine.data(), kLine.size(), MSG_NOSIGNAL) < 0) return false;
  pollfd waiting{.fd = connection.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, static_cast<int>(patience.count())) != 1) return false;
  std::array<char, 64> line{};
  const ssize_t n = ::recv(connection.get(), line.data(), line.size(), 0);
  return n > 0 && std::string_view(line.data(), static_cast<std::size_t>(n)) == kLine;
}

}  // namespace fairlead::packets
