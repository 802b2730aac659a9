#include "proxy/plan/select.hpp"

#include <algorithm>
#include <tuple>

namespace fairlead::plan {
namespace {

// Higher is livelier; total, so that the order in which slices arrived cannot matter.
auto liveliness(const Candidate& c) {
  return std::tuple(!c.terminating, c.ready, c.serving, c.backend.local, c.hints);
}

// Each ip:port once, keeping the liveliest.
void merge_duplicates(std::vector<Candidate>& all) {
  const auto place = [](const Candidate& c) {
    return std::pair(c.backend.address, c.backend.port);
  };
  std::ranges::sort(all, [&](const Candidate& a, const Candidate& b) {
    if (place(a) != place(b)) return place(a) < place(b);
    return liveliness(a) > liveliness(b);
  });
  const auto surplus = std::ranges::unique(all, std::ranges::equal_to{}, place);
  all.erase(surplus.begin(), surplus.end());
}

void order_by_text(std::vector<Candidate>& all) {
  std::vector<std::pair<std::string, std::size_t>> keys;
  keys.reserve(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Backend& b = all[i].backend;
    keys.emplace_back(SocketAddress{.address = b.address, .port = b.port}.to_string(), i);
  }
  std::ranges::sort(keys);
  std::vector<Candidate> ordered;
  ordered.reserve(all.size());
  for (const auto& [text, i] : keys) ordered.push_back(all[i]);
  all = std::move(ordered);
}

template <class Keep>
Pool pool_of(const std::vector<Candidate>& candidates, Keep keep) {
  Pool out;
  out.reserve(static_cast<std::size_t>(std::ranges::count_if(candidates, keep)));
  for (const Candidate& c : candidates) {
    if (keep(c)) out.push_back(c.backend);
  }
  return out;
}

bool names(const model::Model& model, const std::vector<model::TextId>& ids,
           std::string_view text) {
  return std::ranges::any_of(ids, [&](model::TextId id) { return model.text(id) == text; });
}

std::string_view here_for(const Location& here, Topology topology) {
  return topology == Topology::SameNode ? here.node : here.zone;
}

bool topology_holds(const std::vector<Candidate>& candidates, const model::Model& model,
                    const Location& here, Topology topology) {
  bool means_us = false;
  for (const Candidate& c : candidates) {
    if (!c.ready) continue;
    const auto& ids = hinted(model.hints(c.hints), topology);
    if (ids.empty()) return false;
    means_us = means_us || names(model, ids, here_for(here, topology));
  }
  return means_us;
}

Pool cluster_pool(const std::vector<Candidate>& candidates, const model::Model& model,
                  const Location& here) {
  const Topology topology = topology_of(candidates, model, here);
  Pool ready = pool_of(candidates, [&](const Candidate& c) {
    return c.ready &&
           (topology == Topology::None ||
            names(model, hinted(model.hints(c.hints), topology), here_for(here, topology)));
  });
  if (!ready.empty()) return ready;
  return pool_of(candidates, [](const Candidate& c) { return c.falls_back(); });
}

Pool local_pool(const std::vector<Candidate>& candidates) {
  Pool ready = pool_of(candidates, [](const Candidate& c) { return c.backend.local && c.ready; });
  if (!ready.empty()) return ready;
  return pool_of(candidates, [](const Candidate& c) { return c.backend.local && c.falls_back(); });
}

}  // namespace

const std::vector<model::TextId>& hinted(const model::Hints& hints, Topology topology) {
  return topology == Topology::SameNode ? hints.nodes : hints.zones;
}

std::vector<Candidate> candidates(const model::ServiceRecord& record, const PortId& port,
                                  const model::Model& model, std::string_view node_name) {
  std::vector<Candidate> out;
  for (const auto& [name, slice] : record.slices) {
    if (slice.family != port.family) continue;
    for (const model::SlicePort& slice_port : slice.ports) {
      if (slice_port.name != port.name || slice_port.protocol != port.protocol) continue;
      for (const model::Endpoint& e : slice.endpoints) {
        const bool local = e.node != model::TextId{0} && model.text(e.node) == node_name;
        out.push_back({.backend = {.address = e.address, .port = slice_port.port, .local = local},
                       .ready = e.ready,
                       .serving = e.serving,
                       .terminating = e.terminating,
                       .hints = e.hints});
      }
    }
  }
  merge_duplicates(out);
  order_by_text(out);
  return out;
}

Topology topology_of(const std::vector<Candidate>& candidates, const model::Model& model,
                     const Location& here) {
  if (topology_holds(candidates, model, here, Topology::SameNode)) return Topology::SameNode;
  if (!here.zone.empty() && topology_holds(candidates, model, here, Topology::SameZone)) {
    return Topology::SameZone;
  }
  return Topology::None;
}

Selection select(const std::vector<Candidate>& candidates, const Wanted& wanted,
                 const model::Model& model, const Location& here) {
  Selection out;
  if (wanted.cluster) out.cluster = cluster_pool(candidates, model, here);
  if (wanted.local) out.local = local_pool(candidates);
  out.any = !out.cluster.empty() ||
            (wanted.local && std::ranges::any_of(candidates, [](const Candidate& c) {
               return c.ready || c.falls_back();
             }));
  return out;
}

}  // namespace fairlead::plan
