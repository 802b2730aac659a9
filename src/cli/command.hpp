// A sub-command of `fairlead`: described to CLI11, then run. What it returns is the exit code.
#pragma once

#include <functional>
#include <string>

#include "base/error.hpp"

namespace CLI {
class App;
}

namespace fairlead::cli {

using Command = std::function<Result<int>()>;

// Each adds its sub-commands to `app`; the one that was asked for puts itself into `chosen` while
// the command line is parsed. Both must outlive parsing and running.
void add_up_command(CLI::App& app, Command& chosen);
void add_lab_commands(CLI::App& app, Command& chosen);
void add_traffic_commands(CLI::App& app, Command& chosen);
void add_inspect_commands(CLI::App& app, Command& chosen);

// The folder this program lies in: the other programs are its neighbours.
Result<std::string> program_folder();

}  // namespace fairlead::cli
