// EventLoop: one thread's epoll, edge-triggered, with timers and work from other threads. Bare
// epoll rather than Asio because a relay's inner loop is two system calls, and what surrounds them
// is what it costs.
//
// Owner: the Forwarder, one a core. run() and everything but post() and stop() belong to the loop's
// thread.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "io/fd.hpp"

namespace fairlead::userspace {

using Time = std::chrono::steady_clock::time_point;

// Something with descriptors in a loop.
class Watched {
 public:
  Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  virtual ~Watched() = default;
  // Something may have changed on one of its descriptors; called once for any number of them in one
  // turn, or never for events that came before it was let go.
  virtual void ready() = 0;

 private:
  friend class EventLoop;
  std::uint64_t id_ = 0;  // in its loop; 0 = it has none of its descriptors there
  bool gone_ = false;
};

class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();

  // Until `fd` is closed, `watched` hears of it when it becomes readable or writable. A process
  // that is being started has a copy of it for a moment, and its events come for as long: they are
  // for a number, which nobody has any more, and not for a pointer.
  Result<void> watch(int fd, Watched& watched);
  // Calls ready() again in the next turn, for those that stopped before they had done all.
  void again(Watched& watched) { again_.push_back(&watched); }
  // Destroys it when the turn is over. Its descriptors are to be closed already.
  void let_go(std::unique_ptr<Watched> watched);

  using Timer = std::multimap<Time, std::function<void()>>::iterator;
  Timer call_at(Time when, std::function<void()> what);
  void cancel(Timer timer) { timers_.erase(timer); }
  Time now() const { return now_; }  // of this turn

  void post(std::function<void()> work);  // any thread
  void stop();                            // any thread; run() returns after the turn
  void run();

 private:
  EventLoop(io::UniqueFd epoll, io::UniqueFd wake)
      : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  int timeout_ms() const;
  void run_posted();
  void run_timers();
  static void call(Watched* watched);
  void call(std::uint64_t id);

  io::UniqueFd epoll_, wake_;
  Time now_ = std::chrono::steady_clock::now();
  std::multimap<Time, std::function<void()>> timers_;
  std::unordered_map<std::uint64_t, Watched*> known_;
  std::uint64_t last_id_ = 0;
  std::vector<Watched*> again_;
  std::vector<std::unique_ptr<Watched>> gone_;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool stopping_ = false;                      // guarded by mutex_
};

}  // namespace fairlead::userspace
