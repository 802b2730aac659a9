// Relay: one TCP connection of a client and the one to its endpoint, and the bytes between them
// (Stream). Half-closes and resets are carried through.
//
// A relay owns its two sockets; an idle connection costs two descriptors and this object. It ends
// itself (EventLoop::let_go) when both directions are done. Loop thread only.
// Not here: accepting, and which endpoints there are (Service).
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/modes/userspace/budget.hpp"
#include "proxy/modes/userspace/event_loop.hpp"
#include "proxy/modes/userspace/service.hpp"
#include "proxy/modes/userspace/stream.hpp"

namespace fairlead::userspace {

class Relay;

// What all relays of a loop share.
struct RelayContext {
  EventLoop& loop;
  Budget& budget;
  PipePool pipes;
  std::vector<char> buffer = std::vector<char>(kCopiedAtOnce);
  std::list<std::unique_ptr<Relay>> relays{};  // of this loop
};

class Relay final : public Watched {
 public:
  struct Request {
    io::UniqueFd client;
    SocketAddress client_address;
    SocketAddress destination;  // where the client wanted to go
    std::shared_ptr<Service> service;
    PoolKind pool = PoolKind::Cluster;
    bool keep_source = false;  // the plan does; the routes decide
  };
  // The context owns the relay until it is done. A connection was taken from the budget for it,
  // which it gives back.
  static void start(RelayContext& context, Request request);

  Relay(RelayContext& context, Request request);
  ~Relay() override;
  void ready(Event event) override;
  void resume() override;
  const SocketAddress& destination() const { return request_.destination; }

 private:
  enum class State : std::uint8_t { Dialing, Relaying, Over };
  enum Which : unsigned { Client, Server };  // sockets, for the loop
  static Which other(Which which) { return which == Client ? Server : Client; }
  int socket_of(Which which) const { return (which == Client ? request_.client : server_).get(); }
  Stream& stream_from(Which which) { return which == Client ? up_ : down_; }

  void dial();
  void dial_failed();
  void check_dial(Event event);
  bool introduce_client();
  // What `source` sends, on to the other; false when that was the end of the relay.
  bool move(Which source, bool ended);
  Stream::Progress move_bytes(Which source, bool ended);
  void finish(bool reset);

  RelayContext& context_;
  std::list<std::unique_ptr<Relay>>::iterator place_;
  Request request_;
  io::UniqueFd server_;
  State state_ = State::Dialing;
  std::vector<plan::Backend> tried_;  // the last one is dialed, or connected
  Time dialed_{};
  std::optional<EventLoop::Timer> deadline_;
  Stream up_, down_;  // from the client, to the client
  bool to_resume_ = false;
};

// Ends a connection at once: the peer sees a reset.
void reset_connection(io::UniqueFd socket);

}  // namespace fairlead::userspace
