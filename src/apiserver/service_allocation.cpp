#include "apiserver/service_allocation.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/service_cidrs.hpp"

namespace fairlead::apiserver {
namespace {

// To spread what is given out, not to hide it.
std::uint64_t random_below(std::uint64_t bound) {
  thread_local std::mt19937_64 source(std::random_device{}());
  return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(source);
}

Bands bands(std::uint64_t size, std::uint64_t divisor, std::uint64_t most, std::uint64_t usable) {
  const std::uint64_t offset =
      size <= 16 ? 0 : std::min(std::max<std::uint64_t>(16, size / divisor), most);
  return {.size = usable, .dynamic_from = std::min(offset, usable)};
}

bool wants_node_ports(const Document& service) {
  const std::string_view type = string_at(service, "spec.type");
  if (type == "NodePort") return true;
  return type == "LoadBalancer" &&
         bool_at(service, "spec.allocateLoadBalancerNodePorts").value_or(true);
}

bool may_have_node_ports(const Document& service) {
  const std::string_view type = string_at(service, "spec.type");
  return type == "NodePort" || type == "LoadBalancer";
}

bool wants_health_check_port(const Document& service) {
  return string_at(service, "spec.type") == "LoadBalancer" &&
         string_at(service, "spec.externalTrafficPolicy") == "Local";
}

const Document* port_at(const boost::json::array& ports, std::size_t i) {
  return ports[i].if_object();
}

// The node port a same-named port had before, 0 if none.
std::int64_t earlier_node_port(const Document* old, std::string_view port_name) {
  const auto* ports = old == nullptr ? nullptr : array_at(*old, "spec.ports");
  for (std::size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    const Document* port = port_at(*ports, i);
    if (port != nullptr && string_at(*port, "name") == port_name)
      return int_at(*port, "nodePort").value_or(0);
  }
  return 0;
}

}  // namespace

std::set<std::int64_t> held_node_ports(const Document& service) {
  std::set<std::int64_t> out;
  if (const auto* ports = array_at(service, "spec.ports")) {
    for (std::size_t i = 0; i < ports->size(); ++i) {
      const Document* port = port_at(*ports, i);
      const auto number = port == nullptr ? std::nullopt : int_at(*port, "nodePort");
      if (number && *number != 0) out.insert(*number);
    }
  }
  if (const auto health = int_at(service, "spec.healthCheckNodePort"); health && *health != 0)
    out.insert(*health);
  return out;
}

std::set<std::string> held_cluster_ips(const Document& service) {
  const ServiceNetworking n = read_networking(service);
  if (!n.needs_cluster_ip()) return {};
  return {n.cluster_ips.begin(), n.cluster_ips.end()};
}

std::string canonical_address(const std::string& ip) {
  const auto address = IpAddress::parse_sloppy(ip);
  return address ? address->to_string() : ip;
}

Document address_reservation(const std::string& ip, std::string_view ns, std::string_view name) {
  const ResourceInfo info = ip_address_info();
  const auto address = IpAddress::parse_sloppy(ip);
  const Document labels{{"ipaddress.kubernetes.io/ip-family",
                         text_value(address ? to_string(address->family()) : "")},
                        {kManagedBy, text_value(kAllocatorName)}};
  const Document parent{{"group", ""},
                        {"resource", "services"},
                        {"namespace", text_value(ns)},
                        {"name", text_value(name)}};
  return {{"kind", info.kind},
          {"apiVersion", text_value(info.api_version())},
          {"metadata", Document{{"name", text_value(canonical_address(ip))}, {"labels", labels}}},
          {"spec", Document{{"parentRef", parent}}}};
}

std::string node_port_key(std::int64_t port) {
  return fmt::format("{}{:05}", kNodePortPrefix, port);
}

Document node_port_reservation(std::string_view ns, std::string_view name) {
  return {{"service", text_value(fmt::format("{}/{}", ns, name))}};
}

Bands cluster_ip_bands(const IpPrefix& cidr) {
  const unsigned host_bits = cidr.address().bits() - cidr.length();
  const std::uint64_t size =
      host_bits >= 63 ? std::uint64_t{1} << 63 : std::uint64_t{1} << host_bits;
  const std::uint64_t unusable = cidr.family() == IpFamily::V4 ? 2 : 1;
  return bands(size, 16, 256, size > unusable ? size - unusable : 0);
}

Bands node_port_bands(PortRange range) {
  const std::uint64_t size =
      range.last < range.first ? 0 : std::uint64_t{range.last} - range.first + 1;
  return bands(size, 32, 128, size);
}

std::optional<std::uint64_t> pick_free(const Bands& bands,
                                       const std::function<std::uint64_t(std::uint64_t)>& random,
                                       const std::function<bool(std::uint64_t)>& is_taken) {
  const auto scan = [&](std::uint64_t from, std::uint64_t to) -> std::optional<std::uint64_t> {
    if (from >= to) return std::nullopt;
    const std::uint64_t width = to - from, start = random(width);
    for (std::uint64_t i = 0; i < width; ++i) {
      const std::uint64_t candidate = from + (start + i) % width;
      if (!is_taken(candidate)) return candidate;
    }
    return std::nullopt;
  };
  if (const auto found = scan(bands.dynamic_from, bands.size)) return found;
  return scan(0, bands.dynamic_from);
}

ServiceAllocator::ServiceAllocator(KindsConfig config, ResourceInfo ip_addresses,
                                   ResourceInfo services)
    : config_(std::move(config)),
      ip_addresses_(std::move(ip_addresses)),
      services_(std::move(services)) {}

StatusError ServiceAllocator::refused(const Document& service, FieldError error) const {
  return invalid_status(services_.qualified_kind(), string_at(service, "metadata.name"),
                        {std::move(error)});
}

// One key an address, however it is spelled.
std::string ServiceAllocator::ip_key(const std::string& ip) const {
  return ip_addresses_.storage_key("", canonical_address(ip));
}

ApiResult<void> ServiceAllocator::allocate(const RequestContext& context, Transaction& transaction,
                                           const Document* old, Document& service) const {
  if (auto done = allocate_cluster_ips(context, transaction, old, service); !done) return done;
  return allocate_node_ports(context, transaction, old, service);
}

void ServiceAllocator::release(Transaction& transaction, const Document& service) const {
  for (const std::string& ip : held_cluster_ips(service)) transaction.remove(ip_key(ip));
  for (const std::int64_t port : held_node_ports(service)) transaction.remove(node_port_key(port));
}

std::vector<std::string> ServiceAllocator::reservations(Transaction& state, std::string_view ns,
                                                        std::string_view name) const {
  std::vector<std::string> keys, out;
  for (const std::string_view prefix :
       {std::string_view(ip_addresses_.storage_prefix), kNodePortPrefix}) {
    state.for_each_key(prefix, [&keys](std::string_view key) {
      keys.emplace_back(key);
      return true;
    });
  }
  const std::string owner = fmt::format("{}/{}", ns, name);
  for (const std::string& key : keys) {
    const auto held = state.get(key);
    if (!held) continue;
    const Document* parent = object_at(*held, "spec.parentRef");
    const bool is_ours = parent == nullptr ? string_at(*held, "service") == owner
                                           : string_at(*parent, "resource") == services_.resource &&
                                                 string_at(*parent, "namespace") == ns &&
                                                 string_at(*parent, "name") == name;
    if (is_ours) out.push_back(key);
  }
  return out;
}

ApiResult<void> ServiceAllocator::allocate_cluster_ips(const RequestContext& context,
                                                       Transaction& transaction,
                                                       const Document* old,
                                                       Document& service) const {
  ServiceNetworking wanted = read_networking(service);
  const ServiceNetworking before = old == nullptr ? ServiceNetworking{} : read_networking(*old);
  link_cluster_ips(wanted, old == nullptr ? nullptr : &before);
  std::vector<IpFamily> families;
  for (const IpPrefix& cidr : config_.service_cidrs) families.push_back(cidr.family());
  if (auto errors = resolve_families(wanted, old == nullptr ? nullptr : &before, families);
      !errors.empty()) {
    return invalid_status(services_.qualified_kind(), string_at(service, "metadata.name"), errors);
  }
  write_networking(wanted, service);
  const std::set<std::string> had =
      old == nullptr ? std::set<std::string>{} : held_cluster_ips(*old);
  if (wanted.needs_cluster_ip()) {
    for (std::size_t i = 0; i < wanted.ip_families.size(); ++i) {
      if (i < wanted.cluster_ips.size()) {
        if (had.contains(wanted.cluster_ips[i])) continue;
        if (auto claimed = claim_cluster_ip(context, transaction, wanted.cluster_ips[i], service);
            !claimed)
          return claimed;
        continue;
      }
      auto picked = pick_cluster_ip(context, transaction, wanted.ip_families[i], service);
      if (!picked) return std::move(picked).error();
      wanted.cluster_ips.push_back(*std::move(picked));
    }
    wanted.cluster_ip = wanted.cluster_ips.front();
    write_networking(wanted, service);
  }
  const std::set<std::string> has = held_cluster_ips(service);
  for (const std::string& ip : had) {
    if (!has.contains(ip) && !context.dry_run) transaction.remove(ip_key(ip));
  }
  return {};
}

ApiResult<std::string> ServiceAllocator::pick_cluster_ip(const RequestContext& context,
                                                         Transaction& transaction,
                                                         const std::string& family,
                                                         const Document& service) const {
  for (const IpPrefix& cidr : usable_service_ranges(transaction, config_.service_cidrs)) {
    if (to_string(cidr.family()) != family) continue;
    if (context.dry_run) return cidr.address().to_string();
    const auto address_at = [&](std::uint64_t offset) {
      return cidr.address().plus(offset + 1).to_string();
    };
    const auto offset = pick_free(cluster_ip_bands(cidr), random_below, [&](std::uint64_t o) {
      return transaction.exists(ip_key(address_at(o)));
    });
    if (!offset) continue;
    reserve_cluster_ip(transaction, address_at(*offset), service);
    return address_at(*offset);
  }
  return internal_error(fmt::format("failed to allocate a serviceIP: {} range is full", family));
}

ApiResult<void> ServiceAllocator::claim_cluster_ip(const RequestContext& context,
                                                   Transaction& transaction, const std::string& ip,
                                                   const Document& service) const {
  const auto refuse = [&](std::string_view why) {
    const auto* list = array_at(service, "spec.clusterIPs");
    return refused(service, invalid("spec.clusterIPs",
                                    list == nullptr ? boost::json::value(boost::json::array{})
                                                    : boost::json::value(*list),
                                    fmt::format("failed to allocate IP {}: {}", ip, why)));
  };
  const auto address = IpAddress::parse(ip);
  if (!address) return refuse("not an IP address");
  std::string ranges;
  bool usable = false;
  for (const IpPrefix& cidr : usable_service_ranges(transaction, config_.service_cidrs)) {
    if (cidr.family() == address->family())
      ranges += (ranges.empty() ? "" : ", ") + cidr.to_string();
    const bool reserved =
        *address == cidr.address() || (address->is_v4() && *address == cidr.last());
    usable = usable || (cidr.contains(*address) && !reserved);
  }
  if (!usable) {
    return refuse(
        fmt::format("the provided IP ({}) is not in the valid range. The range of valid IPs is {}",
                    ip, ranges));
  }
  if (context.dry_run) return {};
  if (transaction.exists(ip_key(ip))) return refuse("provided IP is already allocated");
  reserve_cluster_ip(transaction, ip, service);
  return {};
}

void ServiceAllocator::reserve_cluster_ip(Transaction& transaction, const std::string& ip,
                                          const Document& service) const {
  transaction.create_object(ip_addresses_,
                            address_reservation(ip, string_at(service, "metadata.namespace"),
                                                string_at(service, "metadata.name")));
}

// The ports of one Service while they are being settled.
struct ServiceAllocator::Ports {
  std::set<std::int64_t> had;      // by the Service before
  std::set<std::int64_t> settled;  // by the Service after, so far
  std::set<std::int64_t> fresh;    // of those, reserved by this write
};

ApiResult<std::int64_t> ServiceAllocator::pick_node_port(const Ports& ports,
                                                         const RequestContext& context,
                                                         Transaction& transaction) const {
  const auto offset =
      pick_free(node_port_bands(config_.node_ports),
                context.dry_run ? [](std::uint64_t) { return std::uint64_t{0}; } : random_below,
                [&](std::uint64_t o) {
                  const std::int64_t port = config_.node_ports.first + static_cast<std::int64_t>(o);
                  return ports.settled.contains(port) || ports.had.contains(port) ||
                         transaction.exists(node_port_key(port));
                });
  if (!offset) return internal_error("failed to allocate a nodePort: range is full");
  return config_.node_ports.first + static_cast<std::int64_t>(*offset);
}

ApiResult<void> ServiceAllocator::allocate_node_ports(const RequestContext& context,
                                                      Transaction& transaction, const Document* old,
                                                      Document& service) const {
  Ports ports{.had = old == nullptr ? std::set<std::int64_t>{} : held_node_ports(*old)};
  const auto claim = [&](std::int64_t port, const std::string& field) -> ApiResult<void> {
    if (ports.settled.contains(port) || ports.had.contains(port)) {
      ports.settled.insert(port);
      return {};
    }
    if (port < config_.node_ports.first || port > config_.node_ports.last) {
      return refused(
          service,
          invalid(field, port,
                  fmt::format(
                      "provided port is not in the valid range. The range of valid ports is {}-{}",
                      config_.node_ports.first, config_.node_ports.last)));
    }
    if (!context.dry_run && transaction.exists(node_port_key(port)))
      return refused(service, invalid(field, port, "provided port is already allocated"));
    ports.settled.insert(port);
    ports.fresh.insert(port);
    return {};
  };
  Document& spec = ensure_object(service, "spec");
  auto* list = spec.if_contains("ports") != nullptr ? spec["ports"].if_array() : nullptr;
  std::map<std::int64_t, std::int64_t> by_port;  // port number -> node port; protocols share it
  for (std::size_t i = 0; list != nullptr && may_have_node_ports(service) && i < list->size();
       ++i) {
    Document* port = (*list)[i].if_object();
    const std::int64_t given = port == nullptr ? 0 : int_at(*port, "nodePort").value_or(0);
    if (given == 0) continue;
    const bool repeated = old == nullptr && ports.settled.contains(given) &&
                          !by_port.contains(int_at(*port, "port").value_or(0));
    const std::string field = fmt::format("spec.ports[{}].nodePort", i);
    if (repeated)
      return refused(service, invalid(field, given, "provided port is already allocated"));
    if (auto claimed = claim(given, field); !claimed) return claimed;
    by_port[int_at(*port, "port").value_or(0)] = given;
  }
  for (std::size_t i = 0; list != nullptr && wants_node_ports(service) && i < list->size(); ++i) {
    Document* port = (*list)[i].if_object();
    if (port == nullptr || int_at(*port, "nodePort").value_or(0) != 0) continue;
    const std::int64_t number = int_at(*port, "port").value_or(0);
    std::int64_t node_port = by_port.contains(number)
                                 ? by_port[number]
                                 : earlier_node_port(old, string_at(*port, "name"));
    if (node_port == 0 || (ports.settled.contains(node_port) && !by_port.contains(number))) {
      auto picked = pick_node_port(ports, context, transaction);
      if (!picked) return std::move(picked).error();
      node_port = *picked;
      ports.fresh.insert(node_port);
    }
    ports.settled.insert(node_port);
    by_port[number] = node_port;
    (*port)["nodePort"] = node_port;
  }
  if (wants_health_check_port(service)) {
    std::int64_t health = int_at(service, "spec.healthCheckNodePort").value_or(0);
    if (health == 0 && old != nullptr && wants_health_check_port(*old))
      health = int_at(*old, "spec.healthCheckNodePort").value_or(0);
    const bool is_node_port = std::ranges::any_of(
        by_port, [health](const auto& entry) { return entry.second == health; });
    if (health != 0 && is_node_port) {
      return refused(service, invalid("spec.healthCheckNodePort", health,
                                      "provided port is already allocated"));
    }
    if (health != 0) {
      if (auto claimed = claim(health, "spec.healthCheckNodePort"); !claimed) return claimed;
    } else {
      auto picked = pick_node_port(ports, context, transaction);
      if (!picked) return std::move(picked).error();
      health = *picked;
      ports.settled.insert(health);
      ports.fresh.insert(health);
    }
    spec["healthCheckNodePort"] = health;
  }
  if (context.dry_run) return {};
  for (const std::int64_t port : ports.fresh)
    transaction.put(node_port_key(port),
                    node_port_reservation(string_at(service, "metadata.namespace"),
                                          string_at(service, "metadata.name")));
  const std::set<std::int64_t> has = held_node_ports(service);
  for (const std::int64_t port : ports.had) {
    if (!has.contains(port)) transaction.remove(node_port_key(port));
  }
  return {};
}

}  // namespace fairlead::apiserver
