// Clients of an API server that write, watch and list Services without pause and note down what
// they were told: the makers of a History. All of them are coroutines of one loop; servers may come
// and go meanwhile, a client then goes to the next one.
//
// Every client makes a new connection for each request, so that no request is repeated behind the
// observer's back.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "history/history.hpp"
#include "io/http.hpp"
#include "io/task.hpp"

namespace fairlead::history {

struct LoadConfig {
  std::vector<std::uint16_t> servers;  // plain HTTP on 127.0.0.1
  std::size_t writers = 4;
  std::size_t watchers = 3;
  bool dual_stack = false;
  unsigned seed = 1;
};

struct Counts {
  std::uint64_t acknowledged = 0, refused = 0, unknown = 0;
  std::uint64_t resumed = 0;   // watches taken up again from the last revision seen
  std::uint64_t relisted = 0;  // watches that had to begin anew: 410
  std::string last_unknown;    // what came instead of the latest answer that was none
};

class Load {
 public:
  Load(io::Executor executor, LoadConfig config);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  void start();
  // True once `writes` more have been acknowledged; false when that takes longer than `patience`.
  io::Task<bool> more_acknowledged(std::uint64_t writes, std::chrono::seconds patience);
  // True once as many watches have been taken up again, since the start.
  io::Task<bool> watches_resumed(std::uint64_t watches, std::chrono::seconds patience);
  // Ends the writers, has the watchers catch up with a last write and lists on every server. An
  // error says what did not come to its end.
  io::Task<Result<History>> finish();
  const Counts& counts() const;

  struct State;

 private:
  io::Task<bool> reached(const std::uint64_t* count, std::uint64_t wanted,
                         std::chrono::seconds patience);

  std::unique_ptr<State> state_;
};

// Whether GET of that path on 127.0.0.1 is answered 200 within `patience`.
io::Task<bool> answers(io::Executor executor, std::uint16_t port, std::string path,
                       std::chrono::seconds patience);

}  // namespace fairlead::history
