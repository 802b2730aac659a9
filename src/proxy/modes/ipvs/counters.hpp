// What IPVS has counted for services and endpoints, read at a cost that follows the traffic: one
// listing of all virtual servers, and the destinations only of servers on which something happened
// since they were last read. A destination's numbers cannot move without its server's, but for
// connections that time out; therefore servers with open connections are read each time. The kernel
// itself adds its numbers up every two seconds, a server's not at the moment of its destinations':
// what moved is read again until it was quiet for kSettling.
//
// At most kMostListings servers have their destinations read at a time, those that wait longest
// first: services are always current, endpoints are unless more servers than that are busy.
// Owner: IpvsMode; its thread rule. Does not know which server is whose: IpvsMode tells it.
#pragma once

#include <chrono>
#include <map>
#include <vector>

#include "base/clock.hpp"
#include "proxy/modes/ipvs/kernel.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::ipvs {

inline constexpr std::size_t kMostListings = 2000;
inline constexpr std::chrono::seconds kSettling{5};

class Counters {
 public:
  void set_owner(const ServerKey& server, const plan::PlanKey& service);
  // Unless it is another service's by now.
  void unset_owner(const ServerKey& server, const plan::PlanKey& service);
  // Its destinations are not those that were read.
  void changed(const ServerKey& server);
  void clear();

  // As plan::Mode::traffic(): several servers are one service's, each address and node port and the
  // short cut.
  Result<std::vector<plan::Traffic>> read(Kernel& kernel, MonoTime now);

 private:
  struct Entry {
    TrafficSample total;
    std::vector<TrafficSample> endpoints;  // that were chosen at least once
    std::uint64_t read_in = 0;             // which read() its endpoints are of; 0: too old
    MonoTime moved{}, listed{};            // when its total did last, when its endpoints were
    bool behind = false;
    bool open = false;  // some endpoint has connections
  };
  using Entries = std::map<ServerKey, Entry>;

  Result<void> catch_up(Kernel& kernel, MonoTime now);
  std::vector<plan::Traffic> sums() const;

  std::map<ServerKey, plan::PlanKey> owners_;
  Entries entries_;
  std::uint64_t reads_ = 0;
};

}  // namespace fairlead::ipvs
