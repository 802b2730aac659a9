#include "lab/layout.hpp"

namespace fairlead::lab {
namespace {

constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  return IpAddress::v4({a, b, c, d});
}

// The first four groups of an address in fd00::/8, or any other.
constexpr IpAddress v6(std::uint16_t a, std::uint16_t b, std::uint16_t c, std::uint16_t d) {
  const auto high = [](std::uint16_t group) { return static_cast<std::uint8_t>(group >> 8U); };
  const auto low = [](std::uint16_t group) { return static_cast<std::uint8_t>(group & 0xffU); };
  return IpAddress::v6({high(a), low(a), high(b), low(b), high(c), low(c), high(d), low(d)});
}

DualAddress plus(const DualPrefix& prefix, std::uint64_t v4_offset, std::uint64_t v6_offset) {
  return {.v4 = prefix.v4.address().plus(v4_offset), .v6 = prefix.v6.address().plus(v6_offset)};
}

}  // namespace

Result<Layout> lay_out(unsigned nodes) {
  if (nodes < 1 || nodes > kMaxNodes)
    return make_error(ErrorCode::Invalid, "{} nodes: between 1 and {} are possible", nodes,
                      kMaxNodes);
  Layout out;
  out.lan = {.v4 = {v4(192, 168, 50, 0), 24}, .v6 = {v6(0xfd00, 0x50, 0, 0), 64}};
  out.all_pods = {.v4 = {v4(10, 244, 0, 0), 16}, .v6 = {v6(0xfd00, 0x10, 0x244, 0), 48}};
  out.services = {.v4 = {v4(10, 96, 0, 0), 16}, .v6 = {v6(0xfd00, 0x10, 0x96, 0), 112}};
  out.balancers = {.v4 = {v4(203, 0, 113, 0), 24}, .v6 = {v6(0x2001, 0xdb8, 0x113, 0), 112}};
  out.router = plus(out.lan, 1, 1);
  out.client = plus(out.lan, 100, 0x100);
  for (unsigned i = 1; i <= nodes; ++i) {
    // The v6 address reads like the v4 address' last byte: node 1 is .11 and ::11.
    const unsigned last = 10 + i;
    const auto index = static_cast<std::uint16_t>(i);
    NodeLayout node{.name = fmt::format("node{}", i),
                    .address = plus(out.lan, last, (last / 10) * 16 + last % 10),
                    .pods = {.v4 = {v4(10, 244, static_cast<std::uint8_t>(i), 0), 24},
                             .v6 = {v6(0xfd00, 0x10, 0x244, index), 64}}};
    node.gateway = plus(node.pods, 1, 1);
    out.nodes.push_back(std::move(node));
  }
  return out;
}

}  // namespace fairlead::lab
