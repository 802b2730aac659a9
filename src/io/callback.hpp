// From callbacks to coroutines: awaits what another thread or a library answers by calling back.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "io/task.hpp"

namespace fairlead::io {

// To be called once, on the loop.
template <class T>
using Done = std::function<void(Result<T>)>;

// Calls `start(done)` and suspends until done was called. The loop keeps running meanwhile. Cannot
// be cancelled: who started the work ends it.
template <class T, class Start>
Task<Result<T>> await_callback(Executor loop, Start start) {
  co_return co_await asio::async_initiate<decltype(asio::use_awaitable), void(Result<T>)>(
      [loop](auto handler, Start begin) {
        auto once = std::make_shared<decltype(handler)>(std::move(handler));
        auto guard = std::make_shared<asio::executor_work_guard<Executor>>(loop);
        begin(Done<T>([once, guard](Result<T> result) { (*once)(std::move(result)); }));
      },
      asio::use_awaitable, std::move(start));
}

}  // namespace fairlead::io
