#include "proxy/modes/userspace/proxy_protocol.hpp"

namespace fairlead::userspace {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr char kVersion2Proxied = 0x21;
constexpr char kTcp4 = 0x11, kTcp6 = 0x21;

void append(std::string& out, const IpAddress& address) {
  for (const std::uint8_t byte : address.bytes()) out += static_cast<char>(byte);
}
void append(std::string& out, std::uint16_t value) {
  out += static_cast<char>(value >> 8U);
  out += static_cast<char>(value & 0xffU);
}

}  // namespace

std::string proxy_header(const SocketAddress& client, const SocketAddress& destination) {
  const bool v4 = client.address.is_v4();
  std::string out(kSignature);
  out += kVersion2Proxied;
  out += v4 ? kTcp4 : kTcp6;
  append(out, static_cast<std::uint16_t>(2 * client.address.bytes().size() + 4));
  append(out, client.address);
  append(out, destination.address);
  append(out, number(client.port));
  append(out, number(destination.port));
  return out;
}

}  // namespace fairlead::userspace
