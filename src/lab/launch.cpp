#include "lab/launch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <climits>
#include <filesystem>

#include "base/log.hpp"
#include "base/text.hpp"

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kReady = "ready";
constexpr auto kShutDownPatience = 20s;

Error privilege_error(int err, std::string_view what) {
  Error error = errno_error(err, what);
  if (err == EPERM)
    error.message += "; a lab needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): try sudo";
  return error;
}

// ---- the supervisor's process

// The supervisor's process id as the caller's namespace counts: the /proc mounted so far shows it.
std::string outer_pid() {
  std::array<char, 32> text{};
  const ssize_t size = ::readlink("/proc/self", text.data(), text.size());
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "unknown";
}

Result<void> mount_proc() {
  // Only /proc is mounted over, so only it must not be shared with the namespace we come from ("/"
  // is no mount point in a chroot).
  if (::mount("none", "/proc", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno_error(errno, "make the lab's /proc private");
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return errno_error(errno, "mount /proc of the lab");
  return {};
}

Result<void> report(const io::UniqueFd& pipe, std::string_view text) {
  if (::write(pipe.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return errno_error(errno, "tell the starting command that the lab is ready");
  return {};
}

Result<void> supervise(const LabConfig& config, const io::UniqueFd& pipe) {
  FAIRLEAD_CHECK(write_text_file(config.paths.pid(), outer_pid() + "\n"));
  FAIRLEAD_CHECK(mount_proc());
  ::signal(SIGPIPE, SIG_IGN);
  io::asio::io_context loop(1);
  FAIRLEAD_TRY(lab, Lab::create(loop.get_executor(), config));
  io::asio::signal_set signals(loop, SIGTERM, SIGINT);
  signals.async_wait([&lab](const boost::system::error_code& ec, int) {
    if (!ec) lab->stop();
  });
  Result<void> outcome;
  io::asio::co_spawn(loop, lab->run([&pipe] { return report(pipe, kReady); }),
                     [&](const std::exception_ptr& thrown, Result<void> result) {
                       check(!thrown, "our code does not throw");
                       outcome = std::move(result);
                       signals.cancel();
                     });
  loop.run();
  return outcome;
}

[[noreturn]] void be_supervisor(const LabConfig& config, const io::UniqueFd& pipe) {
  const auto done = supervise(config, pipe);
  if (!done) {
    log::error("The lab ended", {{"err", done.error()}});
    if (const auto told = report(pipe, done.error().message); !told)
      log::error("Nobody was told", {{"err", told.error()}});
  }
  // Its log explains a failed start; everything else of a lab that ended is worthless.
  if (done) remove_state(config.paths);
  ::_exit(done ? 0 : 1);
}

// ---- init

// Reaps whatever is left to it; ends with the supervisor, and the kernel ends the rest.
[[noreturn]] void reap_until_end_of(pid_t supervisor) {
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended == supervisor) ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    if (ended < 0 && errno != EINTR) ::_exit(1);
  }
}

// `early` errors go to the caller through the pipe as text, like the supervisor's.
[[noreturn]] void be_init(const LabConfig& config, Lifetime lifetime, const io::UniqueFd& pipe) {
  const auto fail = [&pipe](std::string_view what) {
    const auto told = report(pipe, errno_error(errno, what).message);
    ::_exit(told ? 1 : 2);
  };
  if (lifetime == Lifetime::Caller && ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    fail("tie the lab to this command");
  if (::setsid() < 0) fail("start a session");
  if (::unshare(CLONE_NEWNS) != 0) fail("make a mount namespace");
  const io::UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const io::UniqueFd log(::open(config.paths.supervisor_log().c_str(),
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!nothing || !log || ::dup2(nothing.get(), 0) < 0 || ::dup2(log.get(), 1) < 0 ||
      ::dup2(log.get(), 2) < 0)
    fail("redirect the lab's output");
  const pid_t supervisor = ::fork();
  if (supervisor < 0) fail("start the supervisor");
  if (supervisor == 0) be_supervisor(config, pipe);
  if (::prctl(PR_SET_NAME, "fairlead-init") != 0 || ::close_range(3, UINT_MAX, 0) != 0) ::_exit(3);
  reap_until_end_of(supervisor);
}

// Everything the other end says until it closes.
std::string read_all(const io::UniqueFd& pipe) {
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(pipe.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
    if (out == kReady) return out;
  }
}

}  // namespace

Result<void> launch(const LabConfig& config, Lifetime lifetime) {
  const io::UniqueFd own_pids(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!own_pids) return errno_error(errno, "open our PID namespace");
  FAIRLEAD_CHECK(check_socket_path(config.paths.socket()));
  FAIRLEAD_TRY(lock, take_state_folder(config.paths));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return errno_error(errno, "make a pipe");
  const io::UniqueFd read_end(ends[0]);
  io::UniqueFd write_end(ends[1]);
  // Affects our future children only; taken back once init is made.
  if (::unshare(CLONE_NEWPID) != 0) return privilege_error(errno, "make a PID namespace");
  const pid_t init = ::fork();
  if (init == 0) be_init(config, lifetime, write_end);
  const int fork_error = errno;
  if (::setns(own_pids.get(), CLONE_NEWPID) != 0)
    return errno_error(errno, "return to our PID namespace");
  if (init < 0) return errno_error(fork_error, "start the lab");
  lock.reset();  // the supervisor's copy is the one that counts
  write_end.reset();
  const std::string said = read_all(read_end);
  if (said == kReady) return {};
  if (said.empty()) {
    return make_error(ErrorCode::Internal, "the lab ended while it started; see {}",
                      config.paths.supervisor_log());
  }
  return make_error(ErrorCode::Unavailable, "{} (log: {})", said, config.paths.supervisor_log());
}

Result<void> shut_down(const StatePaths& paths) {
  FAIRLEAD_TRY(client, ControlClient::connect(paths.socket()));
  FAIRLEAD_TRY(answer, client.ask("down"));
  check(answer.descriptors.size() == 1, "a pidfd of the lab's init comes back");
  pollfd gone{.fd = answer.descriptors.front().get(), .events = POLLIN, .revents = 0};
  const auto patience = std::chrono::milliseconds(kShutDownPatience).count();
  if (::poll(&gone, 1, static_cast<int>(patience)) != 1) {
    return make_error(ErrorCode::Timeout, "the lab in {} does not end; see {}", paths.folder,
                      paths.supervisor_log());
  }
  return {};
}

void reap_children() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// ---- asking

Result<std::string> status(const StatePaths& paths) {
  FAIRLEAD_TRY(client, ControlClient::connect(paths.socket()));
  FAIRLEAD_TRY(answer, client.ask("status"));
  return std::move(answer.text);
}

Result<std::string> read_logs(const StatePaths& paths, const std::string& pod,
                              const std::string& container) {
  const kube::NamespacedName key = pod_key(pod);
  const std::string prefix = fmt::format("{}_{}_", key.namespace_, key.name);
  std::vector<std::string> found;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(paths.logs(), ec)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && (container.empty() || name == prefix + container + ".log"))
      found.push_back(name);
  }
  if (found.empty())
    return make_error(ErrorCode::NotFound, "no log of pod {}{}{} in {}", key.to_string(),
                      container.empty() ? "" : ", container ", container, paths.logs());
  if (found.size() > 1)
    return make_error(ErrorCode::Invalid, "pod {} has {} containers: choose one with --container",
                      key.to_string(), found.size());
  return read_text_file(fmt::format("{}/{}", paths.logs(), found.front()));
}

// ---- entering

Result<io::ExitStatus> run_in_foreground(io::Command command) {
  sigset_t handled, before;
  sigemptyset(&handled);
  for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&handled, signal);
  ::pthread_sigmask(SIG_BLOCK, &handled, &before);
  command.stdin_fd = STDIN_FILENO;
  auto child = io::Child::spawn(command);
  constexpr std::chrono::steady_clock::time_point kPast{};
  while (child && !child->ends_before(kPast)) {
    siginfo_t info{};
    const int signal = ::sigwaitinfo(&handled, &info);
    // What the terminal sends reaches the child anyway; what somebody sends to us is passed on.
    if (signal > 0 && signal != SIGCHLD && info.si_code <= 0) {
      if (const auto passed = child->signal(signal); !passed) break;
    }
  }
  auto status = child ? child->wait_blocking() : Result<io::ExitStatus>(std::move(child).error());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

Result<io::ExitStatus> run_inside(const StatePaths& paths, const std::string& place,
                                  std::vector<std::string> argv) {
  FAIRLEAD_TRY(client, ControlClient::connect(paths.socket()));
  FAIRLEAD_TRY(spaces, client.ask("enter " + place));
  check(spaces.descriptors.size() > 2, "the PID namespace and the root directory come last");
  // Entering a mount namespace leads to its root, which is not ours if we live in a chroot.
  const io::UniqueFd root = std::move(spaces.descriptors.back());
  spaces.descriptors.pop_back();
  // Of a PID namespace our children become members, not we.
  if (::setns(spaces.descriptors.back().get(), CLONE_NEWPID) != 0)
    return privilege_error(errno, "enter the lab's PID namespace");
  spaces.descriptors.pop_back();
  std::error_code ec;
  io::Command command{.argv = std::move(argv), .root = root.get()};
  command.working_directory = std::filesystem::current_path(ec).string();
  for (const io::UniqueFd& fd : spaces.descriptors) command.namespaces.push_back(fd.get());
  return run_in_foreground(std::move(command));
}

}  // namespace fairlead::lab
