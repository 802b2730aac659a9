// `fairlead up`: API server, controllers and node proxy of this one machine, until Ctrl-C.
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
#include "cli/host_addresses.hpp"
#include "controlplane/single_node.hpp"
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

Result<std::vector<IpAddress>> node_addresses(const std::string& flag) {
  std::vector<IpAddress> out;
  if (flag.empty()) {
    out = host_addresses();
    if (out.empty()) out.push_back(IpAddress::loopback(IpFamily::V4));
    return out;
  }
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
  FAIRLEAD_TRY(server, server_config(flags.server, out.node.addresses));
  out.server = std::move(server);
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
