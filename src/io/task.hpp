// Coroutines on one Asio loop. Task<T> is what every asynchronous function of the shell returns; a
// TaskGroup owns the tasks somebody started and can end them. Everything here belongs to the loop's
// thread.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::io {

namespace asio = boost::asio;

template <class T>
using Task = asio::awaitable<T>;
using Executor = asio::any_io_executor;

// Completion token for awaiting Asio operations without exceptions: yields a tuple (error_code,
// values...).
inline constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

// Has this task been asked to stop? Asio delivers a cancellation to the operation being awaited and
// to no later one, so a loop asks here before it starts over. Inside a TaskGroup no co_await throws
// for a cancellation; the branches of Asio's awaitable operators (a || b) still do, which is why
// they are not used in this code.
Task<bool> cancelled();

// Suspends for `d`. Returns false when it ended early because the task was cancelled.
Task<bool> sleep_for(std::chrono::nanoseconds d);

// The tasks of one owner. After close() began, spawn() refuses (the task is destroyed unstarted and
// false comes back); close() asks every running task to stop (Asio terminal cancellation) and
// completes when the last one has ended. A cancellation can miss a task whose operation has just
// completed; close() therefore repeats it until the task ends. A task that ends by an exception
// aborts the process with the group's name: our code does not throw. Never await close() from a
// task of the same group. The group must be closed before it is destroyed, or never have spawned
// (checked).
class TaskGroup {
 public:
  TaskGroup(Executor executor, std::string_view name);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  bool spawn(Task<void> task);
  Task<void> close();
  std::size_t running() const;
  const Executor& executor() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// A notification that coalesces: any number of notify() before a wait() completes make one wake-up.
// One waiter at a time.
class Event {
 public:
  explicit Event(Executor executor);
  void notify();
  Task<bool> wait();  // false = cancelled
  Task<bool> wait_until(std::chrono::steady_clock::time_point
                            t);  // true = notified, false = time passed or cancelled

 private:
  asio::steady_timer timer_;
  bool set_ = false;
};

}  // namespace fairlead::io
