#include "api/raw_connection.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"

namespace fairlead::api_test {
namespace {

constexpr int kPatience = 15'000;  // milliseconds

// The value of a header, which our server writes in this spelling.
std::string_view header_of(std::string_view head, std::string_view name) {
  const std::string line = fmt::format("\r\n{}: ", name);
  const std::size_t found = head.find(line);
  if (found == std::string_view::npos) return {};
  const std::string_view rest = head.substr(found + line.size());
  return rest.substr(0, rest.find('\r'));
}

std::size_t number_of(std::string_view text, int base) {
  std::size_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out, base);
  return out;
}

}  // namespace

RawConnection::RawConnection(std::uint16_t port)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd_ = {};
}

bool RawConnection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd waiting{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&waiting, 1, kPatience) != 1) return false;
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawConnection::fill() {
  std::array<char, 16384> piece;
  pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kPatience) != 1) return false;
  const ssize_t size = ::recv(fd_.get(), piece.data(), piece.size(), 0);
  if (size <= 0) return false;
  buffer_.append(piece.data(), static_cast<std::size_t>(size));
  return true;
}

bool RawConnection::have(std::size_t bytes) {
  while (buffer_.size() < bytes) {
    if (!fill()) return false;
  }
  return true;
}

std::optional<RawConnection::Reply> RawConnection::reply(bool to_head) {
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return std::nullopt;
  }
  Reply out{.head = buffer_.substr(0, end), .body = {}};
  buffer_.erase(0, end + 4);
  out.status = static_cast<unsigned>(number_of(std::string_view(out.head).substr(9, 3), 10));
  if (out.status == 100) return reply(to_head);
  const std::size_t length = to_head ? 0 : number_of(header_of(out.head, "Content-Length"), 10);
  if (!have(length)) return std::nullopt;
  out.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return out;
}

bool RawConnection::ends() {
  if (!buffer_.empty()) return false;
  std::array<char, 1> byte;
  pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, kPatience) == 1 && ::recv(fd_.get(), byte.data(), byte.size(), 0) <= 0;
}

std::string http_request(std::string_view method, std::string_view target, std::string_view type,
                         std::string_view body) {
  return fmt::format("{} {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}", method, target,
                     type.empty() ? std::string() : fmt::format("Content-Type: {}\r\n", type),
                     body.size(), body);
}

}  // namespace fairlead::api_test
