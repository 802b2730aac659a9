// Stream: one direction of a relayed TCP connection. What comes a little at a time is copied
// through the loop's buffer, which costs fewer system calls' work than a pipe does; what comes in
// bulk goes by splice(2) through a pipe and never enters our memory. A pipe is lent only while
// bytes are on their way. A reader that does not read stops the writer: nothing is read before
// everything read so far was passed on.
//
// Owner: a Relay; loop thread only. Needs SIGPIPE blocked, as EventLoop does. Not here: which
// sockets, and when.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "io/fd.hpp"

namespace fairlead::userspace {

inline constexpr std::size_t kCopiedAtOnce = 16 * 1024;  // bytes

// A pipe with its capacity, empty when it is not in use.
struct Pipe {
  io::UniqueFd out, in;  // read end, write end
  std::size_t capacity = 0;
};

// Pipes of one loop, kept for reuse.
class PipePool {
 public:
  explicit PipePool(std::size_t most) : left_(most) {}
  std::optional<Pipe> take();                                      // nullopt: all are in use
  void give_back(Pipe pipe) { idle_.push_back(std::move(pipe)); }  // must be empty
  void lose() { ++left_; }                                         // one was closed with its bytes

 private:
  std::size_t left_;  // that may still be made
  std::vector<Pipe> idle_;
};

class Stream {
 public:
  enum class Progress : std::uint8_t {
    Blocked,     // until one of its sockets is ready
    MoreToDo,    // stopped so that others get their turn
    SourceLost,  // the source was reset
    SinkLost,    // nobody takes the bytes any more
  };
  struct Tools {
    PipePool& pipes;
    std::vector<char>& buffer;  // of kCopiedAtOnce
  };

  struct Sockets {
    int from = -1, to = -1;
    bool ended = false;         // the kernel has told of the source's end, which is then read up to
    bool end_by_close = false;  // the sink is closed after the last byte: no need to end it before
  };

  // Moves what can be moved now, and counts it into `moved`.
  Progress move(Sockets sockets, Tools tools, std::atomic<std::uint64_t>& moved);
  bool holds() const { return in_pipe_ > 0 || !left_.empty(); }  // bytes on their way
  bool done() const { return done_; }  // all was passed on, and then the end of it
  void give_back(PipePool& pipes);     // what it has of them; bytes in it are lost

 private:
  std::optional<Progress> pass_on(int to);
  std::optional<Progress> copy(Sockets sockets, Tools tools, std::atomic<std::uint64_t>& moved);
  std::optional<Progress> splice_in(int from, Tools tools, std::atomic<std::uint64_t>& moved);

  std::optional<Pipe> pipe_;
  std::size_t in_pipe_ = 0;
  std::vector<char> left_;  // copied and not taken yet; from gone_ on
  std::size_t gone_ = 0;
  bool in_bulk_ = false;  // the last read filled the buffer
  bool at_end_ = false;   // the source has sent its end
  bool done_ = false;
};

}  // namespace fairlead::userspace
