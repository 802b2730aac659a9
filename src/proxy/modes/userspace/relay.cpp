#include "proxy/modes/userspace/relay.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/proxy_protocol.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

// How long each attempt may take; kube-proxy's (spec/kube-proxy 7.4).
constexpr std::array kDialDeadlines = {250ms, 500ms, 1000ms, 2000ms};
constexpr int kPipeBytes = 256 * 1024;
constexpr std::size_t kIdlePipes = 64;
// Turns of one direction before others get theirs.
constexpr int kTurns = 16;

void send_at_once(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

std::optional<Pipe> PipePool::take() {
  if (!idle_.empty()) {
    Pipe out = std::move(idle_.back());
    idle_.pop_back();
    return out;
  }
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return std::nullopt;
  Pipe out{.out = io::UniqueFd(ends[0]), .in = io::UniqueFd(ends[1])};
  // Refused when the user has many pipes already; then it stays at the default.
  fcntl(out.in.get(), F_SETPIPE_SZ, kPipeBytes);
  out.capacity = static_cast<std::size_t>(fcntl(out.in.get(), F_GETPIPE_SZ));
  return out;
}

void PipePool::give_back(Pipe pipe) {
  if (idle_.size() < kIdlePipes) idle_.push_back(std::move(pipe));
}

void reset_connection(io::UniqueFd socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void Relay::start(RelayContext& context, Request request) {
  context.relays.push_back(std::make_unique<Relay>(context, std::move(request)));
  Relay& relay = *context.relays.back();
  relay.place_ = std::prev(context.relays.end());
  relay.dial();
}

Relay::Relay(RelayContext& context, Request request)
    : context_(context), request_(std::move(request)) {
  context_.open->fetch_add(1, std::memory_order_relaxed);
  send_at_once(request_.client.get());
}

Relay::~Relay() { context_.open->fetch_sub(1, std::memory_order_relaxed); }

// ---- Dialing

void Relay::dial() {
  const auto backend = request_.service->choose(request_.pool, request_.client_address.address,
                                                tried_, context_.loop.now());
  if (!backend || tried_.size() == kDialDeadlines.size()) {
    request_.service->counters.refused.fetch_add(1, std::memory_order_relaxed);
    return finish(true);
  }
  if (!tried_.empty()) {
    request_.service->counters.retries.fetch_add(1, std::memory_order_relaxed);
  }
  backend_ = backend;
  tried_.push_back(*backend);
  const io::KernelAddress address =
      io::to_kernel({.address = backend->address, .port = backend->port});
  server_ = io::UniqueFd(
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!server_ || !context_.loop.watch(server_.get(), *this)) return dial_failed();
  send_at_once(server_.get());
  dialed_ = std::chrono::steady_clock::now();
  deadline_ = context_.loop.call_at(dialed_ + kDialDeadlines[tried_.size() - 1], [this] {
    deadline_.reset();
    dial_failed();
  });
  if (connect(server_.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    dial_failed();
  }
}

void Relay::dial_failed() {
  if (deadline_) context_.loop.cancel(*deadline_);
  deadline_.reset();
  server_.reset();
  dial();
}

void Relay::check_dial() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(server_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return dial_failed();
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof peer;
  if (getpeername(server_.get(), reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) {
    return;  // still under way
  }
  context_.loop.cancel(*deadline_);
  deadline_.reset();
  Service& service = *request_.service;
  service.counters.connected_after(std::chrono::steady_clock::now() - dialed_);
  service.chosen(request_.client_address.address, *backend_, context_.loop.now());
  service.opened(*backend_);
  state_ = State::Relaying;
  if (!introduce_client()) return finish(true);
  if (!context_.loop.watch(request_.client.get(), *this)) return finish(true);
  pump_both();
}

// The connection is new: what it takes first fits into its buffer.
bool Relay::introduce_client() {
  if (!request_.service->plan()->proxy_protocol) return true;
  const std::string header = proxy_header(request_.client_address, request_.destination);
  const ssize_t put = send(server_.get(), header.data(), header.size(), MSG_NOSIGNAL);
  return put == static_cast<ssize_t>(header.size());
}

// ---- Relaying

void Relay::ready() {
  if (state_ == State::Dialing) return check_dial();
  if (state_ == State::Relaying) pump_both();
}

void Relay::pump_both() {
  ServiceCounters& counters = request_.service->counters;
  const Progress up = pump(up_, request_.client.get(), server_.get(), counters.bytes_in);
  if (up == Progress::Failed) return finish(true);
  const Progress down = pump(down_, server_.get(), request_.client.get(), counters.bytes_out);
  if (down == Progress::Failed) return finish(true);
  if (up_.done && down_.done) return finish(false);
  if (up == Progress::MoreToDo || down == Progress::MoreToDo) context_.loop.again(*this);
}

// Moves what can be moved now. Reads only into an empty pipe: then EAGAIN means that the source has
// nothing, never that the pipe is full.
Relay::Progress Relay::pump(Flow& flow, int from, int to, std::atomic<std::uint64_t>& bytes) {
  for (int turn = 0; turn < kTurns; ++turn) {
    if (flow.done) return Progress::Blocked;
    if (flow.in_pipe == 0 && !flow.ended) {
      if (!flow.pipe) flow.pipe = context_.pipes.take();
      if (!flow.pipe) return Progress::Failed;
      const ssize_t got = splice(from, nullptr, flow.pipe->in.get(), nullptr, flow.pipe->capacity,
                                 SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
      if (got < 0 && errno == EAGAIN) {
        context_.pipes.give_back(*std::exchange(flow.pipe, std::nullopt));
        return Progress::Blocked;
      }
      if (got < 0) return Progress::Failed;
      flow.ended = got == 0;
      flow.in_pipe = static_cast<std::size_t>(got);
      bytes.fetch_add(flow.in_pipe, std::memory_order_relaxed);
    }
    while (flow.in_pipe > 0) {
      const ssize_t put = splice(flow.pipe->out.get(), nullptr, to, nullptr, flow.in_pipe,
                                 SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
      if (put < 0 && errno == EAGAIN) return Progress::Blocked;
      if (put <= 0) return Progress::Failed;
      flow.in_pipe -= static_cast<std::size_t>(put);
    }
    if (flow.ended) {
      if (flow.pipe) context_.pipes.give_back(*std::exchange(flow.pipe, std::nullopt));
      shutdown(to, SHUT_WR);
      flow.done = true;
    }
  }
  return Progress::MoreToDo;
}

void Relay::finish(bool reset) {
  if (state_ == State::Over) return;
  if (deadline_) context_.loop.cancel(*deadline_);
  if (state_ == State::Relaying) request_.service->closed(*backend_);
  state_ = State::Over;
  if (reset) {
    reset_connection(std::move(request_.client));
    if (server_) reset_connection(std::move(server_));
  }
  request_.client.reset();
  server_.reset();
  std::unique_ptr<Relay> self = std::move(*place_);
  context_.relays.erase(place_);
  context_.loop.let_go(std::move(self));
}

}  // namespace fairlead::userspace
