// Is somebody there? One TCP connect, HTTP GET or command, once, with a deadline: what readiness
// probes and waiting for a program's health are made of. An error says why not. Loop thread only.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/ip.hpp"
#include "io/netns.hpp"
#include "io/process.hpp"
#include "io/task.hpp"

namespace fairlead::io {

// `from` is where the connection begins (null = our own namespace); it is used before the first
// suspension only. Each gives up after `timeout`.
Task<Result<void>> probe_tcp(const NetNamespace* from, SocketAddress to,
                             std::chrono::nanoseconds timeout);

struct HttpProbe {
  SocketAddress to;
  std::string path = "/";
  std::vector<std::pair<std::string, std::string>> headers;
};
// Succeeds on any status from 200 to 399.
Task<Result<void>> probe_http(const NetNamespace* from, HttpProbe probe,
                              std::chrono::nanoseconds timeout);

// Succeeds when the command ends with 0.
Task<Result<void>> probe_command(Command command, std::chrono::nanoseconds timeout);

}  // namespace fairlead::io
