// Addresses as values: IpFamily, IpAddress, IpPrefix, Port, Protocol, SocketAddress. No allocation,
// no I/O, ordered and hashable, network byte order inside. Text is parsed here once and never
// carried further as a string.
#pragma once

#include <fmt/format.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead {

enum class IpFamily : std::uint8_t { V4 = 4, V6 = 6 };
std::string_view to_string(IpFamily family);  // "IPv4" / "IPv6", as in spec.ipFamilies

enum class Protocol : std::uint8_t { Tcp = 6, Udp = 17, Sctp = 132 };  // the IANA numbers
std::string_view to_string(Protocol protocol);  // "TCP" as in Kubernetes objects
std::string_view to_lower(Protocol protocol);   // "tcp" as in rules
std::optional<Protocol> parse_protocol(
    std::string_view text);  // exact upper case, as the API has it

// A transport port in host byte order. 0 means "none" where a type has no better way to say so.
enum class Port : std::uint16_t {};
constexpr std::uint16_t number(Port port) { return static_cast<std::uint16_t>(port); }
Result<Port> parse_port(std::string_view text);  // 1..65535

class IpAddress {
 public:
  constexpr IpAddress() = default;  // 0.0.0.0
  static constexpr IpAddress v4(std::array<std::uint8_t, 4> bytes) {
    IpAddress a;
    for (std::size_t i = 0; i < 4; ++i) a.bytes_[i] = bytes[i];
    return a;
  }
  static constexpr IpAddress v6(std::array<std::uint8_t, 16> bytes) {
    IpAddress a;
    a.bytes_ = bytes;
    a.family_ = IpFamily::V6;
    return a;
  }
  static constexpr IpAddress any(IpFamily family) {
    IpAddress a;
    a.family_ = family;
    return a;
  }
  static constexpr IpAddress loopback(IpFamily family) {
    IpAddress a;
    a.family_ = family;
    if (family == IpFamily::V4) {
      a.bytes_[0] = 127;
      a.bytes_[3] = 1;
    } else {
      a.bytes_[15] = 1;
    }
    return a;
  }
  // bytes.size() is 4 or 16 (checked).
  static IpAddress from_bytes(std::span<const std::uint8_t> bytes);

  // Strict: no leading zeros, no IPv4-mapped IPv6, no zone (RFC 5952 input, any valid spelling).
  static Result<IpAddress> parse(std::string_view text);
  // Kubernetes' sloppy form: leading zeros in IPv4 octets are read as decimal ("010.0.0.1"
  // is 10.0.0.1) and IPv4-mapped IPv6 becomes IPv4 (spec/kube-proxy 1.6).
  static Result<IpAddress> parse_sloppy(std::string_view text);

  constexpr IpFamily family() const { return family_; }
  constexpr bool is_v4() const { return family_ == IpFamily::V4; }
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), is_v4() ? 4U : 16U}; }
  constexpr unsigned bits() const { return is_v4() ? 32U : 128U; }
  bool is_unspecified() const;
  bool is_loopback() const;
  bool is_link_local() const;            // 169.254/16, fe80::/10
  bool is_multicast() const;             // 224/4, ff00::/8
  bool is_link_local_multicast() const;  // 224.0.0/24, ff02::/16
  // The address `offset` above this one within its family; wraps silently at the end of the family.
  IpAddress plus(std::uint64_t offset) const;

  std::string to_string() const;  // canonical (RFC 5952)

  constexpr auto operator<=>(const IpAddress& other) const {
    if (auto c = family_ <=> other.family_; c != 0) return c;
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      if (auto c = bytes_[i] <=> other.bytes_[i]; c != 0) return c;
    }
    return std::strong_ordering::equal;
  }
  constexpr bool operator==(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};  // v4 in the first four; the rest stay zero
  IpFamily family_ = IpFamily::V4;
};

class IpPrefix {
 public:
  constexpr IpPrefix() = default;  // 0.0.0.0/0
  // length <= address.bits() (checked); host bits are cleared.
  IpPrefix(const IpAddress& address, unsigned length);
  static IpPrefix host(const IpAddress& address) { return {address, address.bits()}; }
  // Strict: refuses host bits and leading zeros. Sloppy: clears host bits, allows leading zeros and
  // surrounding white space.
  static Result<IpPrefix> parse(std::string_view text);
  static Result<IpPrefix> parse_sloppy(std::string_view text);

  const IpAddress& address() const { return address_; }
  unsigned length() const { return length_; }
  IpFamily family() const { return address_.family(); }
  bool contains(const IpAddress& address) const;
  bool contains(const IpPrefix& other) const;
  IpAddress last() const;  // the highest address of the prefix
  std::string to_string() const;

  auto operator<=>(const IpPrefix&) const = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

struct SocketAddress {
  IpAddress address;
  Port port{};

  // "1.2.3.4:80", "[::1]:80".
  static Result<SocketAddress> parse(std::string_view text);
  std::string to_string() const;
  auto operator<=>(const SocketAddress&) const = default;
};

}  // namespace fairlead

template <>
struct std::hash<fairlead::IpAddress> {
  std::size_t operator()(const fairlead::IpAddress& a) const noexcept {
    const auto bytes = a.bytes();
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
};
template <>
struct std::hash<fairlead::SocketAddress> {
  std::size_t operator()(const fairlead::SocketAddress& s) const noexcept {
    return std::hash<fairlead::IpAddress>{}(s.address) * 31 + fairlead::number(s.port);
  }
};

// Values with to_string() print with {}.
template <class T>
struct FairleadStringFormatter : fmt::formatter<std::string_view> {
  auto format(const T& value, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(value.to_string(), ctx);
  }
};
template <>
struct fmt::formatter<fairlead::IpAddress> : FairleadStringFormatter<fairlead::IpAddress> {};
template <>
struct fmt::formatter<fairlead::IpPrefix> : FairleadStringFormatter<fairlead::IpPrefix> {};
template <>
struct fmt::formatter<fairlead::SocketAddress> : FairleadStringFormatter<fairlead::SocketAddress> {
};
template <>
struct fmt::formatter<fairlead::Port> : fmt::formatter<std::uint16_t> {
  auto format(fairlead::Port port, fmt::format_context& ctx) const {
    return fmt::formatter<std::uint16_t>::format(fairlead::number(port), ctx);
  }
};
template <>
struct fmt::formatter<fairlead::Protocol> : fmt::formatter<std::string_view> {
  auto format(fairlead::Protocol p, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(fairlead::to_string(p), ctx);
  }
};
template <>
struct fmt::formatter<fairlead::IpFamily> : fmt::formatter<std::string_view> {
  auto format(fairlead::IpFamily f, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(fairlead::to_string(f), ctx);
  }
};
