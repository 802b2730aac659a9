#include "proxy/modes/userspace/event_loop.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

namespace fairlead::userspace {
namespace {

constexpr std::size_t kEventsATurn = 256;

// splice(2) to a connection that was reset has no flag against it.
void block_sigpipe() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  io::UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error(errno, "create epoll");
  io::UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error(errno, "create eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return errno_error(errno, "watch eventfd");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Result<void> EventLoop::watch(int fd, Watched& watched, unsigned which) {
  if (watched.id_ == 0) {
    watched.id_ = ++last_id_;
    known_.emplace(watched.id_, &watched);
  }
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    .data = {.u64 = watched.id_ << 1 | which}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return errno_error(errno, "watch a socket");
  }
  return {};
}

void EventLoop::unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::let_go(std::unique_ptr<Watched> watched) {
  std::erase(again_, watched.get());
  std::ranges::replace(resuming_, watched.get(), static_cast<Watched*>(nullptr));
  known_.erase(watched->id_);
  gone_.push_back(std::move(watched));
}

EventLoop::Timer EventLoop::call_at(Time when, std::function<void()> what) {
  return timers_.emplace(when, std::move(what));
}

void EventLoop::post(std::function<void()> work) {
  {
    const std::scoped_lock lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  static_cast<void>(write(wake_.get(), &one, sizeof one));  // a full counter wakes as well
}

void EventLoop::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  post([] {});
}

int EventLoop::timeout_ms() const {
  if (!again_.empty()) return 0;
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first - std::chrono::steady_clock::now();
  return static_cast<int>(std::clamp<std::int64_t>(
      std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0, 60'000));
}

void EventLoop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::scoped_lock lock(mutex_);
    work.swap(posted_);
  }
  for (const auto& one : work) one();
}

void EventLoop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    const auto what = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    what();
  }
}

void EventLoop::tell(const epoll_event& event) {
  const auto found = known_.find(event.data.u64 >> 1);
  if (found == known_.end()) return;  // let go, perhaps in this turn
  const auto is = [&event](std::uint32_t any) { return (event.events & any) != 0; };
  found->second->ready({.which = static_cast<unsigned>(event.data.u64 & 1),
                        .readable = is(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR),
                        .writable = is(EPOLLOUT | EPOLLHUP | EPOLLERR),
                        .ended = is(EPOLLRDHUP | EPOLLHUP | EPOLLERR),
                        .failed = is(EPOLLERR)});
}

void EventLoop::run() {
  block_sigpipe();
  std::array<epoll_event, kEventsATurn> events;
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), kEventsATurn, timeout_ms());
    now_ = std::chrono::steady_clock::now();
    resuming_ = std::exchange(again_, {});
    for (std::size_t i = 0; i < resuming_.size(); ++i) {
      if (resuming_[i] != nullptr) resuming_[i]->resume();
    }
    resuming_.clear();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.u64 != 0) {
        tell(event);
        continue;
      }
      std::uint64_t ignored = 0;
      static_cast<void>(read(wake_.get(), &ignored, sizeof ignored));
      run_posted();
    }
    run_timers();
    while (!gone_.empty()) std::exchange(gone_, {}).clear();  // who goes may let go of others
    const std::scoped_lock lock(mutex_);
    if (stopping_) return;
  }
}

}  // namespace fairlead::userspace
