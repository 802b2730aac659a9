// What the IPVS mode puts into the kernel, as values: virtual servers with their destinations,
// entries of the ipsets around them, and addresses of the dummy device; and the operations that
// lead from one state to another. Ordered and comparable, so that a change is a difference of two
// States. Not here: what a plan means in these (render.hpp), messages (netlink_kernel.hpp).
//
// Invariant: the device and the sets bear kube-proxy's names where they are the same thing, so that
// a node can pass from one to the other without a second copy.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip.hpp"

namespace fairlead::ipvs {

inline constexpr std::string_view kDevice = "kube-ipvs0";

// ---- virtual servers ----------------------------------------------------------------------------

// Reached by address, protocol and port; or, with a firewall mark, by that alone.
struct ServerKey {
  IpFamily family = IpFamily::V4;
  std::uint32_t mark = 0;
  IpAddress address;
  Port port{};
  Protocol protocol = Protocol::Tcp;
  std::string to_string() const;  // "TCP 10.96.0.1:80", "FWM 0x5fa00001"
  auto operator<=>(const ServerKey&) const = default;
};

// Flags of a scheduler, by the kernel's numbers.
inline constexpr std::uint32_t kFallback = 0x08;
inline constexpr std::uint32_t kHashPort = 0x10;

struct Scheduling {
  std::string name = "rr";
  std::uint32_t flags = 0;
  auto operator<=>(const Scheduling&) const = default;
};

struct Destination {
  IpAddress address;
  Port port{};
  auto operator<=>(const Destination&) const = default;
};

struct Server {
  Scheduling scheduling;
  std::uint32_t persistence = 0;                      // seconds, 0 = none
  std::map<Destination, std::uint32_t> destinations;  // their weights
  bool operator==(const Server&) const = default;
};

// ---- sets ---------------------------------------------------------------------------------------

enum class SetId : std::uint8_t {
  LoopBack,      // a local endpoint reaching itself: always masqueraded
  ClusterIp,     // masqueraded for clients that are no pods
  Masquerade,    // masqueraded for everybody
  Firewalled,    // has source ranges
  SourceRanges,  // who may use a firewalled one
  Servers,       // every virtual server of ours; also the record of what is ours
  Drop,          // new connections are dropped
  Reject,        // new connections are refused
  ShortCut,      // clients of this node go to the server of this mark
  Addresses,     // on the dummy device: nothing but virtual servers answers there
  HealthCheck,   // ports where load balancers ask this node: let in whatever else is refused
};
inline constexpr std::array kSets = {SetId::LoopBack,   SetId::ClusterIp,    SetId::Masquerade,
                                     SetId::Firewalled, SetId::SourceRanges, SetId::Servers,
                                     SetId::Drop,       SetId::Reject,       SetId::ShortCut,
                                     SetId::Addresses,  SetId::HealthCheck};

struct SetSchema {
  std::string_view name;  // for IPv4
  std::string_view type;
  std::uint8_t revision = 0;  // of the type: the first with skbinfo, which kernels have since 3.19
  bool marks = false;
};
const SetSchema& schema(SetId set);
std::string set_name(SetId set, IpFamily family);  // "KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"
std::string set_name(std::string_view for_ipv4, IpFamily family);

// Sets that only kube-proxy's IPVS mode has: they say which virtual servers it made on addresses
// that are not the device's, and which ports it serves on the node's own.
struct KubeProxySet {
  std::string_view name;
  bool of_ports = false;  // on any address of the node
  Protocol protocol = Protocol::Tcp;
};
inline constexpr std::array kKubeProxySets = {
    KubeProxySet{.name = "KUBE-EXTERNAL-IP"},
    KubeProxySet{.name = "KUBE-EXTERNAL-IP-LOCAL"},
    KubeProxySet{.name = "KUBE-LOAD-BALANCER"},
    KubeProxySet{.name = "KUBE-LOAD-BALANCER-LOCAL"},
    KubeProxySet{.name = "KUBE-LOAD-BALANCER-SOURCE-IP"},
    KubeProxySet{.name = "KUBE-NODE-PORT-TCP", .of_ports = true},
    KubeProxySet{.name = "KUBE-NODE-PORT-LOCAL-TCP", .of_ports = true},
    KubeProxySet{.name = "KUBE-NODE-PORT-UDP", .of_ports = true, .protocol = Protocol::Udp},
    KubeProxySet{.name = "KUBE-NODE-PORT-LOCAL-UDP", .of_ports = true, .protocol = Protocol::Udp},
    KubeProxySet{.name = "KUBE-NODE-PORT-SCTP-HASH"},
    KubeProxySet{.name = "KUBE-NODE-PORT-LOCAL-SCTP-HASH"}};
// Above what kube-proxy allows: a cluster may have more services than 65536 ports.
inline constexpr std::uint32_t kMostEntries = 1U << 20U;
inline constexpr std::uint32_t kFirstBuckets = 1024;
// As ipset's users write it after "create".
std::string definition(SetId set, IpFamily family);

struct SetEntry {
  SetId set = SetId::Servers;
  IpAddress address;                  // HealthCheck: any, of the family
  Protocol protocol = Protocol::Tcp;  // not of Addresses and HealthCheck
  Port port{};                        // not of Addresses
  IpPrefix source;                    // LoopBack (a host) and SourceRanges
  std::uint32_t mark = 0;             // ShortCut
  auto operator<=>(const SetEntry&) const = default;
};

// ---- all of it ----------------------------------------------------------------------------------

struct State {
  std::map<ServerKey, Server> servers;
  std::set<SetEntry> entries;
  std::set<IpAddress> addresses;
  bool operator==(const State&) const = default;
};

struct PutServer {
  ServerKey key;
  Scheduling scheduling;
  std::uint32_t persistence = 0;
  bool exists = false;  // changed in place
  bool operator==(const PutServer&) const = default;
};
struct DeleteServer {
  ServerKey key;
  bool operator==(const DeleteServer&) const = default;
};
struct PutDestination {
  ServerKey server;
  Destination destination;
  std::uint32_t weight = 1;
  bool exists = false;
  bool operator==(const PutDestination&) const = default;
};
struct DeleteDestination {
  ServerKey server;
  Destination destination;
  bool operator==(const DeleteDestination&) const = default;
};
struct AddEntry {
  SetEntry entry;
  bool operator==(const AddEntry&) const = default;
};
struct DeleteEntry {
  SetEntry entry;
  bool operator==(const DeleteEntry&) const = default;
};
struct BindAddress {
  IpAddress address;
  bool operator==(const BindAddress&) const = default;
};
struct UnbindAddress {
  IpAddress address;
  bool operator==(const UnbindAddress&) const = default;
};
using Operation = std::variant<PutServer, DeleteServer, PutDestination, DeleteDestination, AddEntry,
                               DeleteEntry, BindAddress, UnbindAddress>;
using Operations = std::vector<Operation>;

std::string to_string(const SetEntry& entry);  // "KUBE-CLUSTER-IP 10.96.0.1,tcp:80"
std::string to_string(const Operation& operation);

// From `before` to `after`, in an order in which new connections meet the old or the new state: a
// server has its destinations before packets can reach it, and is unreachable before it goes.
// A destination that leaves a server which stays is deleted; who wants its connections to end in
// peace keeps it in `after` with weight 0.
Operations difference(const State& before, const State& after);

}  // namespace fairlead::ipvs
