#include "proxy/modes/userspace/stream.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace fairlead::userspace {
namespace {

constexpr int kPipeBytes = 256 * 1024;
// Reads of one direction before others get their turn.
constexpr int kReadsATurn = 16;

}  // namespace

std::optional<Pipe> PipePool::take() {
  if (!idle_.empty()) {
    Pipe out = std::move(idle_.back());
    idle_.pop_back();
    return out;
  }
  int ends[2];
  if (left_ == 0 || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return std::nullopt;
  --left_;
  Pipe out{.out = io::UniqueFd(ends[0]), .in = io::UniqueFd(ends[1])};
  // Refused when the user has many pipes already; then it stays at the default.
  fcntl(out.in.get(), F_SETPIPE_SZ, kPipeBytes);
  out.capacity = static_cast<std::size_t>(fcntl(out.in.get(), F_GETPIPE_SZ));
  return out;
}

void Stream::give_back(PipePool& pipes) {
  if (!pipe_) return;
  Pipe pipe = *std::exchange(pipe_, std::nullopt);
  if (in_pipe_ == 0) {
    pipes.give_back(std::move(pipe));
  } else {
    pipes.lose();
  }
}

Stream::Progress Stream::move(Sockets sockets, Tools tools, std::atomic<std::uint64_t>& moved) {
  for (int read = 0; read < kReadsATurn; ++read) {
    if (done_) return Progress::Blocked;
    if (const auto stop = pass_on(sockets.to)) return *stop;
    if (at_end_) {
      give_back(tools.pipes);
      if (!sockets.end_by_close) shutdown(sockets.to, SHUT_WR);
      done_ = true;
      return Progress::Blocked;
    }
    if (in_bulk_ && !pipe_) pipe_ = tools.pipes.take();
    if (!in_bulk_) give_back(tools.pipes);
    const auto stop = pipe_ ? splice_in(sockets.from, tools, moved) : copy(sockets, tools, moved);
    if (stop) return *stop;
  }
  return Progress::MoreToDo;
}

// What was read before.
std::optional<Stream::Progress> Stream::pass_on(int to) {
  while (in_pipe_ > 0) {
    const ssize_t put =
        splice(pipe_->out.get(), nullptr, to, nullptr, in_pipe_, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (put < 0 && errno == EAGAIN) return Progress::Blocked;
    if (put <= 0) return Progress::SinkLost;
    in_pipe_ -= static_cast<std::size_t>(put);
  }
  while (!left_.empty()) {
    const ssize_t put = send(to, left_.data() + gone_, left_.size() - gone_, MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN) return Progress::Blocked;
    if (put <= 0) return Progress::SinkLost;
    gone_ += static_cast<std::size_t>(put);
    if (gone_ < left_.size()) continue;
    left_ = {};
    gone_ = 0;
  }
  return std::nullopt;
}

std::optional<Stream::Progress> Stream::copy(Sockets sockets, Tools tools,
                                             std::atomic<std::uint64_t>& moved) {
  const ssize_t got = recv(sockets.from, tools.buffer.data(), kCopiedAtOnce, 0);
  if (got < 0) return errno == EAGAIN ? Progress::Blocked : Progress::SourceLost;
  at_end_ = got == 0;
  if (at_end_) return std::nullopt;
  const auto size = static_cast<std::size_t>(got);
  moved.fetch_add(size, std::memory_order_relaxed);
  const ssize_t put = send(sockets.to, tools.buffer.data(), size, MSG_NOSIGNAL);
  if (put < 0 && errno != EAGAIN) return Progress::SinkLost;
  const std::size_t taken = put < 0 ? 0 : static_cast<std::size_t>(put);
  left_.assign(tools.buffer.begin() + static_cast<std::ptrdiff_t>(taken),
               tools.buffer.begin() + got);
  in_bulk_ = size == kCopiedAtOnce;
  // A short read has emptied the socket, and epoll tells of what comes next (epoll(7)).
  if (!in_bulk_ && left_.empty() && !sockets.ended) return Progress::Blocked;
  return std::nullopt;
}

// Only into an empty pipe: EAGAIN means that the source has nothing, never that the pipe is full.
std::optional<Stream::Progress> Stream::splice_in(int from, Tools tools,
                                                  std::atomic<std::uint64_t>& moved) {
  const ssize_t got = splice(from, nullptr, pipe_->in.get(), nullptr, pipe_->capacity,
                             SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (got < 0) {
    const bool nothing = errno == EAGAIN;
    give_back(tools.pipes);
    return nothing ? Progress::Blocked : Progress::SourceLost;
  }
  at_end_ = got == 0;
  in_pipe_ = static_cast<std::size_t>(got);
  in_bulk_ = in_pipe_ >= kCopiedAtOnce;
  moved.fetch_add(in_pipe_, std::memory_order_relaxed);
  return std::nullopt;
}

}  // namespace fairlead::userspace
