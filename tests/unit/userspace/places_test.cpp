#include "proxy/modes/userspace/places.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "io/sockaddr.hpp"

namespace fairlead::userspace {
namespace {

using plan::FrontendKind;
using plan::Target;
using ::testing::IsEmpty;

plan::ServicePlan plan_with(plan::Frontend frontend, Protocol protocol = Protocol::Tcp) {
  plan::ServicePlan out;
  out.key.service_port = {.namespace_ = "ns", .name = "s", .port = {}, .protocol = protocol};
  out.frontends.push_back(std::move(frontend));
  return out;
}

std::vector<std::string> texts(const std::map<SocketAddress, Treatment>& places) {
  std::vector<std::string> out;
  for (const auto& [at, treatment] : places) {
    std::string text = at.to_string();
    if (treatment.drop_all) text += " drop";
    if (treatment.way.short_circuit) text += " short";
    if (treatment.only_local) text += " local";
    if (!treatment.admitted.empty()) text += " ranges";
    out.push_back(std::move(text));
  }
  return out;
}

struct Row {
  std::string_view name;
  plan::Frontend frontend;
  std::vector<std::string> expected;
  plan::NodePlan node{};
  Protocol protocol = Protocol::Tcp;
};

const IpAddress kAddress = *IpAddress::parse("192.0.2.7");
const IpAddress kAny = IpAddress::any(IpFamily::V4);

TEST(Places, AreWhereFrontendsWantListeners) {
  const plan::Frontend cluster{
      .address = kAddress, .port = Port{80}, .target = Target::ClusterPool};
  plan::Frontend drop = cluster;
  drop.target = Target::Drop;
  plan::Frontend reject = cluster;
  reject.target = Target::Reject;
  plan::Frontend shorted = drop;
  shorted.short_circuit = true;
  plan::Frontend ranged = cluster;
  ranged.source_ranges = {*IpPrefix::parse("10.0.0.0/8")};
  const plan::Frontend node_port{.kind = FrontendKind::NodePort,
                                 .address = kAny,
                                 .port = Port{30080},
                                 .target = Target::LocalPool};
  plan::NodePlan two_addresses;
  two_addresses.node_port_addresses = {kAddress, *IpAddress::parse("192.0.2.8")};
  plan::NodePlan by_interface;
  by_interface.detector.interface_prefix = "veth";
  const std::vector<Row> rows = {
      {"cluster IP", cluster, {"192.0.2.7:80"}},
      {"UDP", cluster, {"192.0.2.7:80"}, {}, Protocol::Udp},
      {"SCTP", cluster, {}, {}, Protocol::Sctp},
      {"reject: the kernel refuses by itself", reject, {}},
      {"drop", drop, {"192.0.2.7:80 drop"}},
      {"drop but for local clients", shorted, {"192.0.2.7:80 short local"}},
      {"the same, known by interfaces", shorted, {"192.0.2.7:80 short"}, by_interface},
      {"source ranges", ranged, {"192.0.2.7:80 ranges"}},
      {"node port everywhere", node_port, {"0.0.0.0:30080"}},
      {"node port here and there",
       node_port,
       {"192.0.2.7:30080", "192.0.2.8:30080"},
       two_addresses},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(texts(places_of(plan_with(row.frontend, row.protocol), row.node)), row.expected)
        << row.name;
  }
}

// A datagram over loopback to a socket with the filter; who gets through is the kernel's verdict.
bool passes(const Filter& filter, IpFamily family, const std::string& source) {
  const auto bound = [](const SocketAddress& at) {
    const io::KernelAddress address = io::to_kernel(at);
    io::UniqueFd out(socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    check(bind(out.get(), address.get(), address.size) == 0, "loopback can be bound");
    return out;
  };
  const io::UniqueFd receiver = bound({.address = IpAddress::loopback(family), .port = Port{0}});
  attach_filter(receiver.get(), filter);
  const io::UniqueFd sender = bound({.address = *IpAddress::parse(source), .port = Port{0}});
  const io::KernelAddress to =
      io::to_kernel({.address = IpAddress::loopback(family), .port = *port_of(receiver)});
  check(connect(sender.get(), to.get(), to.size) == 0, "loopback is reached");
  send(sender.get(), "x", 1, 0);
  // On loopback it is there, or gone, when send() has returned.
  char byte = 0;
  return recv(receiver.get(), &byte, 1, MSG_DONTWAIT) == 1;
}

Filter filter_for(const std::vector<std::string>& ranges, IpFamily family,
                  const std::optional<OnlyLocal>& only_local = {}) {
  Treatment treatment{.only_local = only_local};
  for (const std::string& range : ranges) treatment.admitted.push_back(*IpPrefix::parse(range));
  auto out = filter_of(treatment, family);
  EXPECT_TRUE(out);
  return *out;
}

TEST(PlaceFilter, IsNoneWhereAllAreWelcome) {
  EXPECT_THAT(*filter_of({}, IpFamily::V4), IsEmpty());
}

TEST(PlaceFilter, LetsOnlyTheRangesThrough) {
  const IpFamily v4 = IpFamily::V4;
  EXPECT_TRUE(passes({}, v4, "127.0.0.9"));
  EXPECT_TRUE(passes(filter_for({"127.0.0.9/32"}, v4), v4, "127.0.0.9"));
  EXPECT_FALSE(passes(filter_for({"127.0.0.9/32"}, v4), v4, "127.0.0.10"));
  EXPECT_TRUE(passes(filter_for({"10.0.0.0/8", "127.4.0.0/14"}, v4), v4, "127.7.255.255"));
  EXPECT_FALSE(passes(filter_for({"10.0.0.0/8", "127.4.0.0/14"}, v4), v4, "127.8.0.0"));
  EXPECT_TRUE(passes(filter_for({"0.0.0.0/0"}, v4), v4, "127.0.0.1"));
  EXPECT_FALSE(passes(filter_for({"fd00::/8"}, v4), v4, "127.0.0.1")) << "of the other family";
  const IpFamily v6 = IpFamily::V6;
  EXPECT_TRUE(passes(filter_for({"::1/128"}, v6), v6, "::1"));
  EXPECT_TRUE(passes(filter_for({"fd00::/8", "::/64"}, v6), v6, "::1"));
  EXPECT_TRUE(passes(filter_for({"::/70"}, v6), v6, "::1"));
  EXPECT_FALSE(passes(filter_for({"::2/128"}, v6), v6, "::1"));
  EXPECT_FALSE(passes(filter_for({"fd00::/8"}, v6), v6, "::1"));
}

TEST(PlaceFilter, DropsAllOrKnowsThisNode) {
  const IpFamily v4 = IpFamily::V4;
  EXPECT_FALSE(passes(*filter_of({.drop_all = true}, v4), v4, "127.0.0.1"));
  EXPECT_TRUE(passes(filter_for({}, v4, OnlyLocal{}), v4, "127.0.0.1")) << "it came by lo";
  EXPECT_FALSE(passes(filter_for({"10.0.0.0/8"}, v4, OnlyLocal{}), v4, "127.0.0.1"))
      << "both have to hold";
}

TEST(PlaceFilter, HasALimit) {
  Treatment treatment;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    treatment.admitted.push_back(IpPrefix::host(IpAddress::v4({10, 0, 0, 0}).plus(i)));
  }
  const auto filter = filter_of(treatment, IpFamily::V4);
  ASSERT_FALSE(filter);
  EXPECT_EQ(filter.error().code, ErrorCode::Exhausted);
}

}  // namespace
}  // namespace fairlead::userspace
