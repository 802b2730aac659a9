#include "controllers/topology_hints.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace fairlead::controllers {
namespace {

using kube::Node;

constexpr char kTopologyMode[] = "service.kubernetes.io/topology-mode";
constexpr char kTopologyAwareHints[] = "service.kubernetes.io/topology-aware-hints";  // deprecated
constexpr const char* kControlPlaneRoles[] = {"node-role.kubernetes.io/control-plane",
                                              "node-role.kubernetes.io/master"};

// What a node adds to its zone; nullopt: it does not count.
struct Contribution {
  std::string zone;  // empty: it does not say
  std::int64_t cpu = 0;
  bool operator==(const Contribution&) const = default;
};
std::optional<Contribution> contribution_of(const Node* node) {
  if (node == nullptr || !kube::is_ready(*node)) return std::nullopt;
  const kube::StringMap& labels = node->metadata.labels;
  for (const char* role : kControlPlaneRoles) {
    if (labels.contains(role)) return std::nullopt;
  }
  const auto zone = labels.find(kube::label::kTopologyZone);
  return Contribution{.zone = zone == labels.end() ? "" : zone->second,
                      .cpu = node->allocatable_cpu.value_or(kube::MilliCpu{}).value};
}

// The hints of one Service while they are allocated. A count of endpoints and a zone's due are
// compared by multiples of the total CPU, so that no fraction is lost.
class Allocation {
 public:
  Allocation(const ZoneCpu& cpu, std::span<const ZonedEndpoint> endpoints)
      : endpoints_(endpoints), hints_(endpoints.size()) {
    for (const auto& [name, amount] : cpu.by_zone) total_ += amount.value;
    const auto count = static_cast<std::int64_t>(endpoints.size());
    for (const auto& [name, amount] : cpu.by_zone) {
      const std::int64_t share = count * amount.value;
      const std::int64_t overloaded = 6 * total_;  // of five parts of the due: 1 / 1.2
      const std::int64_t least = (5 * share + overloaded - 1) / overloaded;
      zones_.emplace(name, Zone{.due = std::max(share, least * total_), .least = least});
    }
  }

  bool is_possible() const {
    std::int64_t sum = 0;
    for (const auto& [name, zone] : zones_) sum += zone.least;
    return sum <= static_cast<std::int64_t>(endpoints_.size());
  }

  std::vector<std::string> run() {
    start();
    serve_the_overloaded();
    send_home();
    even_out();
    return std::move(hints_);
  }

 private:
  struct Zone {
    std::int64_t due = 0;    // endpoints it is to have, times the total CPU
    std::int64_t least = 0;  // with fewer they would be overloaded
    std::int64_t has = 0;
  };
  using Zones = std::map<std::string, Zone>;

  std::int64_t surplus(const Zone& zone) const { return zone.has * total_ - zone.due; }
  // Of the zones that would not be overloaded with one endpoint less.
  const std::string& giver() const {
    const Zones::value_type* best = nullptr;
    for (const auto& zone : zones_) {
      if (zone.second.has <= zone.second.least) continue;
      if (best == nullptr || surplus(zone.second) > surplus(best->second)) best = &zone;
    }
    check(best != nullptr, "some zone has more than the least, for all have enough together");
    return best->first;
  }
  Zones::value_type& of_least_surplus() {
    return *std::ranges::min_element(zones_, {}, [&](const auto& z) { return surplus(z.second); });
  }

  bool is_new(std::size_t i) const { return !zones_.contains(endpoints_[i].hint); }
  void place(std::size_t i, Zones::value_type& zone) {
    if (!hints_[i].empty()) --zones_.at(hints_[i]).has;
    hints_[i] = zone.first;
    ++zone.second.has;
  }

  // What has a hint keeps it, what has none is for its own zone; last, what comes from a zone
  // without CPU is for whoever needs it most.
  void start() {
    for (const bool at_home : {true, false}) {
      for (std::size_t i = 0; i < endpoints_.size(); ++i) {
        auto zone = zones_.find(endpoints_[i].hint);
        if (zone == zones_.end()) zone = zones_.find(endpoints_[i].zone);
        if ((zone != zones_.end()) != at_home) continue;
        place(i, at_home ? *zone : of_least_surplus());
      }
    }
  }

  // Of a zone's endpoints, the one whose move to another matters least: better one that returns
  // home, then one that nobody knows of yet, then one that is abroad already.
  std::size_t least_missed(const std::string& from, const std::string& to) const {
    std::optional<std::size_t> best;
    int best_rank = 0;
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      if (hints_[i] != from) continue;
      int rank = 3;
      if (endpoints_[i].zone != from) rank = 2;
      if (endpoints_[i].hint != from) rank = 1;
      if (endpoints_[i].zone == to) rank = 0;
      if (!best || rank < best_rank) {
        best = i;
        best_rank = rank;
      }
    }
    return best.value();
  }

  void serve_the_overloaded() {
    for (auto& zone : zones_) {
      while (zone.second.has < zone.second.least) place(least_missed(giver(), zone.first), zone);
    }
  }

  // From zones that have a whole endpoint too many; who comes home may be one too many there.
  void send_home() {
    bool moved = true;
    while (std::exchange(moved, false)) {
      for (std::size_t i = 0; i < endpoints_.size(); ++i) {
        const auto home = zones_.find(endpoints_[i].zone);
        if (home == zones_.end() || home->first == hints_[i]) continue;
        if (surplus(zones_.at(hints_[i])) < total_) continue;
        place(i, *home);
        moved = true;
      }
    }
  }

  // Only what is new moves for the sake of balance, and only when both zones are off by half an
  // endpoint at least and one of them by a whole one.
  void even_out() {
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
      if (!is_new(i)) continue;
      const std::int64_t given = surplus(zones_.at(hints_[i]));
      auto& taker = of_least_surplus();
      const std::int64_t taken = -surplus(taker.second);
      const bool worth_it =
          2 * std::min(given, taken) >= total_ && std::max(given, taken) >= total_;
      if (worth_it) place(i, taker);
    }
  }

  std::span<const ZonedEndpoint> endpoints_;
  std::vector<std::string> hints_;
  Zones zones_;
  std::int64_t total_ = 0;
};

}  // namespace

bool wants_topology_hints(const kube::Service& service) {
  const kube::StringMap& annotations = service.metadata.annotations;
  auto mode = annotations.find(kTopologyAwareHints);
  if (mode == annotations.end()) mode = annotations.find(kTopologyMode);
  return mode != annotations.end() && (mode->second == "Auto" || mode->second == "auto");
}

Result<ZoneCpu> zone_cpu(const std::map<kube::NamespacedName, Node>& nodes) {
  ZoneCpu out;
  for (const auto& [name, node] : nodes) {
    const auto added = contribution_of(&node);
    if (!added) continue;
    if (added->zone.empty())
      return make_error(ErrorCode::Invalid, "node \"{}\" does not say its zone", name.name);
    if (added->cpu <= 0)
      return make_error(ErrorCode::Invalid, "node \"{}\" does not say its CPU", name.name);
    out.by_zone[added->zone].value += added->cpu;
  }
  if (out.by_zone.size() < 2)
    return make_error(ErrorCode::Invalid, "nodes are ready in {}",
                      out.by_zone.empty() ? "no zone" : "one zone only");
  return out;
}

bool zone_cpu_differs(const Node* before, const Node* after) {
  return contribution_of(before) != contribution_of(after);
}

Result<std::vector<std::string>> allocate_hints(const ZoneCpu& cpu,
                                                std::span<const ZonedEndpoint> endpoints) {
  if (endpoints.size() < cpu.by_zone.size())
    return make_error(ErrorCode::Invalid, "{} ready endpoints are too few for {} zones",
                      endpoints.size(), cpu.by_zone.size());
  if (std::ranges::any_of(endpoints, [](const ZonedEndpoint& e) { return e.zone.empty(); }))
    return make_error(ErrorCode::Invalid, "a ready endpoint has no zone");
  Allocation allocation(cpu, endpoints);
  if (!allocation.is_possible())
    return make_error(ErrorCode::Invalid,
                      "{} ready endpoints cannot be divided among {} zones without overloading "
                      "those of one by more than 20 %",
                      endpoints.size(), cpu.by_zone.size());
  return allocation.run();
}

}  // namespace fairlead::controllers
