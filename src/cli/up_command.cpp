// `fairlead up`: API server, controllers and node proxy of this one machine, until Ctrl-C.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <memory>

#include "base/log.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/apiserver_flags.hpp"
#include "cli/command.hpp"
#include "controlplane/single_node.hpp"
#include "io/sockaddr.hpp"
#include "io/socket.hpp"
#include "proxy/node_context.hpp"

namespace fairlead::cli {
namespace {

constexpr char kFooter[] =
    "Needs the right to program nftables (root, or CAP_NET_ADMIN) unless --no-proxy is given. "
    "Flags after -- go to\n"
    "fairlead-proxy, for example: fairlead up -- --cluster-cidr=10.244.0.0/16\n"
    "Ctrl-C ends everything and removes the proxy's rules; Services stay in the data directory.";

struct UpFlags {
  ApiServerFlags server;
  std::string node_name;
  std::string node_ip;
  bool no_proxy = false;
  std::vector<std::string> load_balancer_pools;
  std::vector<std::string> proxy_flags;
};

// The address the kernel would use towards the world; nothing is sent. Nothing without a route.
std::optional<IpAddress> outward_address(const SocketAddress& world) {
  const auto to = io::to_kernel(world);
  const io::UniqueFd socket(
      ::socket(world.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), to.get(), to.size) != 0) return std::nullopt;
  const auto mine = io::local_address(socket);
  return mine ? std::optional(mine->address) : std::nullopt;
}

// Documentation addresses (RFC 5737, RFC 3849) stand for the world.
std::vector<IpAddress> find_node_addresses() {
  std::vector<IpAddress> out;
  constexpr Port kDiscard{9};
  for (const char* world : {"192.0.2.1", "2001:db8::1"}) {
    const auto parsed = IpAddress::parse(world);
    check(parsed.has_value(), "a literal address");
    if (const auto mine = outward_address({.address = *parsed, .port = kDiscard}))
      out.push_back(*mine);
  }
  if (out.empty()) out.push_back(IpAddress::loopback(IpFamily::V4));
  return out;
}

Result<std::vector<IpAddress>> node_addresses(const std::string& flag) {
  if (flag.empty()) return find_node_addresses();
  std::vector<IpAddress> out;
  for (const std::string_view part : split(flag, ',')) {
    auto address = IpAddress::parse(trim(part));
    if (!address) return address.error().with_context("--node-ip");
    out.push_back(*address);
  }
  return out;
}

Result<controlplane::NodeFacts> node_facts(const UpFlags& flags) {
  controlplane::NodeFacts out{.name = flags.node_name,
                              .addresses = {},
                              .pod_cidrs = {},
                              .labels = {},
                              .version = std::string(kKubernetesVersion)};
  if (out.name.empty()) {
    FAIRLEAD_TRY(host, proxy::host_name());
    out.name = to_lower_ascii(trim(host));
  }
  if (!is_dns1123_subdomain(out.name)) {
    return make_error(ErrorCode::Invalid, "--node-name: \"{}\" is not a DNS name in lower case",
                      out.name);
  }
  FAIRLEAD_TRY(addresses, node_addresses(flags.node_ip));
  out.addresses = std::move(addresses);
  return out;
}

Result<controlplane::SingleNodeConfig> make_config(const UpFlags& flags) {
  controlplane::SingleNodeConfig out;
  FAIRLEAD_TRY(node, node_facts(flags));
  out.node = std::move(node);
  FAIRLEAD_TRY(server, server_config(flags.server));
  out.server = std::move(server);
  // Service default/kubernetes leads to this node unless the flags say otherwise, or there is no
  // way to it from a pod.
  if (!out.server.advertise && !out.node.addresses.front().is_loopback()) {
    const auto bound = io::local_address(out.server.listeners.front().socket);
    if (!bound) return bound.error();
    out.server.advertise = {.address = out.node.addresses.front(), .port = bound->port};
  }
  for (const IpAddress& address : out.node.addresses) out.server.names.addresses.push_back(address);
  auto pools = controllers::parse_address_ranges(flags.load_balancer_pools);
  if (!pools) return pools.error().with_context("--load-balancer-pool");
  out.load_balancer.pools = *std::move(pools);
  out.kubeconfig = kubeconfig_path(flags.server);
  out.proxy_kubeconfig = flags.server.data_dir + "/proxy.kubeconfig";
  out.proxy_flags = flags.proxy_flags;
  if (flags.no_proxy) return out;
  FAIRLEAD_TRY(folder, program_folder());
  out.proxy = folder + "/fairlead-proxy";
  return out;
}

void say_ready(const controlplane::SingleNode& node, const UpFlags& flags) {
  const std::string kubeconfig = kubeconfig_path(flags.server);
  fmt::print(
      "Fairlead is up.\n"
      "  API server   {}, data in {}\n"
      "  controllers  {}\n"
      "  node proxy   {}\n"
      "Use it:\n"
      "  export KUBECONFIG={}\n"
      "  kubectl get nodes,services,endpointslices\n"
      "Ctrl-C ends it.\n",
      node.url(), flags.server.data_dir,
      flags.load_balancer_pools.empty() ? "EndpointSlices" : "EndpointSlices, load balancers",
      flags.no_proxy ? "none (--no-proxy)" : "programs this machine's kernel", kubeconfig);
  std::fflush(stdout);
}

Result<int> up(const UpFlags& flags) {
  configure_log(flags.server);
  FAIRLEAD_TRY(config, make_config(flags));
  io::asio::io_context loop(1);
  FAIRLEAD_TRY(node, controlplane::SingleNode::create(loop.get_executor(), std::move(config)));
  io::asio::signal_set signals(loop, SIGINT, SIGTERM, SIGHUP);
  signals.async_wait([&node](const boost::system::error_code& ec, int) {
    if (!ec) node->stop();
  });
  Result<void> outcome;
  io::asio::co_spawn(loop, node->run([&node, &flags] { say_ready(*node, flags); }),
                     [&](const std::exception_ptr& thrown, Result<void> result) {
                       check(!thrown, "our code does not throw");
                       outcome = std::move(result);
                       signals.cancel();
                     });
  loop.run();
  FAIRLEAD_CHECK(outcome);
  return 0;
}

}  // namespace

void add_up_command(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<UpFlags>();
  CLI::App* command =
      app.add_subcommand("up", "run API server, controllers and node proxy on this machine");
  describe(*command, flags->server);
  command->add_option("--node-name", flags->node_name,
                      "name of this machine's Node (default: the host name)");
  command->add_option("--node-ip", flags->node_ip,
                      "address of this machine's Node, or one of each family separated by a comma "
                      "(default: the one used towards the world)");
  command
      ->add_option("--load-balancer-pool", flags->load_balancer_pools,
                   "addresses for Services of type LoadBalancer: CIDRs or ranges FIRST-LAST, "
                   "separated by commas (default: none)")
      ->delimiter(',');
  command->add_flag("--no-proxy", flags->no_proxy, "leave the kernel alone: no node proxy");
  command->add_option("proxy-flags", flags->proxy_flags, "flags of fairlead-proxy, after --");
  command->footer(kFooter);
  command->callback([command, flags, &chosen] {
    flags->server.http = command->count("--http-port") > 0;
    chosen = [flags] { return up(*flags); };
  });
}

}  // namespace fairlead::cli
