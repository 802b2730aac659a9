// Runs coroutines in a test: one loop, driven until the task given has ended or a deadline says
// that it hangs.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include "io/task.hpp"

namespace fairlead::test {

class Loop {
 public:
  io::Executor executor() { return context_.get_executor(); }
  boost::asio::io_context& context() { return context_; }

  // Runs the loop until `task` has ended; a hang fails the test and returns nullopt.
  template <class T>
  std::optional<T> run(io::Task<T> task) {
    std::optional<T> out;
    bool done = false;
    boost::asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& e, T value) {
      if (!e) out.emplace(std::move(value));
      failed_ = e;
      done = true;
    });
    drive(&done);
    return out;
  }
  bool run(io::Task<void> task) {
    bool done = false;
    boost::asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& e) {
      failed_ = e;
      done = true;
    });
    return drive(&done);
  }

 private:
  bool drive(const bool* done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    context_.restart();
    while (!*done && std::chrono::steady_clock::now() < deadline) {
      if (context_.run_one_for(std::chrono::seconds{1}) == 0 && context_.stopped()) break;
    }
    EXPECT_TRUE(*done) << "the task hangs";
    EXPECT_FALSE(static_cast<bool>(std::exchange(failed_, nullptr))) << "the task threw";
    return *done;
  }

  boost::asio::io_context context_{1};
  std::exception_ptr failed_;
};

}  // namespace fairlead::test
