// Budget: how many connections, flows and descriptors the forwarder may have, and has. Beyond it
// new ones are refused and those there live on.
//
// Thread rule: any thread. Counts are exact; a limit may be met a moment early while others are
// being given back.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "base/error.hpp"

namespace fairlead::userspace {

struct Limits {
  std::size_t files = 0;        // descriptors for connections (two each), flows and UDP sockets
  std::size_t connections = 0;  // TCP, at any time
  std::size_t flows = 0;        // UDP, at any time
  std::size_t pipes = 0;  // of two descriptors each, besides `files`; without one bytes are copied
};

// Raises the soft limit of open files as far as it goes and divides it; what is wanted less is
// kept: 0 = as many as fit. Exhausted: the limit leaves none for connections.
Result<Limits> limits_here(std::size_t connections, std::size_t flows);
// Bytes of our memory when all of it is used and no reader reads.
std::size_t most_memory(const Limits& limits);

class Budget {
 public:
  explicit Budget(Limits limits) : limits_(limits) {}
  const Limits& limits() const { return limits_; }

  bool take_connection();
  void give_connection();
  bool take_flow();
  void give_flow();
  bool take_files(std::size_t count) { return take(files_, count, limits_.files); }
  void give_files(std::size_t count) { files_.fetch_sub(count, std::memory_order_relaxed); }

  std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }
  std::size_t flows() const { return flows_.load(std::memory_order_relaxed); }
  std::size_t files() const { return files_.load(std::memory_order_relaxed); }
  // True when there is no connection and no flow any more, false when there still is one at the
  // deadline.
  bool wait_for_the_last(std::chrono::steady_clock::time_point deadline);

 private:
  using Count = std::atomic<std::size_t>;
  void one_less(Count& count);
  static bool take(Count& count, std::size_t more, std::size_t limit);

  Limits limits_;
  Count files_ = 0, connections_ = 0, flows_ = 0;
  std::mutex mutex_;
  std::condition_variable none_left_;
};

}  // namespace fairlead::userspace
