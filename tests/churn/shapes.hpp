// Connections of every shape, with contents that both ends check byte by byte: tiny, bulk in both
// directions at once, half-closed, reset from either side, a reader that stalls, a writer that
// dawdles. For what stands between the ends and must not lose, change or repeat a byte.
//
// The server runs on hosts of a rig, the clients on others; blocking sockets, a thread for each
// connection. Owner: one test.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/fd.hpp"
#include "packets/rig.hpp"

namespace fairlead::churn {

// What went wrong, from any thread.
class Complaints {
 public:
  void add(std::string text);
  std::vector<std::string> all() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> texts_;  // guarded by mutex_
};

class ShapeServer {
 public:
  static Result<std::unique_ptr<ShapeServer>> start(const std::vector<const packets::Host*>& hosts,
                                                    Port port, Complaints& complaints);
  ~ShapeServer();  // waits for the connections

 private:
  explicit ShapeServer(Complaints& complaints) : complaints_(complaints) {}
  void accept_all(const io::UniqueFd& listener);

  Complaints& complaints_;
  std::vector<io::UniqueFd> listeners_;
  std::vector<std::thread> threads_;
};

class ShapeClients {
 public:
  // One thread for each shape, one connection after the other, until the end of this object or
  // `over`.
  ShapeClients(const packets::Rig& rig, SocketAddress server, const std::atomic<bool>& over,
               Complaints& complaints);
  void join();
  // Connections of each shape, and bytes that were checked.
  std::map<std::string, std::uint64_t> connections() const;
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Worker {
    std::string shape;
    std::atomic<std::uint64_t> connections = 0;
    std::thread thread;
  };
  std::atomic<std::uint64_t> bytes_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace fairlead::churn
