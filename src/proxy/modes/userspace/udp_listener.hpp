// UdpListener: the datagrams of one service port that came to one socket of ours. Each client
// address is a flow with a socket of its own towards its endpoint; it ends when it was idle for a
// while, when the endpoint is gone, or when the endpoint's machine says that nobody listens.
// Datagrams are received and sent many at a time.
//
// Loop thread only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "proxy/modes/userspace/budget.hpp"
#include "proxy/modes/userspace/event_loop.hpp"
#include "proxy/modes/userspace/service.hpp"

namespace fairlead::userspace {

// Room for one batch of datagrams; one for each loop.
class DatagramRoom {
 public:
  static constexpr std::size_t kBatch = 16;
  static constexpr std::size_t kMostBytes = 65536;
  DatagramRoom() : bytes_(kBatch * kMostBytes) {}
  char* slot(std::size_t i) { return bytes_.data() + i * kMostBytes; }

 private:
  std::vector<char> bytes_;
};

struct UdpContext {
  EventLoop& loop;
  DatagramRoom& room;
  Budget& budget;
  std::chrono::milliseconds idle;
};

class UdpListener final : public Watched {
 public:
  // The socket is bound and delivers the addresses datagrams were sent to (receive_destinations).
  // `choose`: which pool a client is led to that sent to the local address; nothing: none.
  using Choose =
      std::function<std::optional<PoolKind>(const IpAddress& client, const IpAddress& local)>;
  // `keeps_source`: whether endpoints are to see the client's address, if the routes allow it.
  using KeepsSource = std::function<bool(const IpAddress& client)>;
  UdpListener(UdpContext context, io::UniqueFd socket, std::shared_ptr<Service> service,
              Choose choose, KeepsSource keeps_source);
  ~UdpListener() override;
  Result<void> start() { return context_.loop.watch(socket_.get(), *this); }
  // Flows there are go on. (Another process may have the socket: closing it would not be enough.)
  void take_no_more() { context_.loop.unwatch(socket_.get()); }
  int socket() const { return socket_.get(); }
  void ready(Event) override { resume(); }
  void resume() override;
  // Ends flows to endpoints that are in no pool of the service any more.
  void review();

 private:
  class Flow;
  using Flows = std::list<std::unique_ptr<Flow>>;  // by last use, the newest at the end
  friend class Flow;

  struct ClientHash {
    std::size_t operator()(const SocketAddress& a) const noexcept;
  };
  Flow* flow_of(const SocketAddress& client, const IpAddress& local);
  io::UniqueFd connected(const plan::Backend& backend, const IpAddress& client) const;
  void touch(Flow& flow);
  void end(Flow& flow);
  void sweep();

  UdpContext context_;
  io::UniqueFd socket_;
  std::shared_ptr<Service> service_;
  Choose choose_;
  KeepsSource keeps_source_;
  Flows flows_;
  std::unordered_map<SocketAddress, Flows::iterator, ClientHash> by_client_;
  std::optional<EventLoop::Timer> sweep_;
};

// Makes recvmsg tell the local address of each datagram (IP_PKTINFO, IPV6_RECVPKTINFO).
void receive_destinations(int socket, IpFamily family);

}  // namespace fairlead::userspace
