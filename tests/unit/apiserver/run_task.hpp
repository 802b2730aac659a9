// Runs a coroutine to its end on a loop of the test's own. A task that never ends fails the test
// after ten seconds.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <optional>

#include "io/task.hpp"

namespace fairlead::apiserver {

template <class T>
T run_task(io::asio::io_context& loop, io::Task<T> task) {
  std::optional<T> out;
  io::asio::co_spawn(loop, std::move(task), [&out](const std::exception_ptr& thrown, T value) {
    if (thrown) std::rethrow_exception(thrown);
    out = std::move(value);
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  loop.restart();
  while (!out && std::chrono::steady_clock::now() < deadline) loop.run_one_until(deadline);
  if (!out) throw std::runtime_error("the task did not end within ten seconds");
  return std::move(*out);
}

// Runs the loop until `holds`; false when it does not within ten seconds.
template <class Predicate>
bool run_until(io::asio::io_context& loop, Predicate holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  loop.restart();
  while (!holds() && std::chrono::steady_clock::now() < deadline) loop.run_one_until(deadline);
  return holds();
}

inline void run_task(io::asio::io_context& loop, io::Task<void> task) {
  bool done = false;
  io::asio::co_spawn(loop, std::move(task), [&done](const std::exception_ptr& thrown) {
    if (thrown) std::rethrow_exception(thrown);
    done = true;
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  loop.restart();
  while (!done && std::chrono::steady_clock::now() < deadline) loop.run_one_until(deadline);
  if (!done) throw std::runtime_error("the task did not end within ten seconds");
}

}  // namespace fairlead::apiserver
