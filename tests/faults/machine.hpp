// A machine of the test's own: an empty network namespace, which the test's thread lives in for as
// long as the Machine does, and a temporary folder. Programs started meanwhile live there too, so
// ports can be fixed and the host's rules are never touched. Owner: one test. Thread rule: the
// test's thread, with no other thread of the test opening sockets.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/netns.hpp"
#include "io/process.hpp"

namespace fairlead::faults {

class Machine {
 public:
  // Forbidden when this process may not make network namespaces.
  static Result<std::unique_ptr<Machine>> create();
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
  std::string write(std::string_view name, std::string_view content) const;  // its path
  std::string kubeconfig() const { return path("kubeconfig"); }

 private:
  Machine(io::NetNamespace home, io::NetNamespace own)
      : home_(std::move(home)), own_(std::move(own)) {}

  io::NetNamespace home_, own_;
  std::string folder_;
};

// Runs a command to its end, within ten seconds.
io::Output run(std::vector<std::string> argv, std::string_view input = {});
// "nft ..."; must succeed; what it printed.
std::string nft(const std::string& command);
// The kernel's whole ruleset without what packets change, for comparison.
std::string ruleset();

// A program under test, whose stderr is read line by line.
class Program {
 public:
  explicit Program(std::vector<std::string> argv);
  Program(Program&&) = default;
  Program& operator=(Program&&) = default;

  // Waits for a line that contains `text`, behind the one found last; false when patience or the
  // program has ended.
  bool says(std::string_view text, std::chrono::milliseconds patience = std::chrono::seconds{20});
  // Waits until `holds`, asking again with each line that the program writes.
  bool until(const std::function<bool()>& holds);
  void signal(int number);
  // Its end, at most `patience` away.
  std::optional<io::ExitStatus> end(std::chrono::milliseconds patience);

  const std::string& log() const { return log_; }
  bool running() const { return child_->running(); }

 private:
  bool read_more(std::chrono::steady_clock::time_point deadline);

  std::optional<io::Child> child_;
  io::UniqueFd output_;
  std::string log_;
  std::size_t seen_ = 0;
};

std::string program_path(std::string_view name);

}  // namespace fairlead::faults
