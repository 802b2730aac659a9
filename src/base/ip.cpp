#include "base/ip.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/text.hpp"

namespace fairlead {

std::string_view to_string(IpFamily family) { return family == IpFamily::V4 ? "IPv4" : "IPv6"; }

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp:
      return "TCP";
    case Protocol::Udp:
      return "UDP";
    case Protocol::Sctp:
      return "SCTP";
  }
  return "?";
}

std::string_view to_lower(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp:
      return "tcp";
    case Protocol::Udp:
      return "udp";
    case Protocol::Sctp:
      return "sctp";
  }
  return "?";
}

std::optional<Protocol> parse_protocol(std::string_view text) {
  for (const Protocol p : {Protocol::Tcp, Protocol::Udp, Protocol::Sctp}) {
    if (text == to_string(p)) return p;
  }
  return std::nullopt;
}

namespace {

// Digits only, no sign, no surplus text.
std::optional<unsigned> parse_decimal(std::string_view text, unsigned max) {
  unsigned value = 0;
  if (text.empty() || text.size() > 9) return std::nullopt;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

enum class Leniency { Strict, Sloppy };

std::optional<IpAddress> parse_v4(std::string_view text, Leniency leniency) {
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == bytes.size() - 1)) return std::nullopt;
    const std::string_view octet = text.substr(0, dot);
    if (leniency == Leniency::Strict && octet.size() > 1 && octet.front() == '0')
      return std::nullopt;
    const auto value = parse_decimal(octet, 255);
    if (!value) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(*value);
    if (dot != std::string_view::npos) text.remove_prefix(dot + 1);
  }
  return IpAddress::v4(bytes);
}

// The 16 bytes as written; IPv4-mapped ones are still what they are.
std::optional<in6_addr> parse_v6_bytes(std::string_view text, Leniency leniency) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos)
    return std::nullopt;
  std::string terminated(text);
  if (const auto tail = terminated.rfind(':') + 1;
      terminated.find('.', tail) != std::string::npos) {
    // inet_pton knows no sloppy octets.
    const auto v4 = parse_v4(text.substr(tail), leniency);
    if (!v4) return std::nullopt;
    terminated.replace(tail, std::string::npos, v4->to_string());
  }
  in6_addr raw{};
  if (inet_pton(AF_INET6, terminated.c_str(), &raw) != 1) return std::nullopt;
  return raw;
}

constexpr unsigned kMappedBits = 96;  // of ::ffff:0:0/96

struct ParsedAddress {
  IpAddress address;
  bool was_mapped = false;
};

std::optional<ParsedAddress> parse_any(std::string_view text, Leniency leniency) {
  if (text.find(':') == std::string_view::npos) {
    const auto v4 = parse_v4(text, leniency);
    return v4 ? std::optional(ParsedAddress{.address = *v4}) : std::nullopt;
  }
  const auto raw = parse_v6_bytes(text, leniency);
  if (!raw) return std::nullopt;
  if (!IN6_IS_ADDR_V4MAPPED(&*raw))
    return ParsedAddress{.address = IpAddress::from_bytes({raw->s6_addr, 16})};
  if (leniency == Leniency::Strict) return std::nullopt;
  return ParsedAddress{.address = IpAddress::from_bytes({raw->s6_addr + 12, 4}),
                       .was_mapped = true};
}

Result<IpPrefix> parse_prefix(std::string_view text, Leniency leniency) {
  const std::string_view whole = leniency == Leniency::Sloppy ? trim(text) : text;
  const auto slash = whole.find('/');
  const auto invalid = [&](std::string_view why) {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a CIDR ({})", text, why);
  };
  if (slash == std::string_view::npos) return invalid("no /length");
  const auto parsed = parse_any(whole.substr(0, slash), leniency);
  if (!parsed) return invalid("bad address");
  const IpAddress& address = parsed->address;
  // The length of a mapped prefix counts from the front of the IPv6 form.
  const unsigned mapped_bits = parsed->was_mapped ? kMappedBits : 0;
  const std::string_view length_text = whole.substr(slash + 1);
  const auto length = parse_decimal(length_text, mapped_bits + address.bits());
  if (!length || *length < mapped_bits || (length_text.size() > 1 && length_text.front() == '0'))
    return invalid("bad length");
  const IpPrefix prefix(address, *length - mapped_bits);
  if (leniency == Leniency::Strict && prefix.address() != address)
    return invalid("host bits are set");
  return prefix;
}

}  // namespace

Result<Port> parse_port(std::string_view text) {
  const auto value = parse_decimal(text, 65535);
  if (!value || *value == 0) {
    return make_error(ErrorCode::Invalid, "\"{}\" is not a port (1-65535)", text);
  }
  return Port{static_cast<std::uint16_t>(*value)};
}

IpAddress IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
  check(bytes.size() == 4 || bytes.size() == 16, "an IP address has 4 or 16 bytes");
  IpAddress a;
  std::copy(bytes.begin(), bytes.end(), a.bytes_.begin());
  a.family_ = bytes.size() == 4 ? IpFamily::V4 : IpFamily::V6;
  return a;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  if (const auto a = parse_any(text, Leniency::Strict)) return a->address;
  return make_error(ErrorCode::Invalid, "\"{}\" is not an IP address", text);
}

Result<IpAddress> IpAddress::parse_sloppy(std::string_view text) {
  if (const auto a = parse_any(text, Leniency::Sloppy)) return a->address;
  return make_error(ErrorCode::Invalid, "\"{}\" is not an IP address", text);
}

bool IpAddress::is_unspecified() const { return *this == any(family_); }
bool IpAddress::is_loopback() const {
  return is_v4() ? bytes_[0] == 127 : *this == loopback(IpFamily::V6);
}
bool IpAddress::is_link_local() const {
  return is_v4() ? bytes_[0] == 169 && bytes_[1] == 254
                 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}
bool IpAddress::is_multicast() const {
  return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}
bool IpAddress::is_link_local_multicast() const {
  return is_v4() ? bytes_[0] == 224 && bytes_[1] == 0 && bytes_[2] == 0
                 : bytes_[0] == 0xff && (bytes_[1] & 0x0f) == 0x02;
}

IpAddress IpAddress::plus(std::uint64_t offset) const {
  IpAddress out = *this;
  for (std::size_t i = bytes().size(); i-- > 0 && offset != 0;) {
    const std::uint64_t sum = (offset & 0xff) + out.bytes_[i];
    out.bytes_[i] = static_cast<std::uint8_t>(sum & 0xff);
    offset = (offset >> 8) + (sum >> 8);
  }
  return out;
}

std::string IpAddress::to_string() const {
  constexpr unsigned kCompatibleBytes = 12;  // ::/96, which inet_ntop prints as ::1.2.3.4
  const auto group = [this](std::size_t at) { return bytes_[at] << 8 | bytes_[at + 1]; };
  const bool compatible =
      !is_v4() && group(kCompatibleBytes) != 0 &&
      std::all_of(bytes_.begin(), bytes_.begin() + kCompatibleBytes, [](auto b) { return b == 0; });
  if (compatible) return fmt::format("::{:x}:{:x}", group(12), group(14));
  char buffer[INET6_ADDRSTRLEN];
  return inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), buffer, sizeof buffer);
}

IpPrefix::IpPrefix(const IpAddress& address, unsigned length)
    : length_(static_cast<std::uint8_t>(length)) {
  check(length <= address.bits(), "a prefix is no longer than its address");
  std::array<std::uint8_t, 16> bytes{};
  const auto raw = address.bytes();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const unsigned kept = std::min(8U, length > i * 8 ? length - static_cast<unsigned>(i) * 8 : 0U);
    bytes[i] = static_cast<std::uint8_t>(raw[i] & (0xff00U >> kept));
  }
  address_ = IpAddress::from_bytes({bytes.data(), raw.size()});
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  return parse_prefix(text, Leniency::Strict);
}
Result<IpPrefix> IpPrefix::parse_sloppy(std::string_view text) {
  return parse_prefix(text, Leniency::Sloppy);
}

bool IpPrefix::contains(const IpAddress& address) const {
  return address.family() == family() && IpPrefix(address, length_).address_ == address_;
}

bool IpPrefix::contains(const IpPrefix& other) const {
  return other.length_ >= length_ && contains(other.address_);
}

IpAddress IpPrefix::last() const {
  std::array<std::uint8_t, 16> bytes{};
  const auto raw = address_.bytes();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const unsigned kept =
        std::min(8U, length_ > i * 8 ? length_ - static_cast<unsigned>(i) * 8 : 0U);
    bytes[i] = static_cast<std::uint8_t>(raw[i] | (0xffU >> kept));
  }
  return IpAddress::from_bytes({bytes.data(), raw.size()});
}

std::string IpPrefix::to_string() const { return fmt::format("{}/{}", address_, length_); }

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const auto invalid = [&] {
    return make_error(ErrorCode::Invalid, "\"{}\" is not IP:port", text);
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid();
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse_sloppy(host);
  auto port = parse_port(text.substr(colon + 1));
  if (!address || !port || bracketed == (host.find(':') == std::string_view::npos))
    return invalid();
  return SocketAddress{.address = *address, .port = *port};
}

std::string SocketAddress::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address, port)
                         : fmt::format("[{}]:{}", address, port);
}

}  // namespace fairlead
