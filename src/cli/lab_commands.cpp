// `fairlead lab ...`: virtual clusters of network namespaces.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/log.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/command.hpp"
#include "lab/launch.hpp"

namespace fairlead::cli {
namespace {

constexpr char kPlaces[] =
    "A PLACE is a pod (NAME or NAMESPACE/NAME), node/NAME, or client (outside the cluster).";

struct LabFlags {
  std::string state;  // folder
  unsigned nodes = 2;
  std::uint16_t api_port = 0;
  bool no_proxy = false;
  int verbosity = 0;
  std::string place;
  std::string container;
  std::vector<std::string> argv;
};

lab::StatePaths paths_of(const LabFlags& flags) {
  return {.folder = lab::choose_state_folder(flags.state)};
}

Result<lab::LabConfig> make_config(const LabFlags& flags, lab::StatePaths paths) {
  FAIRLEAD_TRY(folder, program_folder());
  log::configure({.verbosity = flags.verbosity});
  return lab::LabConfig{.paths = std::move(paths),
                        .nodes = flags.nodes,
                        .api_port = Port{flags.api_port},
                        .proxy = flags.no_proxy ? "" : folder + "/fairlead-proxy",
                        .program_directory = folder,
                        .version = std::string(kKubernetesVersion),
                        .verbosity = flags.verbosity};
}

int exit_code(const io::ExitStatus& status) {
  constexpr int kSignalled = 128;  // as shells do
  return status.code ? *status.code : kSignalled + status.signal.value_or(0);
}

Result<int> lab_up(const LabFlags& flags) {
  const auto begin = std::chrono::steady_clock::now();
  FAIRLEAD_TRY(config, make_config(flags, paths_of(flags)));
  FAIRLEAD_CHECK(lab::launch(config, lab::Lifetime::Detached));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print(
      "The lab is up: {} {} and an outside client, in {:.2f} s.\n"
      "  export KUBECONFIG={}\n"
      "  kubectl get nodes\n"
      "  fairlead lab exec client -- COMMAND     (or a pod's name, or node/node1)\n"
      "  fairlead lab status\n"
      "  fairlead lab down\n",
      config.nodes, config.nodes == 1 ? "node" : "nodes", took.count(), config.paths.kubeconfig());
  return 0;
}

Result<int> lab_down(const LabFlags& flags) {
  FAIRLEAD_CHECK(lab::shut_down(paths_of(flags)));
  return 0;
}

Result<int> lab_status(const LabFlags& flags) {
  FAIRLEAD_TRY(text, lab::status(paths_of(flags)));
  fmt::print("{}", text);
  return 0;
}

Result<int> lab_exec(const LabFlags& flags) {
  FAIRLEAD_TRY(status, lab::run_inside(paths_of(flags), flags.place, flags.argv));
  return exit_code(status);
}

Result<int> lab_logs(const LabFlags& flags) {
  FAIRLEAD_TRY(text, lab::read_logs(paths_of(flags), flags.place, flags.container));
  fmt::print("{}", text);
  return 0;
}

// The command finds the lab through its environment, as `fairlead lab` and kubectl do.
Result<int> run_with(const lab::LabConfig& config, const std::vector<std::string>& argv) {
  std::error_code ec;
  const char* path = std::getenv("PATH");
  io::Command command{.argv = argv};
  command.env = {
      {"KUBECONFIG", config.paths.kubeconfig()},
      {"FAIRLEAD_LAB", config.paths.folder},
      {"PATH", fmt::format("{}:{}", config.program_directory, path == nullptr ? "" : path)}};
  command.working_directory = std::filesystem::current_path(ec).string();
  FAIRLEAD_TRY(status, lab::run_in_foreground(std::move(command)));
  return exit_code(status);
}

Result<int> lab_run(const LabFlags& flags) {
  lab::StatePaths paths{.folder = flags.state};
  if (flags.state.empty()) {
    FAIRLEAD_TRY(folder, lab::make_temporary_state_folder());
    paths.folder = std::move(folder);
  }
  FAIRLEAD_TRY(config, make_config(flags, paths));
  FAIRLEAD_CHECK(lab::launch(config, lab::Lifetime::Caller));
  auto code = run_with(config, flags.argv);
  if (const auto ended = lab::shut_down(paths); !ended) {
    lab::remove_state(paths);  // whoever ended it did not
    if (code) return ended.error();
  }
  lab::reap_children();
  return code;
}

using Action = Result<int> (*)(const LabFlags&);

class LabCommands {
 public:
  LabCommands(CLI::App& lab, Command& chosen) : lab_(lab), chosen_(chosen) {}

  CLI::App* add(const char* name, const char* what, Action action) {
    CLI::App* command = lab_.add_subcommand(name, what);
    command->add_option("--state", flags_->state,
                        "folder by which commands find the lab (default: $FAIRLEAD_LAB, else one "
                        "in /run or $XDG_RUNTIME_DIR)");
    command->callback([flags = flags_, action, chosen = &chosen_] {
      *chosen = [flags, action] { return action(*flags); };
    });
    return command;
  }
  void add_shape(CLI::App* command) {
    command->add_option("--nodes", flags_->nodes, "number of nodes")
        ->check(CLI::Range(1U, lab::kMaxNodes))
        ->capture_default_str();
    command->add_option("--api-port", flags_->api_port,
                        "port of the API server on 127.0.0.1; 0 lets the kernel choose");
    command->add_flag("--no-proxy", flags_->no_proxy, "run no fairlead-proxy on the nodes");
    command->add_option("-v,--v", flags_->verbosity, "log verbosity of lab and proxies");
  }
  void add_place(CLI::App* command, const char* name) {
    command->add_option(name, flags_->place, kPlaces)->required();
  }
  void add_argv(CLI::App* command) {
    command->add_option("command", flags_->argv, "COMMAND and its arguments, after --")->required();
  }
  LabFlags* flags() { return flags_.get(); }

 private:
  CLI::App& lab_;
  Command& chosen_;
  std::shared_ptr<LabFlags> flags_ = std::make_shared<LabFlags>();
};

}  // namespace

void add_lab_commands(CLI::App& app, Command& chosen) {
  CLI::App* lab = app.add_subcommand(
      "lab", "a virtual cluster: nodes, pods and an outside client as network namespaces");
  lab->require_subcommand(1);
  LabCommands commands(*lab, chosen);
  commands.add_shape(commands.add("up", "start a lab, in the background", lab_up));
  commands.add("down", "end it; nothing is left behind", lab_down);
  commands.add("status", "addresses, nodes and pods", lab_status);
  CLI::App* exec = commands.add("exec", "run a command in a place of the lab", lab_exec);
  commands.add_place(exec, "place");
  commands.add_argv(exec);
  CLI::App* logs = commands.add("logs", "what a pod's container wrote", lab_logs);
  commands.add_place(logs, "pod");
  logs->add_option("-c,--container", commands.flags()->container,
                   "which container (default: the only one)");
  CLI::App* run = commands.add("run", "start a lab, run a command beside it, end it", lab_run);
  commands.add_shape(run);
  commands.add_argv(run);
}

}  // namespace fairlead::cli
