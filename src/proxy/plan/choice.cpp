#include "proxy/plan/choice.hpp"

#include <algorithm>

namespace fairlead::plan {
namespace {

std::vector<std::string> reserved_for(const Candidate& candidate, const model::Model& model,
                                      Topology topology) {
  std::vector<std::string> out;
  for (const model::TextId id : hinted(model.hints(candidate.hints), topology)) {
    out.emplace_back(model.text(id));
  }
  std::ranges::sort(out);
  return out;
}

EndpointFate fate_of(const Candidate& candidate, const Choice& choice, PoolKind kind,
                     const model::Model& model, const Location& here) {
  EndpointFate out{.backend = candidate.backend};
  if (!candidate.ready && !candidate.falls_back()) {
    out.fate = Fate::NotReady;
  } else if (kind == PoolKind::Local && !candidate.backend.local) {
    out.fate = Fate::OnAnotherNode;
  } else if (!candidate.ready) {
    out.fate = choice.fell_back ? Fate::Used : Fate::Terminating;
  } else if (choice.topology != Topology::None) {
    const auto names = reserved_for(candidate, model, choice.topology);
    const bool by_node = choice.topology == Topology::SameNode;
    if (std::ranges::find(names, by_node ? here.node : here.zone) == names.end()) {
      out.fate = by_node ? Fate::ReservedForNode : Fate::ReservedForZone;
      out.reserved_for = names;
    }
  }
  return out;
}

}  // namespace

std::string_view to_string(Fate fate) {
  switch (fate) {
    case Fate::Used:
      return "used";
    case Fate::NotReady:
      return "not ready";
    case Fate::Terminating:
      return "terminating, and others are ready";
    case Fate::ReservedForZone:
      return "reserved by its hints for other zones";
    case Fate::ReservedForNode:
      return "reserved by its hints for other nodes";
    case Fate::OnAnotherNode:
      return "not here, and the policy is Local";
  }
  return "?";
}

Choice explain_choice(const std::vector<Candidate>& candidates, PoolKind kind,
                      const model::Model& model, const Location& here) {
  Choice out;
  const auto in_pool = [&](const Candidate& c) {
    return kind == PoolKind::Cluster || c.backend.local;
  };
  if (kind == PoolKind::Cluster) out.topology = topology_of(candidates, model, here);
  const bool any_ready =
      std::ranges::any_of(candidates, [&](const Candidate& c) { return c.ready && in_pool(c); });
  out.fell_back = !any_ready && std::ranges::any_of(candidates, [&](const Candidate& c) {
    return c.falls_back() && in_pool(c);
  });
  for (const Candidate& candidate : candidates) {
    out.endpoints.push_back(fate_of(candidate, out, kind, model, here));
  }
  return out;
}

}  // namespace fairlead::plan
