// The seam between the pure part of the IPVS mode and one network namespace: IPVS, ipsets, the
// dummy device, iptables. NetlinkKernel is the real one; the tests' fake keeps the same rules in
// memory. Thread rule: one caller at a time. Invariant: a commit that fails may have done part of
// its operations, in their order.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "proxy/modes/ipvs/objects.hpp"
#include "proxy/modes/ipvs/render.hpp"
#include "proxy/plan/mode.hpp"

namespace fairlead::ipvs {

struct Connections {
  std::uint32_t weight = 0;
  std::uint64_t active = 0;
  std::uint64_t inactive = 0;
  bool none() const { return active == 0 && inactive == 0; }
};
using DestinationList = std::map<Destination, Connections>;

// What is there, ours or not: all servers, all addresses of the dummy device, the entries of sets
// with our names.
struct Reading {
  State state;
  // Those that kube-proxy made, as its own sets say.
  std::set<ServerKey> of_kube_proxy;
  std::map<ServerKey, DestinationList> destinations;
};

struct AddressEvent {
  bool on_device = false;  // the dummy one
  bool added = false;
  IpAddress address;
};
struct Wake {
  bool missed = false;  // events were lost: anything may have happened
  bool timer = false;
  std::vector<AddressEvent> events;
};

struct TrafficSample {
  ServerKey server;
  std::optional<Destination> destination;  // absent: the server's own total
  std::uint64_t connections = 0, packets_in = 0, packets_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t active = 0, inactive = 0;  // of a destination
  bool operator==(const TrafficSample&) const = default;
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  virtual const std::set<std::string>& schedulers() const = 0;
  // Of all interfaces but the dummy device.
  virtual Result<std::set<IpAddress>> interface_addresses() = 0;

  // Device and sets of a family, where they are missing.
  virtual Result<plan::ApplyStats> make_scaffold(IpFamily family) = 0;
  virtual Result<void> remove_sets(IpFamily family) = 0;
  virtual Result<void> remove_device() = 0;

  virtual Result<Reading> read(IpFamily family) = 0;
  virtual Result<DestinationList> destinations(const ServerKey& server) = 0;
  // Totals of all servers of both families, in one listing; of one server's destinations.
  virtual Result<std::vector<TrafficSample>> server_traffic() = 0;
  virtual Result<std::vector<TrafficSample>> destination_traffic(const ServerKey& server) = 0;
  virtual Result<plan::ApplyStats> commit(const Operations& operations) = 0;

  virtual std::string_view rules_variant() const = 0;            // "legacy" or "nft"
  virtual Result<std::string> saved_rules(IpFamily family) = 0;  // as iptables-save
  virtual Result<plan::ApplyStats> restore_rules(IpFamily family, const std::string& text) = 0;

  // Readable when addresses of interfaces changed or the timer has run out.
  virtual int wake_fd() const = 0;
  virtual Result<Wake> woken() = 0;
  virtual Result<void> set_timer(std::chrono::seconds from_now) = 0;  // once
};

}  // namespace fairlead::ipvs
