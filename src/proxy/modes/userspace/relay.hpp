// Relay: one TCP connection of a client and the one to its endpoint, bytes moved between them by
// splice(2) through a pipe, so that they never enter our memory. Half-closes and resets are carried
// through; a slow reader stops the other side's reading.
//
// A relay owns its two sockets; a pipe is lent to it only while bytes are on their way, so an idle
// connection costs two descriptors and this object. It ends itself (EventLoop::let_go) when both
// directions are done. Loop thread only.
// Not here: accepting, and which endpoints there are (Service).
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/modes/userspace/event_loop.hpp"
#include "proxy/modes/userspace/service.hpp"

namespace fairlead::userspace {

// A pipe with its capacity, empty when it is not in use.
struct Pipe {
  io::UniqueFd out, in;  // read end, write end
  std::size_t capacity = 0;
};

// Pipes of one loop, kept for reuse.
class PipePool {
 public:
  std::optional<Pipe> take();  // nullopt: no descriptors left
  void give_back(Pipe pipe);   // must be empty

 private:
  std::vector<Pipe> idle_;
};

class Relay;

// What all relays of a loop share.
struct RelayContext {
  EventLoop& loop;
  PipePool pipes;
  std::shared_ptr<std::atomic<std::size_t>> open;  // relays alive, in all loops
  std::list<std::unique_ptr<Relay>> relays{};      // of this loop
};

class Relay final : public Watched {
 public:
  struct Request {
    io::UniqueFd client;
    SocketAddress client_address;
    SocketAddress destination;  // where the client wanted to go
    std::shared_ptr<Service> service;
    PoolKind pool = PoolKind::Cluster;
  };
  // The context owns the relay until it is done.
  static void start(RelayContext& context, Request request);

  Relay(RelayContext& context, Request request);
  ~Relay() override;
  void ready() override;

 private:
  enum class State : std::uint8_t { Dialing, Relaying, Over };
  // One direction.
  struct Flow {
    std::optional<Pipe> pipe;
    std::size_t in_pipe = 0;
    bool ended = false;  // the source has sent its end
    bool done = false;   // and it was passed on
  };
  enum class Progress : std::uint8_t { Blocked, MoreToDo, Failed };

  void dial();
  void dial_failed();
  void check_dial();
  bool introduce_client();
  void pump_both();
  Progress pump(Flow& flow, int from, int to, std::atomic<std::uint64_t>& bytes);
  void finish(bool reset);

  RelayContext& context_;
  std::list<std::unique_ptr<Relay>>::iterator place_;
  Request request_;
  io::UniqueFd server_;
  State state_ = State::Dialing;
  std::vector<plan::Backend> tried_;
  std::optional<plan::Backend> backend_;
  Time dialed_{};
  std::optional<EventLoop::Timer> deadline_;
  Flow up_, down_;  // from the client, to the client
};

// Ends a connection at once: the peer sees a reset.
void reset_connection(io::UniqueFd socket);

}  // namespace fairlead::userspace
