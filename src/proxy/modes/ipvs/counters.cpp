#include "proxy/modes/ipvs/counters.hpp"

#include <algorithm>
#include <tuple>

namespace fairlead::ipvs {
namespace {

void add(const TrafficSample& sample, plan::Traffic& sum) {
  sum.connections += sample.connections;
  sum.bytes_in += sample.bytes_in;
  sum.bytes_out += sample.bytes_out;
  sum.packets_in = sum.packets_in.value_or(0) + sample.packets_in;
  sum.packets_out = sum.packets_out.value_or(0) + sample.packets_out;
  sum.active += sample.active;
}

}  // namespace

void Counters::set_owner(const ServerKey& server, const plan::PlanKey& service) {
  owners_.insert_or_assign(server, service);
}

void Counters::unset_owner(const ServerKey& server, const plan::PlanKey& service) {
  const auto found = owners_.find(server);
  if (found == owners_.end() || found->second != service) return;
  owners_.erase(found);
  entries_.erase(server);
}

void Counters::changed(const ServerKey& server) {
  const auto found = entries_.find(server);
  if (found != entries_.end()) found->second.read_in = 0;
}

void Counters::clear() {
  owners_.clear();
  entries_.clear();
}

// The destinations of those that are behind, as many as are allowed.
Result<void> Counters::catch_up(Kernel& kernel, MonoTime now) {
  std::vector<Entries::iterator> behind;
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (at->second.behind) behind.push_back(at);
  }
  std::ranges::sort(behind, {},
                    [](const auto& at) { return std::tie(at->second.read_in, at->first); });
  behind.resize(std::min(behind.size(), kMostListings));
  for (const auto& at : behind) {
    Entry& entry = at->second;
    FAIRLEAD_TRY(endpoints, kernel.destination_traffic(at->first));
    std::erase_if(endpoints, [](const TrafficSample& s) { return s.connections == 0; });
    entry.endpoints = std::move(endpoints);
    entry.open =
        std::ranges::any_of(entry.endpoints, [](const TrafficSample& s) { return s.active != 0; });
    entry.behind = false;
    entry.listed = now;
    entry.read_in = reads_;
  }
  return {};
}

std::vector<plan::Traffic> Counters::sums() const {
  std::map<std::pair<plan::PlanKey, std::optional<SocketAddress>>, plan::Traffic> sums;
  for (const auto& [server, entry] : entries_) {
    const plan::PlanKey& service = owners_.at(server);
    const auto sum_of = [&](std::optional<SocketAddress> endpoint) -> plan::Traffic& {
      plan::Traffic& sum = sums[{service, endpoint}];
      sum.service = service;
      sum.endpoint = endpoint;
      return sum;
    };
    add(entry.total, sum_of(std::nullopt));
    for (const TrafficSample& sample : entry.endpoints) {
      add(sample, sum_of(SocketAddress{.address = sample.destination->address,
                                       .port = sample.destination->port}));
    }
  }
  std::vector<plan::Traffic> out;
  out.reserve(sums.size());
  for (auto& [unused, sum] : sums) out.push_back(std::move(sum));
  return out;
}

Result<std::vector<plan::Traffic>> Counters::read(Kernel& kernel, MonoTime now) {
  ++reads_;
  FAIRLEAD_TRY(samples, kernel.server_traffic());
  Entries entries;
  for (const TrafficSample& sample : samples) {
    if (!owners_.contains(sample.server)) continue;
    Entry entry;
    auto known = entries_.extract(sample.server);
    // One that was not used yet, maybe since somebody made it anew, has nothing to list.
    if (!known.empty() && sample.connections != 0) entry = std::move(known.mapped());
    if (entry.total != sample) entry.moved = now;
    const bool settled = entry.listed >= entry.moved + kSettling;
    entry.behind =
        sample.connections != 0 && (entry.behind || entry.open || entry.read_in == 0 || !settled);
    entry.total = sample;
    entries.emplace(sample.server, std::move(entry));
  }
  entries_ = std::move(entries);
  FAIRLEAD_CHECK(catch_up(kernel, now));
  return sums();
}

}  // namespace fairlead::ipvs
