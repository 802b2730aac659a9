#include "base/ip.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <unordered_set>

#include "support/result.hpp"

namespace fairlead {
namespace {

// The canonical text, or "error: ..." - so that a row is compared as one whole value.
template <class T>
std::string outcome(const Result<T>& result) {
  return result ? result->to_string() : "error: " + result.error().message;
}

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
IpPrefix prefix(std::string_view text) { return IpPrefix::parse(text).value(); }

constexpr std::string_view kRefused = "refused";

struct AddressCase {
  std::string_view name;
  std::string_view text;
  std::string_view strict;  // canonical text, or kRefused
  std::string_view sloppy;
};

std::string expected_of(const AddressCase& row, std::string_view canonical) {
  return canonical == kRefused
             ? one_line(fmt::format("error: \"{}\" is not an IP address", row.text))
             : std::string(canonical);
}

TEST(IpAddress, TextIsReadStrictlyOrAsKubernetesDoesAndPrintedCanonically) {
  using namespace std::string_view_literals;
  const AddressCase rows[] = {
      {"v4", "10.0.0.1", "10.0.0.1", "10.0.0.1"},
      {"v4 lowest", "0.0.0.0", "0.0.0.0", "0.0.0.0"},
      {"v4 highest", "255.255.255.255", "255.255.255.255", "255.255.255.255"},
      {"v4 leading zeros are decimal", "010.000.0.01", kRefused, "10.0.0.1"},
      {"v4 octet above 255", "10.0.0.256", kRefused, kRefused},
      {"v4 three octets", "10.0.0", kRefused, kRefused},
      {"v4 five octets", "10.0.0.1.2", kRefused, kRefused},
      {"v4 empty octet", "10..0.1", kRefused, kRefused},
      {"v4 trailing dot", "10.0.0.1.", kRefused, kRefused},
      {"v4 sign", "10.0.0.+1", kRefused, kRefused},
      {"v4 hexadecimal", "0x0a.0.0.1", kRefused, kRefused},
      {"v4 as one number", "167772161", kRefused, kRefused},
      {"v4 blank before", " 10.0.0.1", kRefused, kRefused},
      {"v4 blank after", "10.0.0.1 ", kRefused, kRefused},
      {"v4 with NUL", "10.0.0.1\0"sv, kRefused, kRefused},
      {"v6 unspecified", "::", "::", "::"},
      {"v6 loopback", "0:0:0:0:0:0:0:1", "::1", "::1"},
      {"v6 upper case", "FD00:ABCD::F", "fd00:abcd::f", "fd00:abcd::f"},
      {"v6 leading zeros of a group", "fd00:0001::0001", "fd00:1::1", "fd00:1::1"},
      {"v6 the longest run of zeros", "1:0:0:2:0:0:0:3", "1:0:0:2::3", "1:0:0:2::3"},
      {"v6 the first of equal runs", "1:0:0:2:3:0:0:4", "1::2:3:0:0:4", "1::2:3:0:0:4"},
      {"v6 one zero group is no run", "1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"},
      {"v6 with a v4 tail", "64:ff9b::192.0.2.1", "64:ff9b::c000:201", "64:ff9b::c000:201"},
      {"v6 low 32 bits stay hexadecimal", "::102:304", "::102:304", "::102:304"},
      {"v4-compatible is v6", "::1.2.3.4", "::102:304", "::102:304"},
      {"v4-mapped becomes v4", "::ffff:10.0.0.1", kRefused, "10.0.0.1"},
      {"v4-mapped in hexadecimal", "::FFFF:a00:1", kRefused, "10.0.0.1"},
      {"v4-mapped with leading zeros", "::ffff:010.0.0.1", kRefused, "10.0.0.1"},
      {"v6 zone", "fe80::1%eth0", kRefused, kRefused},
      {"v6 brackets", "[::1]", kRefused, kRefused},
      {"v6 group of five digits", "fd00::12345", kRefused, kRefused},
      {"v6 nine groups", "1:2:3:4:5:6:7:8:9", kRefused, kRefused},
      {"v6 seven groups", "1:2:3:4:5:6:7", kRefused, kRefused},
      {"v6 two gaps", "1::2::3", kRefused, kRefused},
      {"v6 with text behind a NUL", "::1\0x"sv, kRefused, kRefused},
      {"v6 bad v4 tail", "::ffff:10.0.0.256", kRefused, kRefused},
      {"empty", "", kRefused, kRefused},
      {"name", "localhost", kRefused, kRefused},
      {"prefix", "10.0.0.0/8", kRefused, kRefused},
  };
  for (const AddressCase& row : rows) {
    EXPECT_EQ(outcome(IpAddress::parse(row.text)), expected_of(row, row.strict)) << row.name;
    EXPECT_EQ(outcome(IpAddress::parse_sloppy(row.text)), expected_of(row, row.sloppy)) << row.name;
  }
}

TEST(IpAddress, CanonicalTextReadsBackAsTheSameValue) {
  for (const std::string_view text :
       {"0.0.0.0", "10.1.2.3", "::", "::1", "::102:304", "fd00::1", "1:2:3:4:5:6:7:8"}) {
    EXPECT_THAT(IpAddress::parse(ip(text).to_string()), Holds(ip(text))) << text;
  }
}

TEST(IpAddress, OrderIsFamilyThenBytes) {
  std::vector<IpAddress> addresses{ip("fd00::1"), ip("10.0.0.10"), ip("::"), ip("9.255.0.0"),
                                   ip("10.0.0.9")};
  std::ranges::sort(addresses);
  EXPECT_EQ(addresses, (std::vector{ip("9.255.0.0"), ip("10.0.0.9"), ip("10.0.0.10"), ip("::"),
                                    ip("fd00::1")}));
}

TEST(IpAddress, HashFollowsEquality) {
  const std::unordered_set<IpAddress> set{ip("10.0.0.1"), IpAddress::v4({10, 0, 0, 1}),
                                          IpAddress::parse_sloppy("::ffff:10.0.0.1").value(),
                                          ip("::"), ip("0.0.0.0")};
  EXPECT_EQ(set, (std::unordered_set<IpAddress>{ip("10.0.0.1"), ip("::"), ip("0.0.0.0")}));
  EXPECT_NE(std::hash<IpAddress>{}(ip("::")), std::hash<IpAddress>{}(ip("0.0.0.0")));
}

struct Traits {
  bool unspecified = false, loopback = false, link_local = false, multicast = false,
       link_local_multicast = false;
  bool operator==(const Traits&) const = default;
};

TEST(IpAddress, KnowsTheSpecialRangesToTheirEdges) {
  const struct {
    std::string_view address;
    Traits traits;
  } rows[] = {
      {"0.0.0.0", {.unspecified = true}},
      {"0.0.0.1", {}},
      {"126.255.255.255", {}},
      {"127.0.0.0", {.loopback = true}},
      {"127.255.255.255", {.loopback = true}},
      {"128.0.0.0", {}},
      {"169.253.255.255", {}},
      {"169.254.0.0", {.link_local = true}},
      {"169.255.0.0", {}},
      {"223.255.255.255", {}},
      {"224.0.0.255", {.multicast = true, .link_local_multicast = true}},
      {"224.0.1.0", {.multicast = true}},
      {"239.255.255.255", {.multicast = true}},
      {"240.0.0.0", {}},
      {"::", {.unspecified = true}},
      {"::1", {.loopback = true}},
      {"::2", {}},
      {"fe7f::1", {}},
      {"fe80::", {.link_local = true}},
      {"febf:ffff::", {.link_local = true}},
      {"fec0::", {}},
      {"feff::", {}},
      {"ff02::1", {.multicast = true, .link_local_multicast = true}},
      {"ff12::1", {.multicast = true, .link_local_multicast = true}},
      {"ff05::1", {.multicast = true}},
  };
  for (const auto& row : rows) {
    const IpAddress a = ip(row.address);
    EXPECT_EQ((Traits{a.is_unspecified(), a.is_loopback(), a.is_link_local(), a.is_multicast(),
                      a.is_link_local_multicast()}),
              row.traits)
        << row.address;
  }
}

TEST(IpAddress, PlusCarriesAndWrapsWithinItsFamily) {
  EXPECT_EQ(ip("10.0.0.255").plus(1), ip("10.0.1.0"));
  EXPECT_EQ(ip("10.0.0.0").plus(0x010203), ip("10.1.2.3"));
  EXPECT_EQ(ip("255.255.255.255").plus(2), ip("0.0.0.1"));
  EXPECT_EQ(ip("fd00::ffff:ffff:ffff:ffff").plus(1), ip("fd00:0:0:1::"));
  EXPECT_EQ(ip("fd00::").plus(~0ULL), ip("fd00::ffff:ffff:ffff:ffff"));
  EXPECT_EQ(ip("fd00::ff").plus(~0ULL), ip("fd00:0:0:1::fe"));
}

struct PrefixCase {
  std::string_view name, text, strict, sloppy;  // canonical text, or "(why)"
};

std::string expected_of(const PrefixCase& row, std::string_view canonical) {
  return canonical.starts_with('(')
             ? one_line(fmt::format("error: \"{}\" is not a CIDR {}", row.text, canonical))
             : std::string(canonical);
}

TEST(IpPrefix, TextIsReadStrictlyOrAsKubernetesDoes) {
  const PrefixCase rows[] = {
      {"v4", "10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"},
      {"everything", "0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"},
      {"one address", "10.0.0.1/32", "10.0.0.1/32", "10.0.0.1/32"},
      {"v6", "FD00::/8", "fd00::/8", "fd00::/8"},
      {"v6 one address", "::1/128", "::1/128", "::1/128"},
      {"host bits", "10.1.2.3/9", "(host bits are set)", "10.0.0.0/9"},
      {"v6 host bits", "fd00::1/65", "(host bits are set)", "fd00::/65"},
      {"leading zeros", "010.0.0.0/8", "(bad address)", "10.0.0.0/8"},
      {"blanks around", " 10.0.0.0/8\t", "(bad address)", "10.0.0.0/8"},
      {"blank within", "10.0.0.0 /8", "(bad address)", "(bad address)"},
      {"no length", "10.0.0.0", "(no /length)", "(no /length)"},
      {"empty length", "10.0.0.0/", "(bad length)", "(bad length)"},
      {"length above 32", "10.0.0.0/33", "(bad length)", "(bad length)"},
      {"length above 128", "fd00::/129", "(bad length)", "(bad length)"},
      {"length with zeros", "10.0.0.0/08", "(bad length)", "(bad length)"},
      {"negative length", "10.0.0.0/-1", "(bad length)", "(bad length)"},
      {"netmask", "10.0.0.0/255.0.0.0", "(bad length)", "(bad length)"},
      {"v4-mapped counts its 96 bits", "::ffff:10.0.0.0/104", "(bad address)", "10.0.0.0/8"},
      {"v4-mapped with a v4 length", "::ffff:10.0.0.0/8", "(bad address)", "(bad length)"},
      {"zone", "fe80::%eth0/64", "(bad address)", "(bad address)"},
      {"empty", "", "(no /length)", "(no /length)"},
  };
  for (const PrefixCase& row : rows) {
    EXPECT_EQ(outcome(IpPrefix::parse(row.text)), expected_of(row, row.strict)) << row.name;
    EXPECT_EQ(outcome(IpPrefix::parse_sloppy(row.text)), expected_of(row, row.sloppy)) << row.name;
  }
}

TEST(IpPrefix, ContainsAddressesFromTheFirstToTheLast) {
  const struct {
    std::string_view prefix, before, first, last, after;
  } rows[] = {
      {"10.1.0.0/16", "10.0.255.255", "10.1.0.0", "10.1.255.255", "10.2.0.0"},
      {"10.1.2.4/30", "10.1.2.3", "10.1.2.4", "10.1.2.7", "10.1.2.8"},
      {"10.1.2.3/32", "10.1.2.2", "10.1.2.3", "10.1.2.3", "10.1.2.4"},
      {"128.0.0.0/1", "127.255.255.255", "128.0.0.0", "255.255.255.255", "::8000:0"},
      {"fd00::/63", "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
       "fd00::", "fd00:0:0:1:ffff:ffff:ffff:ffff", "fd00:0:0:2::"},
      {"::/0", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255"},
  };
  for (const auto& row : rows) {
    const IpPrefix p = prefix(row.prefix);
    EXPECT_FALSE(p.contains(ip(row.before))) << row.prefix;
    EXPECT_TRUE(p.contains(ip(row.first))) << row.prefix;
    EXPECT_TRUE(p.contains(ip(row.last))) << row.prefix;
    EXPECT_FALSE(p.contains(ip(row.after))) << row.prefix;
    EXPECT_EQ(p.address(), ip(row.first)) << row.prefix;
    EXPECT_EQ(p.last(), ip(row.last)) << row.prefix;
  }
}

TEST(IpPrefix, ContainsPrefixesThatAreNotWider) {
  const IpPrefix p = prefix("10.1.0.0/16");
  EXPECT_TRUE(p.contains(p));
  EXPECT_TRUE(p.contains(prefix("10.1.255.0/24")));
  EXPECT_FALSE(p.contains(prefix("10.0.0.0/15")));
  EXPECT_FALSE(p.contains(prefix("10.2.0.0/24")));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(prefix("::/0")));
}

TEST(IpPrefixDeathTest, LengthBeyondTheAddressIsABrokenInvariant) {
  EXPECT_DEATH(IpPrefix(IpAddress::any(IpFamily::V4), 33), "no longer than its address");
}

TEST(Port, IsADecimalFromOneTo65535) {
  const struct {
    std::string_view text;
    std::optional<unsigned> port;
  } rows[] = {{"1", 1},
              {"80", 80},
              {"65535", 65535},
              {"0", std::nullopt},
              {"65536", std::nullopt},
              {"", std::nullopt},
              {"-1", std::nullopt},
              {"+1", std::nullopt},
              {" 80", std::nullopt},
              {"80 ", std::nullopt},
              {"0x50", std::nullopt},
              {"http", std::nullopt},
              {"4294967376", std::nullopt}};
  for (const auto& row : rows) {
    const auto port = parse_port(row.text);
    EXPECT_EQ(port.has_value(), row.port.has_value()) << row.text;
    if (port && row.port) EXPECT_EQ(number(*port), *row.port) << row.text;
    if (!port) {
      EXPECT_EQ(port.error(),
                make_error(ErrorCode::Invalid, "\"{}\" is not a port (1-65535)", row.text));
    }
  }
}

TEST(Protocol, IsReadInUpperCaseOnlyAndPrintedInBoth) {
  for (const Protocol p : {Protocol::Tcp, Protocol::Udp, Protocol::Sctp}) {
    EXPECT_EQ(parse_protocol(to_string(p)), p);
  }
  EXPECT_EQ(fmt::format("{} {} {}", Protocol::Tcp, Protocol::Udp, Protocol::Sctp), "TCP UDP SCTP");
  EXPECT_EQ(to_lower(Protocol::Sctp), "sctp");
  for (const std::string_view text : {"tcp", "Tcp", "", "TCP ", "ICMP"}) {
    EXPECT_EQ(parse_protocol(text), std::nullopt) << text;
  }
}

TEST(SocketAddress, TextIsAddressColonPort) {
  const struct {
    std::string_view text, canonical;
  } rows[] = {
      {"1.2.3.4:80", "1.2.3.4:80"},
      {"[fd00::1]:443", "[fd00::1]:443"},
      {"[::ffff:1.2.3.4]:80", "1.2.3.4:80"},
      {"fd00::1:443", ""},  // which colon is the port's?
      {"[1.2.3.4]:80", ""},
      {"1.2.3.4", ""},
      {"1.2.3.4:", ""},
      {"1.2.3.4:0", ""},
      {"1.2.3.4:65536", ""},
      {":80", ""},
      {"[]:80", ""},
      {"[::1]80", ""},
      {"localhost:80", ""},
      {"", ""},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(outcome(SocketAddress::parse(row.text)),
              row.canonical.empty() ? fmt::format("error: \"{}\" is not IP:port", row.text)
                                    : std::string(row.canonical));
  }
}

TEST(SocketAddress, OrderIsAddressThenPort) {
  const auto at = [](std::string_view text) { return SocketAddress::parse(text).value(); };
  EXPECT_LT(at("1.2.3.4:443"), at("1.2.3.5:80"));
  EXPECT_LT(at("1.2.3.4:80"), at("1.2.3.4:443"));
  EXPECT_EQ(std::unordered_set<SocketAddress>({at("1.2.3.4:80"), at("[::ffff:1.2.3.4]:80")}).size(),
            1U);
}

}  // namespace
}  // namespace fairlead
