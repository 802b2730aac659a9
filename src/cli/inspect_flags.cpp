#include "cli/inspect_flags.hpp"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>

#include "client/kubeconfig.hpp"
#include "inspect/cluster.hpp"
#include "inspect/manifests.hpp"
#include "proxy/flags.hpp"

namespace fairlead::cli {
namespace {

struct ProxyFlag {
  const char* name;
  const char* help;
};
constexpr std::array kProxyFlags = {
    ProxyFlag{"config", "fairlead-proxy's (kube-proxy's) configuration file"},
    ProxyFlag{"cluster-cidr", "as fairlead-proxy's"},
    ProxyFlag{"detect-local-mode", "as fairlead-proxy's"},
    ProxyFlag{"pod-bridge-interface", "as fairlead-proxy's"},
    ProxyFlag{"pod-interface-name-prefix", "as fairlead-proxy's"},
    ProxyFlag{"nodeport-addresses", "as fairlead-proxy's"},
    ProxyFlag{"bind-address", "as fairlead-proxy's"},
    ProxyFlag{"iptables-masquerade-bit", "as fairlead-proxy's"},
};

Result<inspect::Snapshot> read_objects(const InspectFlags& flags, const proxy::Config& config) {
  if (!flags.files.empty()) {
    inspect::ManifestReader reader;
    for (const std::string& path : flags.files) FAIRLEAD_CHECK(reader.add_path(path));
    return reader.take();
  }
  const auto surroundings = client::Surroundings::of_process();
  FAIRLEAD_TRY(
      access, client::access_for_user(
                  flags.kubeconfig.empty() ? config.client_connection.kubeconfig : flags.kubeconfig,
                  surroundings));
  return inspect::read_cluster_blocking(std::move(access));
}

Result<std::vector<IpAddress>> parse_addresses(const std::vector<std::string>& texts) {
  std::vector<IpAddress> out;
  for (const std::string& text : texts) {
    const auto address = IpAddress::parse(text);
    if (!address)
      return make_error(ErrorCode::Invalid, "--node-address: \"{}\" is not an IP address", text);
    out.push_back(*address);
  }
  return out;
}

}  // namespace

void describe(CLI::App& app, InspectFlags& flags) {
  auto* files =
      app.add_option("-f,--filename", flags.files,
                     "manifests: a file, a folder with all below it, or - (may be repeated)")
          ->allow_extra_args(false);
  app.add_option("--kubeconfig", flags.kubeconfig,
                 "the live cluster to read instead (default: as kubectl finds it)")
      ->excludes(files);
  app.add_option("--node", flags.node,
                 "name of the node (default: the only Node of the manifests, or this host)");
  app.add_option("--node-address", flags.node_addresses,
                 "an address the node has beside those of its Node object (may be repeated)")
      ->allow_extra_args(false);
  app.add_option("--mode,--proxy-mode", flags.mode, "fairlead-proxy's mode (default: nftables)");
  for (const ProxyFlag& flag : kProxyFlags) {
    app.add_option_function<std::string>(
        fmt::format("--{}", flag.name),
        [&flags, name = flag.name](const std::string& value) {
          flags.proxy_words.push_back(fmt::format("--{}={}", name, value));
        },
        flag.help);
  }
  app.add_flag("--masquerade-all{true}", flags.masquerade_all, "as fairlead-proxy's");
  app.add_flag("--iptables-localhost-nodeports{true}", flags.localhost_node_ports,
               "as fairlead-proxy's");
}

Result<proxy::Config> proxy_config(const InspectFlags& flags) {
  std::vector<std::string> words = flags.proxy_words;
  if (!flags.masquerade_all.empty()) words.push_back("--masquerade-all=" + flags.masquerade_all);
  if (!flags.localhost_node_ports.empty())
    words.push_back("--iptables-localhost-nodeports=" + flags.localhost_node_ports);
  FAIRLEAD_TRY(parsed, proxy::parse_command_line(words));
  for (const std::string& note : parsed.invocation.notes)
    fmt::print(stderr, "fairlead: note: {}\n", note);
  proxy::Config config = std::move(parsed.invocation.config);
  // Ours, so they hold on top of a file.
  if (!flags.mode.empty()) config.mode = flags.mode;
  if (!flags.node.empty()) config.hostname_override = flags.node;
  const auto findings = proxy::validate(config);
  if (!findings.empty()) return make_error(ErrorCode::Invalid, "{}", fmt::join(findings, "; "));
  if (config.mode == "auto") {
    return make_error(ErrorCode::Invalid,
                      "mode auto is decided where fairlead-proxy starts, and its log says which it "
                      "is; name that one with --mode");
  }
  FAIRLEAD_TRY(mode, proxy::effective_mode(config));
  config.mode = mode;
  return config;
}

Result<std::unique_ptr<inspect::NodeView>> node_view(const InspectFlags& flags,
                                                     const proxy::Config& config, Machine machine) {
  FAIRLEAD_TRY(snapshot, read_objects(flags, config));
  FAIRLEAD_TRY(addresses, parse_addresses(flags.node_addresses));
  FAIRLEAD_TRY(host, proxy::host_name());
  FAIRLEAD_TRY(this_host, proxy::node_name({}, host));
  std::string wanted;
  if (!config.hostname_override.empty()) {
    FAIRLEAD_TRY(name, proxy::node_name(config, host));
    wanted = std::move(name);
  }
  inspect::NodeQuestion question{
      .config = config,
      .host = {.node_name = inspect::choose_node(snapshot, wanted, this_host),
               .families = {IpFamily::V4, IpFamily::V6},
               .interface_addresses = std::move(addresses)}};
  // Manifests are a world of their own: what they mean does not depend on who asks.
  question.is_this_machine =
      machine == Machine::This || (flags.files.empty() && question.host.node_name == this_host);
  if (question.is_this_machine) {
    FAIRLEAD_TRY(interfaces, proxy::interface_addresses());
    std::ranges::copy(interfaces, std::back_inserter(question.host.interface_addresses));
    question.host.families = proxy::supported_families();
  }
  return inspect::NodeView::create(std::move(snapshot), std::move(question));
}

}  // namespace fairlead::cli
