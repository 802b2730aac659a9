// `fairlead echo` and `fairlead probe`: a server that says who answered and a client that counts.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/clock.hpp"
#include "cli/command.hpp"
#include "lab/echo.hpp"
#include "lab/probe_client.hpp"

namespace fairlead::cli {
namespace {

struct EchoFlags {
  std::string name;
  std::vector<std::uint16_t> tcp, udp;
  std::string linger = "0s";
};

struct ProbeFlags {
  std::string target, protocol = "tcp", output = "table";
  unsigned count = 1;
  std::string duration, interval = "0s", timeout = "2s";
  std::string stop_file;
};

Result<std::chrono::nanoseconds> duration_flag(const char* flag, const std::string& text) {
  auto parsed = parse_duration(text);
  if (!parsed) return parsed.error().with_context(flag);
  return parsed;
}

Result<int> echo(const EchoFlags& flags) {
  lab::EchoConfig config{.name = flags.name, .tcp = {}, .udp = {}};
  for (const std::uint16_t port : flags.tcp) config.tcp.push_back(Port{port});
  for (const std::uint16_t port : flags.udp) config.udp.push_back(Port{port});
  if (config.tcp.empty() && config.udp.empty())
    return make_error(ErrorCode::Invalid, "echo: give --tcp or --udp a port");
  FAIRLEAD_TRY(linger, duration_flag("--linger", flags.linger));
  config.linger = linger;
  FAIRLEAD_CHECK(lab::run_echo(config));
  return 0;
}

Result<lab::ProbeConfig> probe_config(const ProbeFlags& flags) {
  lab::ProbeConfig out;
  auto target = SocketAddress::parse(flags.target);
  if (!target) return target.error().with_context("TARGET");
  out.target = *target;
  out.protocol = flags.protocol == "udp" ? Protocol::Udp : Protocol::Tcp;
  out.count = flags.count;
  out.stop_file = flags.stop_file;
  if (!flags.duration.empty()) {
    FAIRLEAD_TRY(duration, duration_flag("--duration", flags.duration));
    out.duration = duration;
  }
  FAIRLEAD_TRY(interval, duration_flag("--interval", flags.interval));
  FAIRLEAD_TRY(timeout, duration_flag("--timeout", flags.timeout));
  out.interval = interval;
  out.timeout = timeout;
  return out;
}

// 0 only if every attempt was answered.
Result<int> probe(const ProbeFlags& flags) {
  FAIRLEAD_TRY(config, probe_config(flags));
  const lab::ProbeReport report = lab::run_probe(config);
  fmt::print("{}", flags.output == "json" ? to_json(report) : to_table(report));
  return report.failures.empty() ? 0 : 1;
}

}  // namespace

void add_traffic_commands(CLI::App& app, Command& chosen) {
  const auto server = std::make_shared<EchoFlags>();
  CLI::App* echo_command =
      app.add_subcommand("echo", "a server that answers with its name and the caller's address");
  echo_command->add_option("--name", server->name, "what it calls itself")
      ->envname("HOSTNAME")
      ->required();
  echo_command->add_option("--tcp", server->tcp, "TCP ports (also understands HTTP)");
  echo_command->add_option("--udp", server->udp, "UDP ports");
  echo_command->add_option("--linger", server->linger, "how long it goes on serving after SIGTERM")
      ->capture_default_str();
  echo_command->callback([server, &chosen] { chosen = [server] { return echo(*server); }; });

  const auto client = std::make_shared<ProbeFlags>();
  CLI::App* probe_command = app.add_subcommand(
      "probe", "connect to an echo server again and again, and count who answered");
  probe_command->add_option("target", client->target, "ADDRESS:PORT, or [IPV6]:PORT")->required();
  probe_command->add_option("--protocol", client->protocol, "tcp or udp")
      ->check(CLI::IsMember({"tcp", "udp"}))
      ->capture_default_str();
  probe_command->add_option("--count", client->count, "connections to make")->capture_default_str();
  probe_command->add_option("--duration", client->duration, "as many as fit, instead of --count");
  probe_command->add_option("--until-file", client->stop_file,
                            "until this file exists, instead of --count");
  probe_command->add_option("--interval", client->interval, "from start to start")
      ->capture_default_str();
  probe_command->add_option("--timeout", client->timeout, "of one connection")
      ->capture_default_str();
  probe_command->add_option("-o,--output", client->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  probe_command->callback([client, &chosen] { chosen = [client] { return probe(*client); }; });
}

}  // namespace fairlead::cli
