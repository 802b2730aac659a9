// Explain: what the plan does to one packet, in words. Pure: it reads the Plan that the modes
// program, so its answer is what the kernel will do to the first packet of a connection (later
// packets follow conntrack; an affinity entry learned by the kernel narrows the endpoints to one).
// Packet tests hold every mode to these answers. Not here: why an endpoint is not in its pool
// (choice.hpp), and getting the plan from manifests or a live cluster (inspect/).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

// The first packet of a connection as it reaches this node.
struct Packet {
  Protocol protocol = Protocol::Tcp;
  IpAddress source;
  SocketAddress destination;
  std::string input_interface;  // empty: sent by the node itself
};

// What the plan does not hold: the node's own addresses, loopback included, and what they do.
struct NodeAddresses {
  std::vector<IpAddress> local;
  // Node ports answer on 127.0.0.0/8: the iptables mode's way, if it is told so.
  bool localhost_node_ports = false;
  bool contains(const IpAddress& address) const;
};

enum class Verdict : std::uint8_t {
  Forward,      // to one of `endpoints`
  Reject,       // a client sees "connection refused"
  Drop,         // silence
  NotAService,  // nothing of the plan matches: the packet goes where the routes say
};
std::string_view to_string(Verdict verdict);

struct EndpointShare {
  Backend backend;
  double probability = 0;  // of a new connection without a learned affinity
  bool masqueraded = false;
  bool operator==(const EndpointShare&) const = default;
};

struct Explanation {
  Verdict verdict = Verdict::NotAService;
  std::optional<PlanKey> service;        // which service port caught it
  std::optional<Frontend> frontend;      // through which of its frontends
  std::vector<EndpointShare> endpoints;  // with Forward
  Target target = Target::Reject;        // with `frontend`: the pool, or what is done instead
  std::optional<std::chrono::seconds> affinity;
  std::string reason;  // one sentence: why this verdict, and why masqueraded or not
  bool operator==(const Explanation&) const = default;
};

Explanation explain(const Plan& plan, const Packet& packet, const NodeAddresses& node);

std::string_view name_of(FrontendKind kind);  // "cluster IP", "node port", ...

// For people: a few lines. For programs: one JSON object.
std::string to_text(const Explanation& explanation);
std::string to_json(const Explanation& explanation);

}  // namespace fairlead::plan
