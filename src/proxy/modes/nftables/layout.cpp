// Where a table that is already there has the backends of a service.
#include <algorithm>

#include "proxy/modes/nftables/render.hpp"

namespace fairlead::nftables {
namespace {

using plan::Backend;
using plan::Frontend;
using plan::FrontendKind;

plan::Backend backend_of(const Key& value, IpFamily family) {
  const auto bytes = value.bytes();
  const std::size_t address = width(FieldType::Address, family);
  return {.address = IpAddress::from_bytes(bytes.first(address)),
          .port = Port{static_cast<std::uint16_t>((bytes[address] << 8U) | bytes[address + 1])}};
}

const Key* datum_of(const std::vector<Element>& elements, const Key& key) {
  const auto at = std::ranges::lower_bound(elements, key, {}, &Element::key);
  return at == elements.end() || at->key != key ? nullptr : std::get_if<Key>(&at->data);
}

// The first backends of a frontend, up to a slot that is missing.
plan::Pool pool_in(const Snapshot& table, const Key& frontend, bool node_port, std::uint32_t slot,
                   bool sticky, IpFamily family) {
  const auto& slots = table.of(sticky ? (node_port ? SetId::NodePortTokens : SetId::Tokens)
                                      : (node_port ? SetId::NodePortSlots : SetId::Slots));
  const auto& members = table.of(node_port ? SetId::NodePortMembers : SetId::Members);
  plan::Pool pool;
  for (;; ++slot) {
    const Key* datum = datum_of(slots, Key{frontend}.number_in_host_order(slot));
    if (datum != nullptr && sticky)
      datum = datum_of(members, Key{frontend}.number_in_host_order(datum->last_number()));
    if (datum == nullptr) return pool;
    pool.push_back(backend_of(*datum, family));
  }
}

}  // namespace

Layout layout_in(const Snapshot& table, const plan::ServicePlan& service) {
  Layout layout;
  const IpFamily family = service.key.family;
  for (const Frontend& frontend : service.frontends) {
    const bool node_port = frontend.kind == FrontendKind::NodePort;
    Key key;
    if (!node_port) key.address(frontend.address);
    key.protocol(service.key.service_port.protocol).port(frontend.port);
    const auto look = [&](plan::Pool& pool, std::uint32_t slot) {
      if (pool.empty())
        pool = pool_in(table, key, node_port, slot, service.affinity.has_value(), family);
    };
    if (!service.cluster_pool.empty()) look(layout.cluster, kClusterSlots);
    if (!service.local_pool.empty()) look(layout.local, kLocalSlots);
  }
  return layout;
}

}  // namespace fairlead::nftables
