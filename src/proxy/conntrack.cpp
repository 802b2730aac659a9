#include "proxy/conntrack.hpp"

#include <algorithm>

namespace fairlead::proxy {
namespace {

bool same_place(const plan::Frontend& a, const plan::Frontend& b) {
  return a.address == b.address && a.port == b.port;
}

}  // namespace

StaleFlows::StaleFlows(std::vector<IpAddress> node_addresses)
    : node_addresses_(node_addresses.begin(), node_addresses.end()) {}

void StaleFlows::add(const plan::FlowReview& review, std::vector<Port> own) {
  const Targets targets{.endpoints = review.serving, .own = std::move(own)};
  for (const plan::Frontend& frontend : review.frontends) {
    add(review.key.family, frontend, &targets);
  }
  for (const plan::Frontend& frontend : review.former) add(review.key.family, frontend, nullptr);
}

// Where one service port has lost a place to another, the one that has it decides.
void StaleFlows::add(IpFamily family, const plan::Frontend& frontend, const Targets* targets) {
  const auto put = [&](auto& map, const auto& key) {
    if (targets != nullptr) {
      map.insert_or_assign(key, *targets);
    } else {
      map.try_emplace(key);
    }
  };
  if (frontend.kind == plan::FrontendKind::NodePort) {
    put(by_node_port_, NodePort{.family = family, .port = frontend.port});
  } else {
    put(by_address_, SocketAddress{.address = frontend.address, .port = frontend.port});
  }
}

bool StaleFlows::concerns(IpFamily family) const {
  const auto of_address = [&](const auto& entry) { return entry.first.address.family() == family; };
  const auto of_port = [&](const auto& entry) { return entry.first.family == family; };
  return std::ranges::any_of(by_address_, of_address) ||
         std::ranges::any_of(by_node_port_, of_port);
}

FlowFilter StaleFlows::filter(IpFamily family) const {
  std::set<IpAddress> addresses;
  std::set<Port> ports;
  for (const auto& [place, unused] : by_address_) {
    if (place.address.family() != family) continue;
    addresses.insert(place.address);
    ports.insert(place.port);
  }
  bool node_ports = false;
  for (const auto& [place, unused] : by_node_port_) {
    if (place.family != family) continue;
    node_ports = true;
    ports.insert(place.port);
  }
  FlowFilter out;
  if (addresses.size() == 1 && !node_ports) out.destination = *addresses.begin();
  if (ports.size() == 1) out.port = *ports.begin();
  return out;
}

bool StaleFlows::is_node_address(const IpAddress& address) const {
  return address.is_loopback() || node_addresses_.contains(address);
}

bool StaleFlows::leads_nowhere(const Flow& flow, const Targets& targets) const {
  const bool to_us = is_node_address(flow.reply_source.address) &&
                     std::ranges::find(targets.own, flow.reply_source.port) != targets.own.end();
  return !to_us && !std::ranges::binary_search(targets.endpoints, flow.reply_source);
}

bool StaleFlows::is_stale(const Flow& flow) const {
  if (const auto found = by_address_.find(flow.destination); found != by_address_.end()) {
    return leads_nowhere(flow, found->second);
  }
  const auto found = by_node_port_.find(
      {.family = flow.destination.address.family(), .port = flow.destination.port});
  if (found == by_node_port_.end()) return false;
  const bool translated = flow.reply_source != flow.destination;
  if (!translated && !is_node_address(flow.destination.address)) return false;
  return leads_nowhere(flow, found->second);
}

plan::FlowReview merged(const plan::FlowReview& earlier, plan::FlowReview later) {
  const auto keep = [&](const std::vector<plan::Frontend>& frontends) {
    for (const plan::Frontend& frontend : frontends) {
      const auto same = [&](const plan::Frontend& other) { return same_place(frontend, other); };
      if (std::ranges::none_of(later.frontends, same) && std::ranges::none_of(later.former, same)) {
        later.former.push_back(frontend);
      }
    }
  };
  keep(earlier.frontends);
  keep(earlier.former);
  return later;
}

}  // namespace fairlead::proxy
