// `fairlead explain`, `fairlead render` and `fairlead verify`: what a node does with a packet, the
// rules it programs for that, and whether the kernel has them.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/command.hpp"
#include "cli/inspect_flags.hpp"
#include "inspect/answer.hpp"
#include "inspect/rules.hpp"
#include "proxy/node_proxy.hpp"

namespace fairlead::cli {
namespace {

constexpr std::size_t kShownDifferences = 100;
// What verify's exit code says.
constexpr int kDiffers = 1;
constexpr int kCouldNot = 2;

struct ExplainFlags {
  InspectFlags cluster;
  inspect::Words words;
  std::string output = "text";
};

Result<int> explain(const ExplainFlags& flags) {
  FAIRLEAD_TRY(question, inspect::parse_question(flags.words));
  FAIRLEAD_TRY(config, proxy_config(flags.cluster));
  FAIRLEAD_TRY(view, node_view(flags.cluster, config, Machine::Any));
  const inspect::Answer answer = inspect::answer(*view, question);
  fmt::print("{}", flags.output == "json" ? to_json(answer) + "\n" : to_text(answer));
  return 0;
}

struct RenderFlags {
  InspectFlags cluster;
  std::string family;
};

Result<int> render(const RenderFlags& flags) {
  FAIRLEAD_TRY(config, proxy_config(flags.cluster));
  FAIRLEAD_TRY(view, node_view(flags.cluster, config, Machine::Any));
  inspect::RuleOptions options{.localhost_node_ports = config.iptables.localhost_node_ports,
                               .drop_invalid = !config.conntrack.tcp_be_liberal,
                               .ipvs_scheduler = config.ipvs.scheduler};
  if (flags.family != "ipv6") options.families.push_back(IpFamily::V4);
  if (flags.family != "ipv4") options.families.push_back(IpFamily::V6);
  FAIRLEAD_TRY(rules, inspect::render_rules(*view, options));
  for (const std::string& warning : view->warnings())
    fmt::print(stderr, "fairlead: note: {}\n", warning);
  if (std::fwrite(rules.data(), 1, rules.size(), stdout) != rules.size() ||
      std::fflush(stdout) != 0) {
    return errno_error(errno, "write the rules");
  }
  return 0;
}

Result<std::vector<std::string>> differences(const InspectFlags& flags,
                                             const proxy::Config& config) {
  if (config.mode == "userspace") {
    return make_error(
        ErrorCode::Unsupported,
        "--mode: \"{}\" can only be compared by the proxy that programmed it; all other "
        "modes by anybody",
        config.mode);
  }
  FAIRLEAD_TRY(mode, proxy::make_mode(config, proxy::Purpose::Verify));
  FAIRLEAD_TRY(view, node_view(flags, config, Machine::This));
  FAIRLEAD_TRY(found, mode->verify(view->plan(), kShownDifferences));
  // A cluster may have changed between its being read and the kernel's.
  if (!found.empty() && flags.files.empty()) {
    FAIRLEAD_TRY(again, node_view(flags, config, Machine::This));
    return mode->verify(again->plan(), kShownDifferences);
  }
  return found;
}

Result<int> verify(const InspectFlags& flags) {
  const auto config = proxy_config(flags);
  const auto found = config ? differences(flags, *config) : config.error();
  if (!found) {
    fmt::print(stderr, "fairlead: cannot verify: {}\n", found.error());
    return kCouldNot;
  }
  for (const std::string& difference : *found) fmt::print("{}\n", difference);
  if (found->size() >= kShownDifferences) fmt::print("... (there may be more)\n");
  if (found->empty()) fmt::print("The kernel holds the plan (mode {}).\n", config->mode);
  return found->empty() ? 0 : kDiffers;
}

void add_explain(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<ExplainFlags>();
  CLI::App* command = app.add_subcommand(
      "explain", "say where a node sends a packet, and why, without sending one");
  command->add_option("protocol", flags->words.protocol, "tcp, udp or sctp")->required();
  command->add_option("destination", flags->words.destination, "ADDRESS:PORT, or [IPV6]:PORT")
      ->required();
  command->add_option("--from", flags->words.source,
                      "the client's address (default: the node itself)");
  command->add_option("--interface", flags->words.input_interface,
                      "the interface it comes in through, where pods are told by that");
  describe(*command, flags->cluster);
  command->add_option("-o,--output", flags->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->callback([flags, &chosen] { chosen = [flags] { return explain(*flags); }; });
}

void add_render(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<RenderFlags>();
  CLI::App* command = app.add_subcommand(
      "render",
      "print the rules a node programs: input for nft -f, for iptables-restore, or for ipset, "
      "ipvsadm and their like");
  describe(*command, flags->cluster);
  command->add_option("--family", flags->family, "only ipv4 or ipv6 (default: both)")
      ->check(CLI::IsMember({"ipv4", "ipv6"}));
  command->callback([flags, &chosen] { chosen = [flags] { return render(*flags); }; });
}

void add_verify(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "compare this machine's kernel with the rules it should have, and list differences");
  describe(*command, *flags);
  command->footer("Exit code: 0 the same, 1 differences, 2 could not compare.");
  command->callback([flags, &chosen] { chosen = [flags] { return verify(*flags); }; });
}

}  // namespace

void add_inspect_commands(CLI::App& app, Command& chosen) {
  add_explain(app, chosen);
  add_render(app, chosen);
  add_verify(app, chosen);
}

}  // namespace fairlead::cli
