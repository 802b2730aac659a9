#include "packets/rig.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <fstream>

namespace fairlead::packets {
namespace {

using namespace std::chrono_literals;

constexpr std::array kHosts = {"lan",  "node1", "node2", "outside", "internet",
                               "pod1", "pod2",  "pod3",  "pod4",    "pod5"};
constexpr unsigned kOutsideAddresses = 16;
constexpr Port kInternetPort{7};

// What scenario files call the addresses of this rig.
struct Name {
  std::string_view name;
  std::string_view v4;
  std::string_view v6;
  std::string_view of(IpFamily family) const { return family == IpFamily::V4 ? v4 : v6; }
};
constexpr std::array kNames = {
    Name{"family", "IPv4", "IPv6"},
    Name{"other_family", "IPv6", "IPv4"},
    Name{"v", "v4", "v6"},
    Name{"nft_family", "ip", "ip6"},
    // Hosts.
    Name{"node1", "192.168.50.1", "fd00:50::1"},
    Name{"node2", "192.168.50.2", "fd00:50::2"},
    Name{"outside", "192.168.50.100", "fd00:50::100"},
    Name{"internet", "192.168.50.254", "fd00:50::fe"},
    Name{"bridge1", "10.0.1.1", "fd00:10:0:1::1"},
    Name{"bridge2", "10.0.2.1", "fd00:10:0:2::1"},
    Name{"pod1", "10.0.1.2", "fd00:10:0:1::2"},
    Name{"pod2", "10.0.1.3", "fd00:10:0:1::3"},
    Name{"pod3", "10.0.1.4", "fd00:10:0:1::4"},
    Name{"pod4", "10.0.2.2", "fd00:10:0:2::2"},
    Name{"pod5", "10.0.2.3", "fd00:10:0:2::3"},
    Name{"localhost", "127.0.0.1", "::1"},
    // Ranges.
    Name{"cluster_cidr", "10.0.0.0/16", "fd00:10::/48"},
    Name{"service_cidr", "10.96.0.0/16", "fd00:96::/108"},
    Name{"pods1_range", "10.0.1.0/24", "fd00:10:0:1::/64"},
    Name{"pods2_range", "10.0.2.0/24", "fd00:10:0:2::/64"},
    Name{"external_range", "198.51.100.0/24", "fd00:198::/64"},
    Name{"lan_range", "192.168.50.0/24", "fd00:50::/64"},
    Name{"outside_block", "192.168.50.96/27", "fd00:50::100/124"},
    Name{"outside_range", "192.168.50.100/32", "fd00:50::100/128"},
    Name{"node1_range", "192.168.50.1/32", "fd00:50::1/128"},
    Name{"pod1_range", "10.0.1.2/32", "fd00:10:0:1::2/128"},
    Name{"elsewhere_range", "203.0.113.0/24", "fd00:113::/64"},
    Name{"other_elsewhere", "fd00:113::/64", "203.0.113.0/24"},
    Name{"everybody", "0.0.0.0/0", "::/0"},
    // Addresses of services; none of them is on any interface.
    Name{"vip1", "10.96.0.11", "fd00:96::11"},
    Name{"other_vip1", "fd00:96::11", "10.96.0.11"},
    Name{"vip2", "10.96.0.12", "fd00:96::12"},
    Name{"vip3", "10.96.0.13", "fd00:96::13"},
    Name{"vip4", "10.96.0.14", "fd00:96::14"},
    Name{"unallocated", "10.96.0.99", "fd00:96::99"},
    Name{"external1", "198.51.100.7", "fd00:198::7"},
    Name{"external2", "198.51.100.8", "fd00:198::8"},
    Name{"balancer1", "198.51.100.9", "fd00:198::9"},
    Name{"balancer2", "198.51.100.10", "fd00:198::10"},
};

std::string_view lookup(std::string_view name, IpFamily family) {
  // A family of one's own choice: "vip1.v6".
  if (name.ends_with(".v4") || name.ends_with(".v6")) {
    family = name.ends_with(".v4") ? IpFamily::V4 : IpFamily::V6;
    name.remove_suffix(3);
  }
  const auto* const found = std::ranges::find(kNames, name, &Name::name);
  check(found != kNames.end(), fmt::format("\"{}\" is a name of the rig", name));
  return found->of(family);
}

IpAddress address(std::string_view name, IpFamily family) {
  return *IpAddress::parse(lookup(name, family));
}

constexpr std::array kFamilies = {IpFamily::V4, IpFamily::V6};

std::string add_address(const IpPrefix& prefix, const IpAddress& address,
                        std::string_view interface) {
  return fmt::format("addr add {}/{} dev {}{}", address, prefix.length(), interface,
                     address.is_v4() ? "" : " nodad");
}

// Pods have no neighbours: everything goes by way of their node, so that replies of one pod to
// another on the same bridge meet the rules again even where the kernel does not show them bridged
// packets.
IpPrefix subnet(std::string_view host, const IpAddress& address) {
  if (host.starts_with("pod")) return IpPrefix::host(address);
  return {address, address.is_v4() ? 24U : 64U};
}

std::string add_route(std::string_view to, IpFamily family, std::string_view via) {
  return fmt::format("route add {} via {}", lookup(to, family), lookup(via, family));
}

std::vector<std::string> routes_of(std::string_view host, IpFamily family) {
  if (host == "node1") {
    return {add_route("pods2_range", family, "node2"), add_route("everybody", family, "internet")};
  }
  if (host == "node2") {
    return {add_route("pods1_range", family, "node1"), add_route("service_cidr", family, "node1"),
            add_route("external_range", family, "node1"),
            add_route("outside_block", family, "node1"),
            add_route("everybody", family, "internet")};
  }
  if (host == "internet") {
    return {add_route("pods1_range", family, "node1"), add_route("pods2_range", family, "node2")};
  }
  if (host == "outside") return {add_route("everybody", family, "node1")};
  const std::string_view gateway = host < "pod4" ? "bridge1" : "bridge2";
  return {fmt::format("route add {} dev eth0", lookup(gateway, family)),
          add_route("everybody", family, gateway)};
}

// Set in the calling thread's namespace. IPv6 may be off in ours, which new namespaces copy.
Result<void> set_sysctls(bool router) {
  struct Setting {
    std::string_view path;
    std::string_view value;
    bool may_be_missing = false;
  };
  const std::string_view forwarding = router ? "1" : "0";
  const std::array settings = {
      Setting{"ipv6/conf/all/disable_ipv6", "0"},
      Setting{"ipv6/conf/default/disable_ipv6", "0"},
      Setting{"ipv6/conf/default/accept_dad", "0"},
      Setting{"ipv6/conf/default/accept_ra", "0"},
      Setting{"ipv4/conf/all/rp_filter", "0"},
      Setting{"ipv4/conf/default/rp_filter", "0"},
      // Redirects would use up the allowance of the unreachable messages that tests wait for.
      Setting{"ipv4/conf/all/send_redirects", "0"},
      Setting{"ipv4/conf/default/send_redirects", "0"},
      Setting{"ipv4/icmp_ratelimit", "0"},
      Setting{"ipv4/icmp_msgs_per_sec", "1000000", true},  // of the whole host before Linux 6.11
      Setting{"ipv4/icmp_msgs_burst", "1000000", true},
      Setting{"ipv6/icmp/ratelimit", "0"},
      Setting{"ipv4/conf/all/forwarding", forwarding},
      Setting{"ipv6/conf/all/forwarding", forwarding},
  };
  for (const Setting& setting : settings) {
    const std::string path = fmt::format("/proc/sys/net/{}", setting.path);
    std::ofstream file(path);
    file << setting.value << std::flush;
    if (!file && !setting.may_be_missing)
      return errno_error(errno, fmt::format("set sysctl {}", setting.path));
  }
  return {};
}

}  // namespace

std::string Rig::expand(std::string_view text, IpFamily family) {
  std::string out;
  while (true) {
    const std::size_t start = text.find("${");
    out += text.substr(0, start);
    if (start == std::string_view::npos) return out;
    text.remove_prefix(start + 2);
    const std::size_t end = text.find('}');
    out += lookup(text.substr(0, end), family);
    text.remove_prefix(end + 1);
  }
}

Port Rig::fresh_port() {
  // The first thousand may be those of connections that are kept.
  constexpr std::uint16_t kAgainFrom = 11000, kFirstEphemeral = 32768;
  if (next_port_ == kFirstEphemeral) next_port_ = kAgainFrom;
  return Port{next_port_++};
}

IpAddress Rig::masquerade_address(const IpAddress& to) {
  const IpAddress bridge = address("bridge1", to.family());
  const IpPrefix pods(bridge, to.is_v4() ? 24 : 64);
  return pods.contains(to) ? bridge : address("node1", to.family());
}

std::string Rig::owner_of(const IpAddress& wanted) const {
  for (const auto& [name, host] : hosts_) {
    const auto found = host.addresses.find(wanted.family());
    if (found != host.addresses.end() &&
        std::ranges::find(found->second, wanted) != found->second.end())
      return name;
  }
  return "";
}

const Host& Rig::host(std::string_view name) const {
  const auto found = hosts_.find(name);
  check(found != hosts_.end(), fmt::format("\"{}\" is a host of the rig", name));
  return found->second;
}

Result<std::string> Rig::run(const Host& host, std::vector<std::string> argv,
                             std::string_view input) {
  const std::string what = fmt::format("{} in {}", fmt::join(argv, " "), host.name);
  io::Command command{.argv = std::move(argv), .namespaces = {host.network.fd()}};
  FAIRLEAD_TRY(output, io::run_blocking(std::move(command), input, 10s));
  if (!output.status.ok()) {
    return make_error(ErrorCode::Internal, "{}: {}: {}", what, output.status.to_string(),
                      output.err);
  }
  return output.out;
}

Result<void> Rig::bind_on_loopback(const Host& host, const IpAddress& address) {
  FAIRLEAD_CHECK(
      run(host, {"ip", "addr", "add", IpPrefix::host(address).to_string(), "dev", "lo", "nodad"}));
  return {};
}

Result<void> Rig::echo_on(const Host& host, Port port) {
  return host.network.run([&]() -> Result<void> { return echo_->listen(host.name, port); });
}

Result<void> Rig::batch(std::string_view name, const std::vector<std::string>& lines) const {
  FAIRLEAD_CHECK(
      run(host(name), {"ip", "-batch", "-"}, fmt::format("{}\n", fmt::join(lines, "\n"))));
  return {};
}

Result<std::unique_ptr<Rig>> Rig::create() {
  std::unique_ptr<Rig> rig(new Rig);
  FAIRLEAD_CHECK(rig->make_hosts());
  FAIRLEAD_CHECK(rig->wire());
  FAIRLEAD_CHECK(rig->serve());
  return rig;
}

Result<void> Rig::make_hosts() {
  for (const std::string_view name : kHosts) {
    FAIRLEAD_TRY(network, io::NetNamespace::create());
    const bool router = name.starts_with("node");
    FAIRLEAD_CHECK(network.run([&] { return set_sysctls(router); }));
    Host host{.name = std::string(name), .network = std::move(network)};
    host.seen_at = name.starts_with("pod") && name < "pod4" ? "br0" : "eth0";
    for (const IpFamily family : kFamilies) {
      if (name == "lan") continue;
      const IpAddress first = address(name, family);
      for (unsigned i = 0; i < (name == "outside" ? kOutsideAddresses : 1); ++i)
        host.addresses[family].push_back(first.plus(i));
    }
    hosts_.emplace(name, std::move(host));
  }
  return {};
}

// A cable from `port` of the namespace in which the line runs to eth0 of `host`.
std::string Rig::link_to(std::string_view port, std::string_view name) const {
  return fmt::format("link add {} type veth peer name eth0 netns /proc/{}/fd/{}", port, ::getpid(),
                     host(name).network.fd());
}

Result<void> Rig::wire() {
  const auto bridge = [&](std::string_view at, std::string_view mac,
                          std::initializer_list<std::string_view> ports) {
    std::vector<std::string> lines{
        fmt::format("link add br0 address {} type bridge mcast_snooping 0", mac)};
    for (const std::string_view port : ports) {
      lines.push_back(link_to(port, port));
      lines.push_back(fmt::format("link set {} master br0", port));
      // A pod that reaches itself through a service comes back where it came from; where the bridge
      // shows its packets to the rules it does so within the bridge.
      if (at != "lan")
        lines.push_back(fmt::format("link set {} type bridge_slave hairpin on", port));
      lines.push_back(fmt::format("link set {} up", port));
    }
    lines.emplace_back("link set br0 up");
    return batch(at, lines);
  };
  FAIRLEAD_CHECK(bridge("lan", "02:00:00:00:00:01", {"node1", "node2", "outside", "internet"}));
  FAIRLEAD_CHECK(bridge("node1", "02:00:00:00:00:02", {"pod1", "pod2", "pod3"}));
  FAIRLEAD_CHECK(bridge("node2", "02:00:00:00:00:03", {"pod4", "pod5"}));
  for (const auto& [name, host] : hosts_) {
    if (name == "lan") continue;
    std::vector<std::string> lines{"link set eth0 up"};
    for (const auto& [family, addresses] : host.addresses) {
      for (const IpAddress& one : addresses)
        lines.push_back(add_address(subnet(name, one), one, "eth0"));
      if (name.starts_with("node")) {
        const std::string bridge_name = name == "node1" ? "bridge1" : "bridge2";
        const IpAddress on_bridge = address(bridge_name, family);
        lines.push_back(add_address(subnet(name, on_bridge), on_bridge, "br0"));
      }
      for (std::string& route : routes_of(name, family)) lines.push_back(std::move(route));
    }
    FAIRLEAD_CHECK(batch(name, lines));
  }
  return {};
}

Result<void> Rig::serve() {
  FAIRLEAD_TRY(echo, EchoServers::start());
  echo_ = std::move(echo);
  const auto listen = [&](const Host& host, std::string name, std::initializer_list<Port> ports) {
    return host.network.run([&]() -> Result<void> {
      for (const Port port : ports) FAIRLEAD_CHECK(echo_->listen(name, port));
      return {};
    });
  };
  for (const auto& [name, host] : hosts_) {
    if (name.starts_with("pod")) FAIRLEAD_CHECK(listen(host, name, {Port{8080}, Port{8081}}));
  }
  const Host& internet = host("internet");
  FAIRLEAD_CHECK(listen(internet, "internet", {kInternetPort}));
  FAIRLEAD_CHECK(run(internet, {"nft", "-f", "-"},
                     fmt::format("add table inet catch\n"
                                 "add chain inet catch all_ports {{ type nat hook prerouting "
                                 "priority dstnat; }}\n"
                                 "add rule inet catch all_ports meta l4proto {{ tcp, udp }} "
                                 "redirect to :{}\n",
                                 kInternetPort)));
  return {};
}

}  // namespace fairlead::packets
