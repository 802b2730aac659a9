// One thread for what would hold up the loop: blocking kernel work, long computations. run(f)
// executes f there and resumes on the loop with its value; it cannot be cancelled, so whoever
// closes waits for the work under way.
#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <type_traits>

#include "io/task.hpp"

namespace fairlead::io {

class Worker {
 public:
  Worker() : pool_(1) {}
  ~Worker() { pool_.join(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // `work` is a plain function object; its result must be movable and default-constructible.
  template <class F>
  Task<std::invoke_result_t<F&>> run(Executor loop, F work) {
    using Value = std::invoke_result_t<F&>;
    auto value = std::make_shared<Value>();
    auto done = std::make_shared<asio::steady_timer>(loop, asio::steady_timer::time_point::max());
    // The timer is a latch on the loop; the loop's work count keeps it alive meanwhile.
    asio::post(
        pool_, [value, done, work = std::move(work),
                guard = asio::prefer(loop, asio::execution::outstanding_work.tracked)]() mutable {
          *value = work();
          asio::post(guard, [done] { done->expires_at(asio::steady_timer::time_point::min()); });
        });
    while (done->expiry() != asio::steady_timer::time_point::min()) {
      // A cancellation of the caller wakes us too; the work goes on, so we keep waiting.
      co_await done->async_wait(kNoThrow);
    }
    co_return std::move(*value);
  }

 private:
  asio::thread_pool pool_;
};

}  // namespace fairlead::io
