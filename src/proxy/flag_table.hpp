// Every flag of the command line as a row: what it is called, what it sets, what it says. Internal
// to proxy/; how words become flags is flags.cpp's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/flags.hpp"

namespace fairlead::proxy {

// Everything flags can say.
struct Parsed {
  Invocation invocation;
  bool help = false;
  std::string version;  // "", "true", "raw", "vX.Y.Z"
};

enum class Source : std::uint8_t {
  FileWins,  // ignored when there is a --config
  AlwaysOn,  // honoured on top of the file
};

struct Flag {
  std::string_view name;
  // An error names the value; the flag's name is the caller's to add.
  std::function<Result<void>(Parsed&, const std::string&)> set;
  std::string_view help;  // empty = not in --help
  bool boolean = false;   // may stand without a value
  Source source = Source::FileWins;
  std::string_view note;  // logged when given: why it has no (full) effect
};

std::vector<Flag> all_flags();

}  // namespace fairlead::proxy
