#include "proxy/modes/nftables/ruleset.hpp"

namespace fairlead::nftables {
namespace {

std::array<SetSchema, kSetCount> make_schemas() {
  using enum FieldType;
  return {{
      {.name = "services", .key = {Address, Protocol, Service}, .data = DataKind::Shape},
      {.name = "node-ports", .key = {Protocol, Service}, .data = DataKind::Shape},
      {.name = "shapes", .key = {Shape}, .data = DataKind::Verdict},
      {.name = "slots", .key = {Address, Protocol, Service, Slot}, .data = DataKind::Backend},
      {.name = "node-port-slots", .key = {Protocol, Service, Slot}, .data = DataKind::Backend},
      {.name = "tokens", .key = {Address, Protocol, Service, Slot}, .data = DataKind::Token},
      {.name = "node-port-tokens", .key = {Protocol, Service, Slot}, .data = DataKind::Token},
      {.name = "members", .key = {Address, Protocol, Service, Token}, .data = DataKind::Backend},
      {.name = "node-port-members", .key = {Protocol, Service, Token}, .data = DataKind::Backend},
      {.name = "affinity", .key = {Address, Token}, .learnt = true},
      {.name = "no-endpoints", .key = {Address, Protocol, Service}},
      {.name = "no-endpoint-node-ports", .key = {Protocol, Service}},
      {.name = "silent", .key = {Address, Protocol, Service}},
      {.name = "silent-node-ports", .key = {Protocol, Service}},
      {.name = "cluster-ips", .key = {Address}},
      {.name = "node-port-addresses", .key = {Address}},
      {.name = "firewalled", .key = {Address, Protocol, Service}},
      {.name = "allowed-sources", .key = {Address, Protocol, Service, Address}, .interval = true},
      {.name = "hairpin", .key = {Address, Address, Protocol, Service}},
  }};
}

const std::array<SetSchema, kSetCount>& schemas() {
  static const std::array<SetSchema, kSetCount> all = make_schemas();
  return all;
}

}  // namespace

const SetSchema& schema(SetId set) { return schemas()[static_cast<std::size_t>(set)]; }

std::optional<SetId> set_named(std::string_view name) {
  for (const SetId set : kAllSets) {
    if (schema(set).name == name) return set;
  }
  return std::nullopt;
}

std::size_t width(FieldType field, IpFamily family) {
  return field == FieldType::Address && family == IpFamily::V6 ? 16 : 4;
}

std::size_t key_width(SetId set, IpFamily family) {
  std::size_t sum = 0;
  for (const FieldType field : schema(set).key) sum += width(field, family);
  return sum;
}

std::size_t data_width(SetId set, IpFamily family) {
  switch (schema(set).data) {
    case DataKind::None:
    case DataKind::Verdict:
      return 0;
    case DataKind::Backend:
      return width(FieldType::Address, family) + width(FieldType::Service, family);
    case DataKind::Token:
    case DataKind::Shape:
      return width(FieldType::Token, family);
  }
  return 0;
}

}  // namespace fairlead::nftables
