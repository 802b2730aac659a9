#include "controlplane/proxy_process.hpp"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "io/probe.hpp"

namespace fairlead::controlplane {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kFirstPause = 200ms, kLongestPause = 10'000ms;

}  // namespace

Result<io::Child> ProxyProcess::spawn() const {
  io::Command command{.argv = config_.argv};
  if (config_.space != nullptr) command.namespaces = {config_.space->fd()};
  if (config_.log.empty()) return io::Child::spawn(command);
  const io::UniqueFd log(
      ::open(config_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!log) return errno_error(errno, fmt::format("open log {}", config_.log));
  command.stdout_fd = command.stderr_fd = log.get();
  return io::Child::spawn(command);
}

io::Task<void> ProxyProcess::run() {
  auto pause = kFirstPause;
  while (!co_await io::cancelled()) {
    auto child = spawn();
    if (child) {
      child_ = *std::move(child);
      const auto status = co_await child_->wait();
      if (!status) break;  // cancelled
      last_end_ = status->to_string();
    } else {
      last_end_ = child.error().message;
    }
    child_.reset();
    log::warning("A proxy ended, starting it again", {{"node", config_.node},
                                                      {"end", last_end_},
                                                      {"log", config_.log},
                                                      {"pause", format_duration(pause)}});
    co_await io::sleep_for(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
  // Blocks the loop: nothing else is to be done any more.
  if (child_ && config_.grace.count() > 0 && child_->signal(SIGTERM))
    child_->ends_before(steady_clock::now() + config_.grace);
  child_.reset();
}

std::string ProxyProcess::state() const {
  return child_ ? fmt::format("pid {}", child_->pid()) : "restarting after " + last_end_;
}

io::Task<Result<void>> ProxyProcess::wait_until_healthy(std::chrono::nanoseconds patience) const {
  const auto deadline = steady_clock::now() + patience;
  const std::string hint = config_.log.empty() ? "" : fmt::format("; its log is {}", config_.log);
  for (;;) {
    const io::HttpProbe probe{.to = config_.health, .path = "/healthz"};
    const auto well = co_await io::probe_http(config_.space, probe, 1s);
    if (!last_end_.empty()) {
      co_return make_error(ErrorCode::Unavailable, "the proxy of {} does not start: {}{}",
                           config_.node, last_end_, hint);
    }
    if (well) co_return Result<void>();
    if (steady_clock::now() > deadline || co_await io::cancelled()) {
      co_return make_error(ErrorCode::Timeout, "the proxy of {} does not get ready: {}{}",
                           config_.node, well.error().message, hint);
    }
    co_await io::sleep_for(20ms);
  }
}

}  // namespace fairlead::controlplane
