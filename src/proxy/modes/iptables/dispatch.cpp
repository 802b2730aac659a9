#include "proxy/modes/iptables/dispatch.hpp"

#include <algorithm>
#include <span>

#include "proxy/modes/iptables/chain_names.hpp"

namespace fairlead::iptables {
namespace {

constexpr std::size_t kLongestList = 16;
constexpr unsigned kBitsPerLevel = 4;

unsigned nibble(const IpAddress& address, unsigned index) {
  const unsigned byte = address.bytes()[index / 2];
  return index % 2 == 0 ? byte >> 4U : byte & 0xfU;
}

// `sorted` agrees on the nibbles before `depth`.
void add_level(std::span<const Destination> sorted, unsigned depth, std::string_view root,
               Rules& rules, Chains& chains) {
  if (sorted.size() <= kLongestList ||
      sorted.front().address == sorted.back().address) {  // many ports of one address
    for (const Destination& destination : sorted) rules.push_back(destination.rule);
    return;
  }
  while (nibble(sorted.front().address, depth) == nibble(sorted.back().address, depth)) ++depth;
  while (!sorted.empty()) {
    const unsigned value = nibble(sorted.front().address, depth);
    const auto end = std::ranges::find_if(
        sorted, [&](const Destination& d) { return nibble(d.address, depth) != value; });
    const auto size = static_cast<std::size_t>(end - sorted.begin());
    const IpPrefix prefix(sorted.front().address, (depth + 1) * kBitsPerLevel);
    const std::string chain =
        fmt::format("KUBE-DST-{}", hash16(fmt::format("{} {}", root, prefix)));
    rules.push_back(fmt::format("-d {} -j {}", prefix, chain));
    Rules below;
    add_level(sorted.first(size), depth + 1, root, below, chains);
    chains.emplace(chain, std::move(below));
    sorted = sorted.subspan(size);
  }
}

}  // namespace

void add_dispatch(std::vector<Destination> destinations, const std::string& root, Chains& chains) {
  std::ranges::sort(destinations);
  destinations.erase(std::ranges::unique(destinations).begin(), destinations.end());
  add_level(destinations, 0, root, chains[root], chains);
}

}  // namespace fairlead::iptables
