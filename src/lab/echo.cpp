#include "lab/echo.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <csignal>
#include <memory>

#include "base/log.hpp"
#include "base/text.hpp"
#include "io/socket.hpp"
#include "io/task.hpp"

namespace fairlead::lab {
namespace {

namespace asio = io::asio;
using asio::ip::tcp;
using asio::ip::udp;
using boost::system::error_code;

constexpr std::size_t kLongestLine = 8192;

// A dual-stack socket sees IPv4 peers as ::ffff:a.b.c.d.
template <class Endpoint>
SocketAddress peer_address(const Endpoint& endpoint) {
  auto address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  const auto parsed = IpAddress::parse(address.to_string());
  return {.address = parsed.value_or(IpAddress()), .port = Port{endpoint.port()}};
}

class Echo {
 public:
  explicit Echo(const EchoConfig& config)
      : config_(config), signals_(loop_, SIGTERM, SIGINT), tasks_(loop_.get_executor(), "echo") {}

  Result<void> run();

 private:
  Result<void> listen();
  io::Task<void> accept(tcp::acceptor* acceptor);
  io::Task<void> converse(tcp::socket socket);
  io::Task<void> answer_datagrams(udp::socket* socket);
  io::Task<void> live();
  std::string line(const SocketAddress& peer) const {
    return fmt::format("{} {}\n", config_.name, peer);
  }
  std::string http_answer(std::string_view request_line, const SocketAddress& peer) const;

  EchoConfig config_;
  asio::io_context loop_{1};
  asio::signal_set signals_;  // caught before anybody can find us
  std::vector<std::unique_ptr<tcp::acceptor>> acceptors_;
  std::vector<std::unique_ptr<udp::socket>> datagram_sockets_;
  io::TaskGroup tasks_;
  bool leaving_ = false;
};

Result<io::UniqueFd> bind_udp(Port port) {
  io::UniqueFd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int no = 0;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(number(port));
  if (!fd || ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error(errno, fmt::format("listen on UDP port {}", port));
  return fd;
}

Result<void> Echo::listen() {
  const IpAddress everywhere = IpAddress::any(IpFamily::V6);
  // TCP last: who can connect (a readiness probe, say) may send datagrams too.
  for (const Port port : config_.udp) {
    FAIRLEAD_TRY(fd, bind_udp(port));
    auto socket = std::make_unique<udp::socket>(loop_);
    error_code ec;
    socket->assign(udp::v6(), fd.release(), ec);
    check(!ec, "a fresh socket can be used");
    tasks_.spawn(answer_datagrams(socket.get()));
    datagram_sockets_.push_back(std::move(socket));
  }
  for (const Port port : config_.tcp) {
    FAIRLEAD_TRY(fd, io::listen_tcp({.address = everywhere, .port = port}));
    auto acceptor = std::make_unique<tcp::acceptor>(loop_);
    error_code ec;
    acceptor->assign(tcp::v6(), fd.release(), ec);
    check(!ec, "a fresh socket can be used");
    tasks_.spawn(accept(acceptor.get()));
    acceptors_.push_back(std::move(acceptor));
  }
  return {};
}

io::Task<void> Echo::accept(tcp::acceptor* acceptor) {
  while (!co_await io::cancelled()) {
    auto [ec, socket] = co_await acceptor->async_accept(io::kNoThrow);
    if (!ec) {
      tasks_.spawn(converse(std::move(socket)));
    } else if (ec != asio::error::operation_aborted) {
      log::warning("Could not accept a connection, trying again", {{"err", ec.message()}});
      co_await io::sleep_for(std::chrono::milliseconds{100});
    }
  }
}

std::string Echo::http_answer(std::string_view request_line, const SocketAddress& peer) const {
  const auto words = split(trim(request_line), ' ');
  const std::string_view path = words.size() > 1 ? words[1] : "";
  std::string_view status = "200 OK";
  std::string body = line(peer);
  if (path == "/healthz") {
    status = leaving_ ? "503 Service Unavailable" : "200 OK";
    body = leaving_ ? "leaving\n" : "ok\n";
  } else if (path != "/") {
    status = "404 Not Found";
    body = "only / and /healthz are here\n";
  }
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: "
      "close\r\n\r\n{}",
      status, body.size(), body);
}

io::Task<void> Echo::converse(tcp::socket socket) {
  error_code ec;
  const auto endpoint = socket.remote_endpoint(ec);
  if (ec) co_return;
  const SocketAddress peer = peer_address(endpoint);
  std::string input;
  std::string http;  // the request line, once there was one
  while (!co_await io::cancelled()) {
    const auto [read_ec, size] = co_await asio::async_read_until(
        socket, asio::dynamic_buffer(input, kLongestLine), '\n', io::kNoThrow);
    if (read_ec) co_return;
    const std::string text = input.substr(0, size);
    input.erase(0, size);
    std::string answer;
    if (!http.empty()) {
      if (!trim(text).empty()) continue;  // a header
      answer = http_answer(http, peer);
    } else if (text.starts_with("GET ") || text.starts_with("HEAD ")) {
      http = text;
      continue;
    } else {
      answer = line(peer);
    }
    const auto [write_ec, written] =
        co_await asio::async_write(socket, asio::buffer(answer), io::kNoThrow);
    if (write_ec || !http.empty()) co_return;
  }
}

io::Task<void> Echo::answer_datagrams(udp::socket* socket) {
  std::array<char, 2048> buffer{};
  while (!co_await io::cancelled()) {
    udp::endpoint from;
    const auto [ec, size] =
        co_await socket->async_receive_from(asio::buffer(buffer), from, io::kNoThrow);
    if (ec == asio::error::operation_aborted) co_return;
    if (ec) continue;  // an ICMP error about an earlier answer
    const std::string answer = line(peer_address(from));
    const auto [send_ec, sent] =
        co_await socket->async_send_to(asio::buffer(answer), from, io::kNoThrow);
    if (send_ec) log::verbose(1, "Could not answer a datagram", {{"err", send_ec.message()}});
  }
}

io::Task<void> Echo::live() {
  const auto [ec, signal] = co_await signals_.async_wait(io::kNoThrow);
  leaving_ = true;
  if (signal == SIGTERM && config_.linger.count() > 0) co_await io::sleep_for(config_.linger);
  co_await tasks_.close();
}

Result<void> Echo::run() {
  auto listening = listen();
  // live() is not of the group it closes.
  asio::co_spawn(loop_, listening ? live() : tasks_.close(), asio::detached);
  loop_.run();
  return listening;
}

}  // namespace

Result<void> run_echo(const EchoConfig& config) { return Echo(config).run(); }

}  // namespace fairlead::lab
