#include "iptables/first_packet.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "io/fd.hpp"
#include "io/process.hpp"
#include "iptables/plans.hpp"
#include "nftables/report.hpp"

namespace fairlead::bench {
namespace {

constexpr int kConnections = 500;

Result<void> run(std::vector<std::string> argv) {
  FAIRLEAD_TRY(output, io::run_blocking({.argv = std::move(argv)}, {}, std::chrono::seconds{10}));
  if (!output.status.ok()) return make_error(ErrorCode::Internal, "ip: {}", output.err);
  return {};
}

sockaddr_in to_sockaddr(const SocketAddress& from) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(number(from.port));
  std::memcpy(&out.sin_addr, from.address.bytes().data(), sizeof out.sin_addr);
  return out;
}

Result<io::UniqueFd> open_socket() {
  io::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "open a socket");
  // Closed at once by a reset: no port stays in use.
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  return fd;
}

Result<double> connect_once(const io::UniqueFd& listener, const SocketAddress& to) {
  FAIRLEAD_TRY(client, open_socket());
  const sockaddr_in address = to_sockaddr(to);
  const auto start = std::chrono::steady_clock::now();
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_error(errno, fmt::format("connect to {}", to.to_string()));
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  const io::UniqueFd accepted(::accept(listener.get(), nullptr, nullptr));
  return took.count();
}

SocketAddress frontend_of(const plan::ServicePlanPtr& service) {
  const plan::Frontend& frontend = service->frontends.front();
  return {.address = frontend.address, .port = frontend.port};
}

}  // namespace

Result<FirstPackets> measure_first_packets(const plan::Plan& plan) {
  const SocketAddress backend = listening_backend();
  FAIRLEAD_CHECK(run({"ip", "addr", "add", backend.address.to_string() + "/32", "dev", "lo"}));
  FAIRLEAD_CHECK(run({"ip", "route", "add", "default", "dev", "lo"}));
  FAIRLEAD_TRY(listener, open_socket());
  const sockaddr_in address = to_sockaddr(backend);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 16) != 0) {
    return errno_error(errno, "listen");
  }
  std::vector<double> first, last;
  for (int i = 0; i < kConnections; ++i) {
    FAIRLEAD_TRY(a, connect_once(listener, frontend_of(plan.services.begin()->second)));
    FAIRLEAD_TRY(b, connect_once(listener, frontend_of(plan.services.rbegin()->second)));
    first.push_back(a);
    last.push_back(b);
  }
  return FirstPackets{.first = median(first), .last = median(last)};
}

}  // namespace fairlead::bench
