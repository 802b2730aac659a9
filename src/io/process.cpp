#include "io/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>

extern char** environ;

namespace fairlead::io {
namespace {

constexpr std::size_t kMaxOutput = 64 * 1024 * 1024;

// Everything the child needs after fork(), prepared before it: between fork and exec only
// async-signal-safe calls are allowed.
struct Image {
  std::string program;
  std::vector<char*> argv;
  std::vector<std::string> env_texts;
  std::vector<char*> envp;
};

bool is_executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

Result<std::string> find_program(const std::string& name, const std::string& path) {
  if (name.find('/') != std::string::npos) return name;
  std::size_t start = 0;
  while (start <= path.size()) {
    const std::size_t end = std::min(path.find(':', start), path.size());
    const std::string directory = path.substr(start, end - start);
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (is_executable(candidate)) return candidate;
    start = end + 1;
  }
  return make_error(ErrorCode::NotFound, "no program \"{}\" in PATH", name);
}

Result<Image> prepare(const Command& command) {
  if (command.argv.empty())
    return make_error(ErrorCode::Invalid, "start a process: the command is empty");
  std::map<std::string, std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos)
      env.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  for (const auto& [name, value] : command.env) env[name] = value;
  Image image;
  FAIRLEAD_TRY(program, find_program(command.argv.front(), env["PATH"]));
  image.program = std::move(program);
  // execve takes non-const pointers and does not write through them.
  for (const std::string& arg : command.argv) image.argv.push_back(const_cast<char*>(arg.c_str()));
  image.argv.push_back(nullptr);
  for (const auto& [name, value] : env) image.env_texts.push_back(name + "=" + value);
  for (std::string& text : image.env_texts) image.envp.push_back(text.data());
  image.envp.push_back(nullptr);
  return image;
}

struct Failure {
  int error = 0;
  int step = 0;  // index of kSteps
};
constexpr std::array kSteps = {"set the death signal of",
                               "start a session for",
                               "enter the namespace of",
                               "change the root of",
                               "redirect the files of",
                               "change the directory of",
                               "execute"};

[[noreturn]] void fail_child(int report_fd, int step) {
  const Failure failure{.error = errno, .step = step};
  if (::write(report_fd, &failure, sizeof failure) < 0) ::_exit(126);
  ::_exit(127);
}

bool redirect(int from, int to) {
  if (from == to) {  // dup2 would leave CLOEXEC set
    return ::fcntl(to, F_SETFD, 0) == 0;
  }
  return ::dup2(from, to) >= 0;
}

// Runs in the child. Standard descriptors are first moved out of each other's way.
[[noreturn]] void become(const Command& command, const Image& image, int report_fd, int null_fd,
                         pid_t parent) {
  if (command.death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, command.death_signal) != 0) fail_child(report_fd, 0);
    // The parent may have died before the signal was set. 0: it lives in an outer PID namespace.
    const pid_t now = ::getppid();
    if (now != parent && now != 0) ::_exit(127);
  }
  if (command.new_session && ::setsid() < 0) fail_child(report_fd, 1);
  for (const int ns : command.namespaces) {
    if (::setns(ns, 0) != 0) fail_child(report_fd, 2);
  }
  if (command.root && (::fchdir(*command.root) != 0 || ::chroot(".") != 0))
    fail_child(report_fd, 3);
  const std::array<int, 3> wanted = {command.stdin_fd.value_or(null_fd),
                                     command.stdout_fd.value_or(STDOUT_FILENO),
                                     command.stderr_fd.value_or(STDERR_FILENO)};
  std::array<int, 3> moved{};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    moved[i] = wanted[i] <= 2 && wanted[i] != static_cast<int>(i)
                   ? ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 3)
                   : wanted[i];
  }
  for (std::size_t i = 0; i < moved.size(); ++i) {
    if (moved[i] < 0 || !redirect(moved[i], static_cast<int>(i))) fail_child(report_fd, 4);
  }
  if (!command.working_directory.empty() && ::chdir(command.working_directory.c_str()) != 0)
    fail_child(report_fd, 5);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execve(image.program.c_str(), image.argv.data(), image.envp.data());
  fail_child(report_fd, 6);
}

ExitStatus to_exit_status(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
  }
  return status;
}

struct Pipe {
  UniqueFd read_end, write_end;
};
Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "make a pipe");
  return Pipe{.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
}

}  // namespace

std::string ExitStatus::to_string() const {
  if (code) return fmt::format("exit code {}", *code);
  if (signal) return fmt::format("signal {}", *signal);
  return "still running";
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      reaped_(other.reaped_),
      pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Child dying(std::move(*this));
    pid_ = std::exchange(other.pid_, -1);
    reaped_ = other.reaped_;
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

Result<Child> Child::spawn(const Command& command) {
  FAIRLEAD_TRY(image, prepare(command));
  FAIRLEAD_TRY(report, make_pipe());
  const UniqueFd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_fd) return errno_error(errno, "open /dev/null");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, fmt::format("start {}", image.program));
  if (pid == 0) become(command, image, report.write_end.get(), null_fd.get(), parent);
  Child child;
  child.pid_ = pid;
  report.write_end.reset();
  Failure failure;
  ssize_t got = 0;
  do {
    got = ::read(report.read_end.get(), &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof failure)) {
    const auto reaped = child.wait_blocking();
    return errno_error(failure.error,
                       fmt::format("{} {}{}", kSteps.at(static_cast<std::size_t>(failure.step)),
                                   image.program, reaped ? "" : " (and it could not be reaped)"));
  }
  child.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!child.pidfd_) return errno_error(errno, fmt::format("open a pidfd of {}", image.program));
  return child;
}

Result<void> Child::signal(int number) {
  if (!running()) return make_error(ErrorCode::NotFound, "the process has ended");
  if (::kill(pid_, number) != 0) return errno_error(errno, fmt::format("signal process {}", pid_));
  return {};
}

Result<ExitStatus> Child::wait_blocking() {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0) {
    if (errno != EINTR) return errno_error(errno, fmt::format("wait for process {}", pid_));
  }
  reaped_ = true;
  return to_exit_status(info);
}

bool Child::ends_before(std::chrono::steady_clock::time_point deadline) const {
  pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const auto wait = std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, INT_MAX);
    const int got = ::poll(&ended, 1, static_cast<int>(wait));
    if (got >= 0 || errno != EINTR) return got > 0;
  }
}

namespace {

// Readiness is a hint: Asio recycles what it keeps of a descriptor, and an event of the one before
// can wake a wait. Who believed it would block the loop in waitid() for as long as the child lives.
constexpr std::chrono::steady_clock::time_point kByNow{};

}  // namespace

Task<Result<ExitStatus>> Child::wait() {
  const int copy = ::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) co_return errno_error(errno, "watch a process");
  asio::posix::stream_descriptor watch(co_await asio::this_coro::executor, copy);
  while (!ends_before(kByNow)) {
    const auto [ec] =
        co_await watch.async_wait(asio::posix::stream_descriptor::wait_read, kNoThrow);
    if (ec)
      co_return make_error(ErrorCode::Cancelled, "wait for process {}: {}", pid_, ec.message());
  }
  co_return wait_blocking();
}

Task<Result<std::optional<ExitStatus>>> Child::wait_until(
    std::chrono::steady_clock::time_point deadline) {
  const int copy = ::fcntl(pidfd_.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) co_return errno_error(errno, "watch a process");
  const auto executor = co_await asio::this_coro::executor;
  const auto watch = std::make_shared<asio::posix::stream_descriptor>(executor, copy);
  const auto late = std::make_shared<bool>(false);
  asio::steady_timer timer(executor, deadline);
  timer.async_wait([watch, late](const boost::system::error_code& timer_ec) {
    if (timer_ec) return;
    *late = true;
    watch->cancel();
  });
  while (!ends_before(kByNow)) {
    if (*late) co_return std::optional<ExitStatus>();
    const auto [ec] =
        co_await watch->async_wait(asio::posix::stream_descriptor::wait_read, kNoThrow);
    if (ec && !*late)
      co_return make_error(ErrorCode::Cancelled, "wait for process {}: {}", pid_, ec.message());
  }
  FAIRLEAD_CO_TRY(status, wait_blocking());
  co_return std::optional<ExitStatus>(status);
}

namespace {

struct Stream {
  UniqueFd fd;
  std::string text;
  // False when the stream has ended.
  bool read_more() {
    std::array<char, 65536> buffer;
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got <= 0) return false;
    if (text.size() < kMaxOutput) text.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }
};

// Moves input in and both outputs out until all are done. False: the deadline passed.
bool exchange_until(std::chrono::steady_clock::time_point deadline, UniqueFd& in,
                    std::string_view input, Stream& out, Stream& err) {
  while (in || out.fd || err.fd) {
    std::array<pollfd, 3> polled{{{.fd = in.get(), .events = POLLOUT, .revents = 0},
                                  {.fd = out.fd.get(), .events = POLLIN, .revents = 0},
                                  {.fd = err.fd.get(), .events = POLLIN, .revents = 0}}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (::poll(polled.data(), polled.size(), static_cast<int>(left.count()) + 1) < 0 &&
        errno != EINTR)
      return false;
    if (polled[0].revents != 0) {
      const ssize_t put = input.empty() ? 0
                                        : ::write(in.get(), input.data(),
                                                  std::min<std::size_t>(input.size(), 65536));
      if (put > 0) input.remove_prefix(static_cast<std::size_t>(put));
      if (put < 0 || input.empty()) in.reset();
    }
    if (polled[1].revents != 0 && !out.read_more()) out.fd.reset();
    if (polled[2].revents != 0 && !err.read_more()) err.fd.reset();
  }
  return true;
}

}  // namespace

Result<Output> run_blocking(Command command, std::string_view input,
                            std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  FAIRLEAD_TRY(in, make_pipe());
  FAIRLEAD_TRY(out, make_pipe());
  FAIRLEAD_TRY(err, make_pipe());
  command.stdin_fd = in.read_end.get();
  command.stdout_fd = out.write_end.get();
  command.stderr_fd = err.write_end.get();
  FAIRLEAD_TRY(child, Child::spawn(command));
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  // A child that stops reading must not end us with SIGPIPE; only this thread's mask is touched.
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  Stream out_stream{.fd = std::move(out.read_end)};
  Stream err_stream{.fd = std::move(err.read_end)};
  const bool in_time = exchange_until(deadline, in.write_end, input, out_stream, err_stream);
  const timespec at_once{};
  while (::sigtimedwait(&pipe_signal, nullptr, &at_once) == SIGPIPE) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  const Error too_slow = make_error(ErrorCode::Timeout, "{} did not end within {} ms",
                                    command.argv.front(), timeout.count());
  if (!in_time) return too_slow;
  if (!child.ends_before(deadline)) return too_slow;
  FAIRLEAD_TRY(status, child.wait_blocking());
  return Output{
      .status = status, .out = std::move(out_stream.text), .err = std::move(err_stream.text)};
}

}  // namespace fairlead::io
