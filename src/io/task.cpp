#include "io/task.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>
#include <string>
#include <utility>
#include <vector>

namespace fairlead::io {

using namespace std::chrono_literals;

namespace {

// Longer waits would overflow the clock when added to now.
constexpr std::chrono::nanoseconds kLongestSleep = std::chrono::hours{24 * 365};

std::string describe(std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

bool is_cancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& e) {
    return e.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

}  // namespace

Task<bool> cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

Task<bool> sleep_for(std::chrono::nanoseconds d) {
  if (co_await cancelled()) co_return false;
  asio::steady_timer timer(co_await asio::this_coro::executor, std::min(d, kLongestSleep));
  const auto [ec] = co_await timer.async_wait(kNoThrow);
  co_return !ec;
}

struct TaskGroup::State {
  State(Executor e, std::string_view n) : executor(std::move(e)), name(n) {}

  Executor executor;
  std::string name;
  bool closed = false;
  std::list<asio::cancellation_signal> running;  // a list: the signals' addresses must stay
  std::vector<asio::steady_timer*> closers;      // woken when `running` becomes empty

  void finish(std::list<asio::cancellation_signal>::iterator task) {
    running.erase(task);
    if (!running.empty()) return;
    for (auto* timer : closers) timer->cancel();
  }

  static Task<void> run(Task<void> task) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await std::move(task);
  }

  static Task<void> close(std::shared_ptr<State> state) {
    state->closed = true;
    asio::steady_timer timer(state->executor);
    state->closers.push_back(&timer);
    for (auto pause = 1ms; !state->running.empty(); pause = std::min(pause * 2, 100ms)) {
      for (auto& signal : state->running) signal.emit(asio::cancellation_type::terminal);
      timer.expires_after(pause);
      co_await timer.async_wait(kNoThrow);
    }
    std::erase(state->closers, &timer);
  }
};

TaskGroup::TaskGroup(Executor executor, std::string_view name)
    : state_(std::make_shared<State>(std::move(executor), name)) {}

TaskGroup::~TaskGroup() {
  check(state_->running.empty(),
        fmt::format("task group {} is destroyed with {} tasks running", state_->name, running()));
}

bool TaskGroup::spawn(Task<void> task) {
  if (state_->closed) return false;
  const auto entry = state_->running.emplace(state_->running.end());
  auto on_end = [state = state_, entry](const std::exception_ptr& failure) {
    if (failure && !(state->closed && is_cancellation(failure))) {
      invariant_failed(fmt::format("a task of group {} threw: {}", state->name, describe(failure)));
    }
    // Posted: the coroutine machinery still holds the signal's slot while this runs.
    asio::post(state->executor, [state, entry] { state->finish(entry); });
  };
  asio::co_spawn(state_->executor, State::run(std::move(task)),
                 asio::bind_cancellation_slot(entry->slot(), std::move(on_end)));
  return true;
}

Task<void> TaskGroup::close() { return State::close(state_); }

std::size_t TaskGroup::running() const { return state_->running.size(); }

const Executor& TaskGroup::executor() const { return state_->executor; }

Event::Event(Executor executor) : timer_(executor) {}

void Event::notify() {
  set_ = true;
  timer_.cancel();
}

Task<bool> Event::wait() { return wait_until(std::chrono::steady_clock::time_point::max()); }

Task<bool> Event::wait_until(std::chrono::steady_clock::time_point t) {
  if (!set_ && !co_await cancelled()) {
    timer_.expires_at(t);
    co_await timer_.async_wait(kNoThrow);
  }
  co_return std::exchange(set_, false);
}

}  // namespace fairlead::io
