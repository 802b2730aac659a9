// What the node's own rules and addresses have to do with Services: loopback, default policies of
// the packet filter, ping.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "io/sockaddr.hpp"
#include "packets/cluster.hpp"
#include "packets/probe.hpp"
#include "packets/rig_fixture.hpp"

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kPatience = 5s;
constexpr auto kSilence = 200ms;
constexpr Port kDaemon{7777};
constexpr Port kHealth{30999};

constexpr std::string_view kConfig = R"({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration", "clusterCIDR": "10.0.0.0/16",
    "nodePortAddresses": ["0.0.0.0/0", "::/0"], "iptables": {"localhostNodePorts": $LOCALHOST}})";

constexpr std::string_view kService = R"({"kind": "Service", "metadata": {"name": "web"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"],
             "ipFamilies": ["IPv4"], "externalTrafficPolicy": "$POLICY",
             "healthCheckNodePort": 30999, "ports": [{"name": "http", "port": 80,
             "nodePort": 30080}]}})";
constexpr std::string_view kService6 = R"({"kind": "Service", "metadata": {"name": "web6"},
    "spec": {"type": "NodePort", "clusterIP": "fd00:96::11", "clusterIPs": ["fd00:96::11"],
             "ipFamilies": ["IPv6"], "ports": [{"name": "http", "port": 80,
             "nodePort": 30080}]}})";

std::string with(std::string_view text, std::string_view name, std::string_view value) {
  std::string out(text);
  return out.replace(out.find(name), name.size(), value);
}

std::string slice(const std::string& service, const std::string& family,
                  const std::string& address) {
  return fmt::format(
      R"({{"kind": "EndpointSlice", "addressType": "{1}", "metadata": {{"name": "{0}-1",
          "labels": {{"kubernetes.io/service-name": "{0}"}}}},
          "ports": [{{"name": "http", "port": 8080}}],
          "endpoints": [{{"addresses": ["{2}"], "nodeName": "node1"}}]}})",
      service, family, address);
}

class NodeTest : public RigTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void start(bool localhost = true, std::string_view policy = "Cluster") {
    auto cluster = Cluster::create(
        rig(),
        {.mode = GetParam(), .config = with(kConfig, "$LOCALHOST", localhost ? "true" : "false")});
    ASSERT_TRUE(cluster) << cluster.error().message;
    cluster_ = *std::move(cluster);
    for (const std::string& object :
         {with(kService, "$POLICY", policy), std::string(kService6),
          slice("web", "IPv4", "10.0.1.3"), slice("web6", "IPv6", "fd00:10:0:1::3")}) {
      ASSERT_TRUE(cluster_->apply(object));
    }
    const auto synced = cluster_->sync();
    ASSERT_TRUE(synced) << synced.error().message;
  }

  bool is_iptables() const { return GetParam().starts_with("iptables"); }
  std::string tool() const { return GetParam(); }  // "iptables-nft", "iptables-legacy"

  std::string connect(const std::string& from, std::string_view to, Port port,
                      std::chrono::milliseconds patience = kPatience) {
    const Send send{.from = from, .to = {.address = *IpAddress::parse(to), .port = port}};
    return send_all(rig(), {send}, patience).front().to_string();
  }
  std::string in(const std::string& host, std::vector<std::string> argv) {
    const auto out = Rig::run(rig().host(host), std::move(argv));
    EXPECT_TRUE(out) << out.error().message;
    return out.value_or("");
  }
  // As fairlead-proxy does where localhost node ports are asked for (proxy/host_setup.hpp).
  void route_localnet(const std::string& host) {
    const auto set = rig().host(host).network.run([]() -> Result<void> {
      std::ofstream("/proc/sys/net/ipv4/conf/all/route_localnet") << 1;
      return {};
    });
    ASSERT_TRUE(set);
  }

 private:
  std::unique_ptr<Cluster> cluster_;
};
class IptablesNodeTest : public NodeTest {};

std::string mode_name(const ::testing::TestParamInfo<std::string>& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(, NodeTest,
                         ::testing::Values("nftables", "iptables-nft", "iptables-legacy"),
                         mode_name);
INSTANTIATE_TEST_SUITE_P(, IptablesNodeTest, ::testing::Values("iptables-nft", "iptables-legacy"),
                         mode_name);

TEST_P(NodeTest, NodePortsAnswerOnLocalhostInModeIptablesAndIpv4Alone) {
  route_localnet("node1");
  start();
  EXPECT_THAT(connect("node1", "127.0.0.1", Port{30080}),
              StartsWith(is_iptables() ? "answered by pod2:8080" : "refused"));
  EXPECT_EQ(connect("node1", "::1", Port{30080}), "refused");
  EXPECT_THAT(connect("node1", "192.168.50.1", Port{30080}), StartsWith("answered by pod2:8080"));
}

TEST_P(NodeTest, NodePortsOnLocalhostCanBeSwitchedOff) {
  route_localnet("node1");
  start(false);
  EXPECT_EQ(connect("node1", "127.0.0.1", Port{30080}), "refused");
  EXPECT_THAT(connect("node1", "10.0.1.1", Port{30080}), StartsWith("answered by pod2:8080"));
}

// The sysctl lets packets for 127.0.0.0/8 in from the network; whatever listens there must not
// meet them.
TEST_P(IptablesNodeTest, NobodyReachesTheNodesLoopbackFromOutside) {
  ASSERT_TRUE(rig().echo_on(rig().node(), kDaemon));
  route_localnet("node1");
  route_localnet("outside");
  in("outside", {"ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"});
  in("outside", {"ip", "route", "add", "127.0.0.5/32", "via", "192.168.50.1"});
  ASSERT_THAT(connect("outside", "127.0.0.5", kDaemon), StartsWith("answered by node1"))
      << "without our rules it can be reached";
  start();
  EXPECT_EQ(connect("outside", "127.0.0.5", kDaemon, kSilence), "no answer");
  EXPECT_THAT(connect("node1", "127.0.0.5", kDaemon), StartsWith("answered by node1"));
}

// A chain with policy drop is the last word in nftables, whoever else accepts: there the owner of
// such a policy opens the port.
TEST_P(NodeTest, HealthChecksPassADroppingInputPolicyInModeIptables) {
  ASSERT_TRUE(rig().echo_on(rig().node(), kHealth));
  ASSERT_TRUE(rig().echo_on(rig().node(), kDaemon));
  start(true, "Local");
  const std::string filter = is_iptables() ? tool() : "iptables-nft";
  in("node1", {filter, "-P", "INPUT", "DROP"});
  if (is_iptables()) {
    EXPECT_THAT(connect("outside", "192.168.50.1", kHealth), StartsWith("answered by node1"));
  } else {
    EXPECT_EQ(connect("outside", "192.168.50.1", kHealth, kSilence), "no answer");
  }
  EXPECT_EQ(connect("outside", "192.168.50.1", kDaemon, kSilence), "no answer");
}

TEST_P(NodeTest, MasqueradedTrafficPassesADroppingForwardPolicyInModeIptables) {
  start();
  const std::string filter = is_iptables() ? tool() : "iptables-nft";
  in("node1", {filter, "-P", "FORWARD", "DROP"});
  if (is_iptables()) {
    EXPECT_THAT(connect("outside", "192.168.50.1", Port{30080}),
                StartsWith("answered by pod2:8080"));
  } else {
    EXPECT_EQ(connect("outside", "192.168.50.1", Port{30080}, kSilence), "no answer");
  }
}

// ---- ping ---------------------------------------------------------------------------------------

std::uint16_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8U | bytes[i + 1]);
  }
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

// The type of the ICMP message that an echo request is answered with; nothing: none.
Result<std::optional<int>> ping(const IpAddress& to, std::chrono::milliseconds patience) {
  const io::UniqueFd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
  if (!socket) return errno_error(errno, "open a raw socket");
  std::array<std::uint8_t, 8> request = {ICMP_ECHO, 0, 0, 0, 0x12, 0x34, 0, 1};
  const std::uint16_t sum = checksum(request);
  request[2] = static_cast<std::uint8_t>(sum >> 8U);
  request[3] = static_cast<std::uint8_t>(sum & 0xffU);
  const io::KernelAddress address = io::to_kernel({.address = to, .port = Port{}});
  if (::sendto(socket.get(), request.data(), request.size(), 0, address.get(), address.size) < 0) {
    return errno_error(errno, "send an echo request");
  }
  pollfd waiting{.fd = socket.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, static_cast<int>(patience.count())) == 0) return std::nullopt;
  std::array<std::uint8_t, 1500> answer{};
  const auto size = ::read(socket.get(), answer.data(), answer.size());
  const std::size_t header = static_cast<std::size_t>(answer[0] & 0x0fU) * 4;
  if (size < 0 || static_cast<std::size_t>(size) <= header) return errno_error(errno, "read");
  return std::optional<int>(answer[header]);
}

TEST_P(NodeTest, PingOfAClusterIpIsAnsweredWithUnreachable) {
  start();
  const auto type = [&](std::string_view to) -> Result<std::optional<int>> {
    Result<std::optional<int>> out = std::nullopt;
    FAIRLEAD_CHECK(rig().host("pod1").network.run([&]() -> Result<void> {
      out = ping(*IpAddress::parse(to), kPatience);
      return {};
    }));
    return out;
  };
  const auto node = type("192.168.50.1");
  ASSERT_TRUE(node) << node.error().message;
  EXPECT_EQ(*node, ICMP_ECHOREPLY);
  const auto service = type("10.96.0.11");
  ASSERT_TRUE(service) << service.error().message;
  EXPECT_EQ(*service, ICMP_DEST_UNREACH);
}

}  // namespace
}  // namespace fairlead::packets
