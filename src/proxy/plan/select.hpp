// Which endpoints of one service port take traffic, for one family: merging slices, the endpoint
// state table, fall-back to terminating endpoints, topology hints (spec/kube-proxy 2.4, 3.2-3.4).
// Pure. Used by compile.cpp; apart because these rules are the ones people get wrong.
#pragma once

#include <string_view>
#include <vector>

#include "proxy/model/model.hpp"
#include "proxy/plan/plan.hpp"

namespace fairlead::plan {

// An endpoint with its port, as the slices tell it.
struct Candidate {
  Backend backend;
  bool ready = false;
  bool serving = false;
  bool terminating = false;
  model::HintsId hints{};
  bool falls_back() const { return !ready && serving && terminating; }
  bool operator==(const Candidate&) const = default;
};

struct PortId {
  std::string_view name;
  Protocol protocol = Protocol::Tcp;
  IpFamily family = IpFamily::V4;
};

// All endpoints of that port in all slices, each ip:port once, ordered by the text "ip:port". Of
// two claims to one ip:port the livelier wins (a pod that took over a terminating pod's address).
std::vector<Candidate> candidates(const model::ServiceRecord& record, const PortId& port,
                                  const model::Model& model, std::string_view node_name);

enum class Topology : std::uint8_t { None, SameZone, SameNode };

// The names that count for it.
const std::vector<model::TextId>& hinted(const model::Hints& hints, Topology topology);

struct Location {
  std::string_view node;
  std::string_view zone;  // empty = unknown
};
// Hints count only if every ready endpoint has one and one of them means us.
Topology topology_of(const std::vector<Candidate>& candidates, const model::Model& model,
                     const Location& here);

struct Wanted {
  bool cluster = true;
  bool local = false;
};
struct Selection {
  Pool cluster;
  Pool local;
  bool any = false;  // some endpoint anywhere could serve: an empty pool is policy, not absence
  bool operator==(const Selection&) const = default;
};
Selection select(const std::vector<Candidate>& candidates, const Wanted& wanted,
                 const model::Model& model, const Location& here);

}  // namespace fairlead::plan
