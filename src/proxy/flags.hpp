// kube-proxy's command line (spec/kube-proxy 1.2). Every flag kube-proxy has is known here: it
// takes effect, or is accepted with a word in the log, or is refused with one line. The words are
// split as pflag splits them (--a=b, --a b, --a= for an empty value, -v2, underscores for dashes),
// which CLI11 does not: an empty value there swallows the next word.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/config.hpp"

namespace fairlead::proxy {

struct Invocation {
  Config config;  // complete: defaults, file, flags; not yet validated
  std::string config_file;
  std::string write_config_to;
  bool cleanup = false;
  bool init_only = false;
  std::vector<std::string> notes;  // to be logged: deprecated or without effect
};

// What to do instead of running: text for stdout, exit 0.
struct Printout {
  std::string text;
};

struct ParsedCommandLine {
  std::optional<Printout> printout;  // --help, --version
  Invocation invocation;
};

// `arguments` without the program's name. Reads the file named by --config. Errors are one line.
Result<ParsedCommandLine> parse_command_line(const std::vector<std::string>& arguments);

}  // namespace fairlead::proxy
