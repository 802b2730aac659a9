// fairlead: everything on one machine, and virtual clusters to try things in.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/version.hpp"
#include "cli/command.hpp"

namespace fairlead::cli {

Result<std::string> program_folder() {
  std::error_code ec;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ec);
  if (ec) return errno_error(ec.value(), "find the folder of this program");
  return program.parent_path().string();
}

}  // namespace fairlead::cli

int main(int argc, char** argv) {
  CLI::App app("The Service network of Kubernetes: API server, controllers and node proxy.");
  app.set_version_flag("--version", fmt::format("fairlead {}", fairlead::kVersion));
  app.require_subcommand(1);
  fairlead::cli::Command chosen;
  fairlead::cli::add_up_command(app, chosen);
  fairlead::cli::add_lab_commands(app, chosen);
  fairlead::cli::add_traffic_commands(app, chosen);
  fairlead::cli::add_inspect_commands(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::RequiredError& wrong) {
    // A word nobody knows is a better hint than the one that is missing for it.
    const auto unknown = app.remaining(true);
    fmt::print(stderr, "fairlead: {} (see fairlead --help)\n",
               unknown.empty() ? wrong.what() : fmt::format("unknown: \"{}\"", unknown.front()));
    return 2;
  } catch (const CLI::ParseError& wrong) {
    fmt::print(stderr, "fairlead: {} (see fairlead --help)\n", wrong.what());
    return 2;
  }
  const auto done = chosen();
  if (done) return *done;
  fmt::print(stderr, "fairlead: {}\n", done.error());
  return 1;
}
