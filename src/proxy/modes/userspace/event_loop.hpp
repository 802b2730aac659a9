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

// What may have changed on one of the descriptors something has in a loop.
struct Event {
  unsigned which = 0;     // of the descriptors, as told to watch()
  bool readable = false;  // or at its end, or reset
  bool writable = false;
  bool ended = false;   // the peer sends no more, or is gone
  bool failed = false;  // it is gone
};

// Something with descriptors in a loop.
class Watched {
 public:
  Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  virtual ~Watched() = default;
  // Never called for events that came before it was let go; perhaps for those of a descriptor that
  // was closed in the same turn.
  virtual void ready(Event event) = 0;
  // Asked for by EventLoop::again().
  virtual void resume() {}

 private:
  friend class EventLoop;
  std::uint64_t id_ = 0;  // in its loop; 0 = it has none of its descriptors there
};

class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();

  // Until `fd` is closed, `watched` hears of it when it becomes readable or writable; `which`, 0 or
  // 1, comes back with the event. A process that is being started has a copy of it for a moment,
  // and its events come for as long: they are for a number, which nobody has any more, and not for
  // a pointer.
  Result<void> watch(int fd, Watched& watched, unsigned which = 0);
  // No more of it, while it stays open.
  void unwatch(int fd);
  // Calls resume() in the next turn, for those that stopped before they had done all.
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
  void tell(const epoll_event& event);

  io::UniqueFd epoll_, wake_;
  Time now_ = std::chrono::steady_clock::now();
  std::multimap<Time, std::function<void()>> timers_;
  std::unordered_map<std::uint64_t, Watched*> known_;
  std::uint64_t last_id_ = 0;
  std::vector<Watched*> again_;
  std::vector<Watched*> resuming_;  // of this turn; null: let go meanwhile
  std::vector<std::unique_ptr<Watched>> gone_;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool stopping_ = false;                      // guarded by mutex_
};

}  // namespace fairlead::userspace
