#include "io/probe.hpp"

#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <optional>

#include "base/text.hpp"

namespace fairlead::io {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

// A socket with a deadline for everything done on it: when it passes, the operation under way ends.
// Shared with the timer's handler, which may be queued already when the probe ends.
struct TimedSocket {
  TimedSocket(const Executor& executor, std::chrono::nanoseconds timeout)
      : socket(executor), timer(executor, std::chrono::steady_clock::now() + timeout) {}
  tcp::socket socket;
  asio::steady_timer timer;
  bool late = false;

  Error failure(std::string_view what, const error_code& ec) const {
    if (late) return make_error(ErrorCode::Timeout, "{}: no answer in time", what);
    return make_error(ErrorCode::Unavailable, "{}: {}", what, ec.message());
  }
};
using SharedSocket = std::shared_ptr<TimedSocket>;

Result<int> open_socket(const NetNamespace* from, IpFamily family) {
  int fd = -1;
  const auto open = [&]() -> Result<void> {
    fd = ::socket(family == IpFamily::V4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno_error(errno, "open a socket for a probe");
    return {};
  };
  FAIRLEAD_CHECK(from == nullptr ? open() : from->run(open));
  return fd;
}

tcp::endpoint to_endpoint(const SocketAddress& address) {
  error_code ec;
  return {asio::ip::make_address(address.address.to_string(), ec), number(address.port)};
}

Task<Result<SharedSocket>> connect(const NetNamespace* from, SocketAddress to,
                                   std::chrono::nanoseconds timeout) {
  FAIRLEAD_CO_TRY(fd, open_socket(from, to.address.family()));
  const auto shared = std::make_shared<TimedSocket>(co_await asio::this_coro::executor, timeout);
  error_code ec;
  shared->socket.assign(to.address.is_v4() ? tcp::v4() : tcp::v6(), fd, ec);
  if (ec) {
    const UniqueFd unused(fd);
    co_return shared->failure("use a socket for a probe", ec);
  }
  shared->timer.async_wait([shared](const error_code& timer_ec) {
    if (timer_ec) return;
    shared->late = true;
    error_code ignored;
    shared->socket.close(ignored);
  });
  const auto [connect_ec] = co_await shared->socket.async_connect(to_endpoint(to), kNoThrow);
  if (connect_ec) {
    shared->timer.cancel();
    co_return shared->failure(fmt::format("connect to {}", to), connect_ec);
  }
  co_return shared;
}

std::string request_text(const HttpProbe& probe) {
  std::string out = fmt::format("GET {} HTTP/1.1\r\n", probe.path.empty() ? "/" : probe.path);
  bool host = false;
  for (const auto& [name, value] : probe.headers) {
    host = host || equals_ignore_case(name, "host");
    out += fmt::format("{}: {}\r\n", name, value);
  }
  if (!host) out += fmt::format("Host: {}\r\n", probe.to);
  return out + "User-Agent: fairlead-probe\r\nConnection: close\r\n\r\n";
}

// "HTTP/1.1 200 OK" -> 200; nullopt while the line is not complete or makes no sense.
std::optional<unsigned> status_of(std::string_view answer) {
  constexpr std::string_view kVersion = "HTTP/1.";
  if (answer.size() < 12 || !answer.starts_with(kVersion)) return std::nullopt;
  const auto code = parse_uint(answer.substr(9, 3));
  return code ? std::optional(static_cast<unsigned>(*code)) : std::nullopt;
}

Task<Result<void>> exchange(SharedSocket shared, HttpProbe probe) {
  const std::string request = request_text(probe);
  const auto [write_ec, written] =
      co_await asio::async_write(shared->socket, asio::buffer(request), kNoThrow);
  if (write_ec) co_return shared->failure("send the request", write_ec);
  std::string answer(12, '\0');
  std::size_t size = 0;
  while (size < answer.size()) {
    const auto [ec, got] = co_await shared->socket.async_read_some(
        asio::buffer(answer.data() + size, answer.size() - size), kNoThrow);
    if (ec) co_return shared->failure("read the answer", ec);
    size += got;
  }
  const auto status = status_of(answer);
  if (!status) co_return make_error(ErrorCode::Unavailable, "the answer is not HTTP/1");
  if (*status < 200 || *status >= 400)
    co_return make_error(ErrorCode::Unavailable, "HTTP status {}", *status);
  co_return Result<void>{};
}

}  // namespace

Task<Result<void>> probe_tcp(const NetNamespace* from, SocketAddress to,
                             std::chrono::nanoseconds timeout) {
  FAIRLEAD_CO_TRY(shared, co_await connect(from, to, timeout));
  shared->timer.cancel();
  co_return Result<void>{};
}

Task<Result<void>> probe_http(const NetNamespace* from, HttpProbe probe,
                              std::chrono::nanoseconds timeout) {
  FAIRLEAD_CO_TRY(shared, co_await connect(from, probe.to, timeout));
  auto outcome = co_await exchange(shared, std::move(probe));
  shared->timer.cancel();
  co_return outcome;
}

Task<Result<void>> probe_command(Command command, std::chrono::nanoseconds timeout) {
  FAIRLEAD_CO_TRY(child, Child::spawn(command));
  FAIRLEAD_CO_TRY(status, co_await child.wait_until(std::chrono::steady_clock::now() + timeout));
  if (!status) co_return make_error(ErrorCode::Timeout, "the command did not end in time");
  if (!status->ok()) co_return make_error(ErrorCode::Unavailable, "{}", status->to_string());
  co_return Result<void>{};
}

}  // namespace fairlead::io
