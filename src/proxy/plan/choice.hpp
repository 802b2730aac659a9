// Why each endpoint of a service port is in its pool or not: the rules of select.hpp told
// backwards, for `explain`. Pure. Invariant: the endpoints whose fate is Used are exactly the pool
// that select() makes of the same candidates; a test holds the two together.
#pragma once

#include <string>
#include <vector>

#include "proxy/plan/select.hpp"

namespace fairlead::plan {

enum class Fate : std::uint8_t {
  Used,
  NotReady,         // and does not serve while it ends
  Terminating,      // serves still, but ready ones go first
  ReservedForZone,  // hints: for clients in other zones
  ReservedForNode,  // hints: for clients on other nodes
  OnAnotherNode,    // policy Local
};
std::string_view to_string(Fate fate);  // "not ready", ...

struct EndpointFate {
  Backend backend;
  Fate fate = Fate::Used;
  std::vector<std::string> reserved_for;  // names of zones or nodes, with the two hints
  bool operator==(const EndpointFate&) const = default;
};

struct Choice {
  Topology topology = Topology::None;   // the hints that were obeyed
  bool fell_back = false;               // nobody is ready: those that end but serve still are used
  std::vector<EndpointFate> endpoints;  // in the order of `candidates`
  bool operator==(const Choice&) const = default;
};

enum class PoolKind : bool { Cluster, Local };
Choice explain_choice(const std::vector<Candidate>& candidates, PoolKind kind,
                      const model::Model& model, const Location& here);

}  // namespace fairlead::plan
