// Child processes: start with exact descriptors, namespaces and environment; wait without blocking
// the loop (pidfd). A Child that is destroyed while running is killed with SIGKILL and reaped.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "io/fd.hpp"
#include "io/task.hpp"

namespace fairlead::io {

struct Command {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH unless it holds a '/'
  std::map<std::string, std::string> env;  // added to (or replacing in) our environment
  std::string working_directory;           // empty = ours
  std::vector<int> namespaces;             // descriptors to setns() in the child, in order
  std::optional<int> root;                 // then a directory to chroot() into
  std::optional<int> stdin_fd, stdout_fd, stderr_fd;  // default: /dev/null, inherited, inherited
  bool new_session = false;                           // setsid()
  int death_signal =
      9;  // PR_SET_PDEATHSIG: the child dies with the *thread* that spawned it; 0 = survives
};

struct ExitStatus {
  std::optional<int> code;    // exited
  std::optional<int> signal;  // or killed by
  bool ok() const { return code == 0; }
  std::string to_string() const;  // "exit code 1", "signal 9"
  bool operator==(const ExitStatus&) const = default;
};

class Child {
 public:
  static Result<Child> spawn(const Command& command);
  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  bool running() const { return pid_ > 0 && !reaped_; }
  Result<void> signal(int number);
  Task<Result<ExitStatus>> wait();  // on the loop; cancellable
  // The same, but nothing when the process still runs at `deadline`.
  Task<Result<std::optional<ExitStatus>>> wait_until(
      std::chrono::steady_clock::time_point deadline);
  Result<ExitStatus> wait_blocking();
  bool ends_before(
      std::chrono::steady_clock::time_point deadline) const;  // blocks until then at most

 private:
  Child() = default;
  pid_t pid_ = -1;
  bool reaped_ = false;
  UniqueFd pidfd_;
};

// Runs to completion on the calling thread, with stdin from `input`; collects at most 64 MiB of
// each output. For tests and short tools, not for the loop. Timeout kills the child.
struct Output {
  ExitStatus status;
  std::string out;
  std::string err;
};
Result<Output> run_blocking(Command command, std::string_view input,
                            std::chrono::milliseconds timeout);

}  // namespace fairlead::io
