#include "lab/network.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <string_view>

namespace fairlead::lab {
namespace {

constexpr char kBridge[] = "lan";
constexpr char kUplink[] = "eth0";

struct Sysctl {
  std::string_view path, value;
};

// /proc/sys/net shows the namespace of the thread that opens it.
Result<void> set_sysctls(const io::NetNamespace& space, std::initializer_list<Sysctl> values) {
  return space.run([&]() -> Result<void> {
    for (const Sysctl& sysctl : values) {
      const std::string path = fmt::format("/proc/sys/net/{}", sysctl.path);
      const io::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (!file || ::write(file.get(), sysctl.value.data(), sysctl.value.size()) < 0)
        return errno_error(errno, fmt::format("set {} to {}", path, sysctl.value));
    }
    return {};
  });
}

// Every namespace inherits its IPv4 defaults from the host, whatever those are.
Result<io::NetNamespace> make_space() {
  FAIRLEAD_TRY(space, io::NetNamespace::create());
  FAIRLEAD_CHECK(set_sysctls(space, {{"ipv4/conf/all/rp_filter", "0"},
                                     {"ipv4/conf/default/rp_filter", "0"},
                                     {"ipv6/conf/all/disable_ipv6", "0"},
                                     {"ipv6/conf/default/disable_ipv6", "0"},
                                     {"ipv6/conf/all/accept_dad", "0"},
                                     {"ipv6/conf/default/accept_dad", "0"},
                                     {"ipv6/conf/all/accept_ra", "0"},
                                     {"ipv6/conf/default/accept_ra", "0"}}));
  return space;
}

Result<void> add_addresses(RouteSocket& routes, const std::string& link, const DualAddress& address,
                           unsigned v4_length, unsigned v6_length) {
  FAIRLEAD_CHECK(routes.add_address(link, address.v4, v4_length));
  return routes.add_address(link, address.v6, v6_length);
}

// A namespace's uplink: eth0, joined to the router's bridge by a veth whose other end is called
// like the namespace.
Result<void> plug_in(RouteSocket& router, const std::string& name, const io::NetNamespace& space,
                     const DualAddress& address) {
  FAIRLEAD_CHECK(router.add_veth({.name = name, .peer = kUplink, .peer_namespace = &space}));
  FAIRLEAD_CHECK(router.join_bridge(name, kBridge));
  FAIRLEAD_CHECK(router.bring_up(name));
  FAIRLEAD_TRY(routes, RouteSocket::open(space));
  FAIRLEAD_CHECK(add_addresses(routes, kUplink, address, 24, 64));
  return routes.bring_up(kUplink);
}

Result<void> wire_client(const io::NetNamespace& client, const Layout& layout) {
  // Connections, not packets, are spread over the nodes: hash over ports too.
  FAIRLEAD_CHECK(set_sysctls(
      client, {{"ipv4/fib_multipath_hash_policy", "1"}, {"ipv6/fib_multipath_hash_policy", "1"}}));
  FAIRLEAD_TRY(routes, RouteSocket::open(client));
  Route v4{.destination = layout.balancers.v4};
  Route v6{.destination = layout.balancers.v6, .device = {}};
  for (const NodeLayout& node : layout.nodes) {
    v4.via.push_back(node.address.v4);
    v6.via.push_back(node.address.v6);
  }
  FAIRLEAD_CHECK(routes.add_route(v4));
  return routes.add_route(v6);
}

}  // namespace

Result<NodeNetwork> NodeNetwork::create(const NodeLayout& layout) {
  FAIRLEAD_TRY(space, make_space());
  FAIRLEAD_CHECK(set_sysctls(space, {{"ipv4/ip_forward", "1"},
                                     {"ipv6/conf/all/forwarding", "1"},
                                     {"ipv6/conf/default/forwarding", "1"},
                                     {"ipv4/conf/all/send_redirects", "0"},
                                     {"ipv4/conf/default/send_redirects", "0"}}));
  FAIRLEAD_TRY(routes, RouteSocket::open(space));
  return NodeNetwork(layout, std::move(space), std::move(routes));
}

Result<void> NodeNetwork::route_to(const DualPrefix& destination, const DualAddress& via) {
  FAIRLEAD_CHECK(routes_.add_route({.destination = destination.v4, .via = {via.v4}}));
  return routes_.add_route({.destination = destination.v6, .via = {via.v6}});
}

Result<io::NetNamespace> NodeNetwork::add_pod(const std::string& veth, const DualAddress& address) {
  FAIRLEAD_TRY(pod, make_space());
  FAIRLEAD_CHECK(routes_.add_veth({.name = veth, .peer = kUplink, .peer_namespace = &pod}));
  FAIRLEAD_TRY(inside, RouteSocket::open(pod));
  FAIRLEAD_CHECK(add_addresses(inside, kUplink, address, 32, 128));
  FAIRLEAD_CHECK(inside.bring_up(kUplink));
  FAIRLEAD_CHECK(add_addresses(routes_, veth, layout_.gateway, 32, 128));
  FAIRLEAD_CHECK(routes_.bring_up(veth));
  for (const auto& [own, gateway] :
       {std::pair(address.v4, layout_.gateway.v4), std::pair(address.v6, layout_.gateway.v6)}) {
    FAIRLEAD_CHECK(
        inside.add_route({.destination = IpPrefix::host(gateway), .via = {}, .device = kUplink}));
    FAIRLEAD_CHECK(inside.add_route({.destination = IpPrefix(IpAddress::any(own.family()), 0),
                                     .via = {gateway},
                                     .device = kUplink}));
    FAIRLEAD_CHECK(
        routes_.add_route({.destination = IpPrefix::host(own), .via = {}, .device = veth}));
  }
  return pod;
}

Result<void> NodeNetwork::remove_pod(const std::string& veth) { return routes_.delete_link(veth); }

Result<Network> Network::create(const Layout& layout) {
  FAIRLEAD_TRY(router, make_space());
  FAIRLEAD_TRY(client, make_space());
  FAIRLEAD_TRY(routes, RouteSocket::open(router));
  FAIRLEAD_CHECK(routes.add_bridge(kBridge));
  FAIRLEAD_CHECK(add_addresses(routes, kBridge, layout.router, 24, 64));
  FAIRLEAD_CHECK(routes.bring_up(kBridge));
  FAIRLEAD_CHECK(plug_in(routes, "client", client, layout.client));
  std::vector<NodeNetwork> nodes;
  for (const NodeLayout& node : layout.nodes) {
    FAIRLEAD_TRY(network, NodeNetwork::create(node));
    FAIRLEAD_CHECK(plug_in(routes, node.name, network.space(), node.address));
    nodes.push_back(std::move(network));
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const NodeLayout& node = layout.nodes[i];
    // The API server answers pods directly.
    FAIRLEAD_CHECK(routes.add_route({.destination = node.pods.v4, .via = {node.address.v4}}));
    FAIRLEAD_CHECK(routes.add_route({.destination = node.pods.v6, .via = {node.address.v6}}));
    for (std::size_t j = 0; j < nodes.size(); ++j) {
      if (i != j) FAIRLEAD_CHECK(nodes[j].route_to(node.pods, node.address));
    }
    const DualPrefix everything{.v4 = IpPrefix(IpAddress::any(IpFamily::V4), 0),
                                .v6 = IpPrefix(IpAddress::any(IpFamily::V6), 0)};
    FAIRLEAD_CHECK(nodes[i].route_to(everything, layout.router));
    // The address of a pod that is gone is refused at once instead of travelling in circles.
    for (const IpPrefix& own : {node.pods.v4, node.pods.v6})
      FAIRLEAD_CHECK(
          nodes[i].routes_.add_route({.destination = own, .via = {}, .unreachable = true}));
  }
  FAIRLEAD_CHECK(wire_client(client, layout));
  return Network(std::move(router), std::move(client), std::move(nodes));
}

}  // namespace fairlead::lab
