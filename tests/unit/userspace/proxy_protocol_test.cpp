#include "proxy/modes/userspace/proxy_protocol.hpp"

#include <gtest/gtest.h>

namespace fairlead::userspace {
namespace {

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

TEST(ProxyHeader, IsVersion2sOfEachFamily) {
  EXPECT_EQ(hex(proxy_header(at("10.0.1.2:40000"), at("10.96.0.10:80"))),
            "0d0a0d0a000d0a515549540a"
            "21"
            "11"
            "000c"
            "0a000102"
            "0a60000a"
            "9c40"
            "0050");
  EXPECT_EQ(hex(proxy_header(at("[fd00::1]:1"), at("[fd00:96::a]:65535"))),
            "0d0a0d0a000d0a515549540a"
            "21"
            "21"
            "0024"
            "fd000000000000000000000000000001"
            "fd00009600000000000000000000000a"
            "0001"
            "ffff");
}

}  // namespace
}  // namespace fairlead::userspace
