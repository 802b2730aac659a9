// Loop: one thread of the forwarder, with its own sockets, its connections and flows, and its copy
// of the routes. The kernel spreads what comes over the loops' sockets.
//
// Owner: the Forwarder. Thread rule: everything but the constructor, the destructor and post() is
// called on the loop's own thread. Not here: which sockets there are to be, and when.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>

#include "proxy/modes/userspace/event_loop.hpp"
#include "proxy/modes/userspace/locality.hpp"
#include "proxy/modes/userspace/places.hpp"
#include "proxy/modes/userspace/relay.hpp"
#include "proxy/modes/userspace/sockets.hpp"
#include "proxy/modes/userspace/source.hpp"
#include "proxy/modes/userspace/udp_listener.hpp"

namespace fairlead::userspace {

// Of each family; empty where rules have told already.
using Localities = std::map<IpFamily, std::shared_ptr<const Locality>>;
// Of each family; empty: endpoints see the node.
using SourcePolicies = std::map<IpFamily, std::shared_ptr<const SourcePolicy>>;

class Loop {
 public:
  Loop(std::unique_ptr<EventLoop> loop, Budget& budget, std::size_t pipes,
       std::chrono::milliseconds udp_idle);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  void post(std::function<void()> work) { loop_->post(std::move(work)); }

  // Nothing is taken from any socket before begin(), nor after let_go().
  void accept_at(io::UniqueFd socket, const TcpEntry& entry);
  void begin();
  void let_go();
  Sockets copies() const;
  std::set<IpAddress> addresses_in_use() const;  // by connections
  // Of sockets at places.
  void close_tcp(const TcpEntry& entry);
  void set_filter(const TcpEntry& entry, const Filter& filter);
  void set_localities(Localities localities) { localities_ = std::move(localities); }
  void set_sources(SourcePolicies sources) { sources_ = std::move(sources); }
  // All that go are forgotten before others are set: a place may pass from one to another.
  void forget_routes(const plan::ServicePlan& plan);
  void set_routes(const std::shared_ptr<Service>& service);
  void open_udp(const UdpEntry& entry, const Way& way, io::UniqueFd socket,
                std::shared_ptr<Service> service);
  void close_udp(const UdpEntry& entry);
  void review_udp(const plan::PlanKey& key);

 private:
  class Acceptor;
  struct Route {
    std::shared_ptr<Service> service;
    Way way;
    SourceRule source;
  };
  struct PlaceHash {
    std::size_t operator()(const SocketAddress& a) const noexcept {
      return std::hash<IpAddress>{}(a.address) * 31 + number(a.port);
    }
  };
  const Route* find(const SocketAddress& destination, bool of_place) const;
  std::optional<PoolKind> pool_for(const Way& way, const IpAddress& client) const;
  bool keeps_source(const SourceRule& rule, const IpAddress& client) const;
  void take(io::UniqueFd client, const TcpEntry& entry, const SocketAddress& peer);

  std::unique_ptr<EventLoop> loop_;
  RelayContext relays_;
  DatagramRoom room_;
  std::chrono::milliseconds udp_idle_;
  std::unordered_map<SocketAddress, Route, PlaceHash> routes_;  // of TCP
  std::map<TcpEntry, std::vector<std::unique_ptr<Acceptor>>> acceptors_;
  std::unordered_map<IpAddress, std::size_t> own_addresses_;  // of services, and their frontends
  Localities localities_;
  SourcePolicies sources_;
  std::map<UdpEntry, std::vector<std::unique_ptr<UdpListener>>> udp_;
  bool begun_ = false;
  std::thread thread_;  // last: runs only while all of the above is there
};

}  // namespace fairlead::userspace
