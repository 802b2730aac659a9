#include "proxy/modes/userspace/relay.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "io/sockaddr.hpp"
#include "proxy/modes/userspace/proxy_protocol.hpp"
#include "proxy/modes/userspace/source.hpp"

namespace fairlead::userspace {
namespace {

using namespace std::chrono_literals;

// How long each attempt may take; kube-proxy's (spec/kube-proxy 7.4).
constexpr std::array kDialDeadlines = {250ms, 500ms, 1000ms, 2000ms};

int error_of(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

bool is_connected(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  return getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

void send_at_once(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

}  // namespace

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
    : context_(context), request_(std::move(request)) {}

Relay::~Relay() { context_.budget.give_connection(); }

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
  tried_.push_back(*backend);
  const io::KernelAddress address =
      io::to_kernel({.address = backend->address, .port = backend->port});
  server_ = io::UniqueFd(
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!server_) return dial_failed();
  send_at_once(server_.get());
  const IpAddress& client = request_.client_address.address;
  if (request_.keep_source && answers_pass_here(client, backend->address) &&
      !speak_as(server_.get(), client)) {
    return dial_failed();
  }
  dialed_ = std::chrono::steady_clock::now();
  deadline_ = context_.loop.call_at(dialed_ + kDialDeadlines[tried_.size() - 1], [this] {
    deadline_.reset();
    dial_failed();
  });
  if (connect(server_.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    return dial_failed();
  }
  // Only now: a socket that was never connected counts as hung up.
  if (!context_.loop.watch(server_.get(), *this, Server)) dial_failed();
}

void Relay::dial_failed() {
  if (deadline_) context_.loop.cancel(*deadline_);
  deadline_.reset();
  server_.reset();
  dial();
}

void Relay::check_dial(Event event) {
  if (tried_.size() > 1) {
    // The event may be of the socket before this one.
    const int error = error_of(server_.get());
    if (error != 0) return dial_failed();
    if (!is_connected(server_.get())) return;
  } else if (event.failed) {
    return dial_failed();
  }
  context_.loop.cancel(*deadline_);
  deadline_.reset();
  Service& service = *request_.service;
  service.counters.connected_after(std::chrono::steady_clock::now() - dialed_);
  service.chosen(request_.client_address.address, tried_.back(), context_.loop.now());
  service.opened(tried_.back());
  state_ = State::Relaying;
  if (!introduce_client()) return finish(true);
  if (!context_.loop.watch(request_.client.get(), *this, Client)) return finish(true);
  // The loop tells of what is there already, on either side.
}

// The connection is new: what it takes first fits into its buffer.
bool Relay::introduce_client() {
  if (!request_.service->plan()->proxy_protocol) return true;
  const std::string header = proxy_header(request_.client_address, request_.destination);
  const ssize_t put = send(server_.get(), header.data(), header.size(), MSG_NOSIGNAL);
  return put == static_cast<ssize_t>(header.size());
}

// ---- Relaying

void Relay::ready(Event event) {
  const Which source = event.which == Client ? Client : Server;
  if (state_ == State::Dialing && source == Server) check_dial(event);
  if (state_ != State::Relaying) return;
  if (event.failed && stream_from(source).done()) return finish(true);
  if (event.readable && !move(source, event.ended)) return;
  if (event.writable && stream_from(other(source)).holds()) move(other(source), true);
}

void Relay::resume() {
  to_resume_ = false;
  if (state_ == State::Relaying && move(Client, true)) move(Server, true);
}

Stream::Progress Relay::move_bytes(Which source, bool ended) {
  ServiceCounters& counters = request_.service->counters;
  return stream_from(source).move({.from = socket_of(source),
                                   .to = socket_of(other(source)),
                                   .ended = ended,
                                   .end_by_close = stream_from(other(source)).done()},
                                  {.pipes = context_.pipes, .buffer = context_.buffer},
                                  source == Client ? counters.bytes_in : counters.bytes_out);
}

bool Relay::move(Which source, bool ended) {
  switch (move_bytes(source, ended)) {
    case Stream::Progress::SinkLost:
      // What it has said before it went is still to be passed on.
      move_bytes(other(source), true);
      finish(true);
      return false;
    case Stream::Progress::SourceLost:
      finish(true);
      return false;
    case Stream::Progress::MoreToDo:
      if (!std::exchange(to_resume_, true)) context_.loop.again(*this);
      return true;
    case Stream::Progress::Blocked:
      break;
  }
  if (!up_.done() || !down_.done()) return true;
  finish(false);
  return false;
}

void Relay::finish(bool reset) {
  if (state_ == State::Over) return;
  if (deadline_) context_.loop.cancel(*deadline_);
  if (state_ == State::Relaying) request_.service->closed(tried_.back());
  state_ = State::Over;
  up_.give_back(context_.pipes);
  down_.give_back(context_.pipes);
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
