// Keeps one fairlead-proxy running as a child process, started again with a growing pause when it
// ends. run() lives until cancelled, and its child with it; the child also dies with our thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.hpp"
#include "io/netns.hpp"
#include "io/process.hpp"
#include "io/task.hpp"

namespace fairlead::controlplane {

class ProxyProcess {
 public:
  struct Config {
    std::string node;               // for messages
    std::vector<std::string> argv;  // the program and its flags
    std::string log;                // file its output is appended to; empty = our own stderr
    SocketAddress health;           // where it serves /healthz, seen from `space`
    const io::NetNamespace* space = nullptr;  // null = our own
    // How long the child may take to end by itself when run() is cancelled; 0 = killed at once.
    std::chrono::milliseconds grace{0};
  };
  explicit ProxyProcess(Config config) : config_(std::move(config)) {}

  io::Task<void> run();
  // Until /healthz says that it is well. An error when the first child ends before, or when
  // `patience` is over.
  io::Task<Result<void>> wait_until_healthy(std::chrono::nanoseconds patience) const;
  std::string state() const;  // "pid 42", "restarting after exit code 1"

 private:
  Result<io::Child> spawn() const;

  Config config_;
  std::optional<io::Child> child_;
  std::string last_end_;  // empty until one has ended
};

}  // namespace fairlead::controlplane
