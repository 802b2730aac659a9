// Programs under test whose output goes to a file, to be shown when a test fails.
#pragma once

#include <fcntl.h>

#include <optional>
#include <string>
#include <utility>

#include "io/process.hpp"

namespace fairlead::test {

// Appends what it says to `log`; nothing when it cannot be started.
inline std::optional<io::Child> spawn_logging(io::Command command, const std::string& log) {
  const io::UniqueFd file(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  command.stdout_fd = file.get();
  command.stderr_fd = file.get();
  auto child = io::Child::spawn(command);
  return child ? std::optional(*std::move(child)) : std::nullopt;
}

}  // namespace fairlead::test
