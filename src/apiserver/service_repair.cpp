#include "apiserver/service_repair.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>

#include "apiserver/kind_strategy.hpp"
#include "apiserver/own_writes.hpp"
#include "apiserver/service_allocation.hpp"
#include "apiserver/service_cidrs.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Of = ReservationFault::Of;
using What = ReservationFault::What;

constexpr std::size_t kAtOnce = 250;  // things looked at, before others get their turn

Resource& resource_of(const Registry& registry, std::string_view group, std::string_view resource) {
  Resource* out = registry.find(group, "v1", resource);
  check(out != nullptr, "the kinds of Service networking are among the kinds");
  return *out;
}

std::string owner_name(std::string_view ns, std::string_view name) {
  return fmt::format("{}/{}", ns, name);
}

std::string owner_name(const CachedObject& service) { return owner_name(service.ns, service.name); }

ReservationFault fault_of(Of of, What what, std::string value, std::string_view owner) {
  const auto slash = owner.find('/');
  return {.of = of,
          .what = what,
          .value = std::move(value),
          .ns = std::string(owner.substr(0, slash)),
          .name = slash == owner.npos ? "" : std::string(owner.substr(slash + 1))};
}

// What kube-apiserver's Events of this are called, and what they say.
struct Words {
  std::string_view reason, text;
};
Words words_for(Of of, What what) {
  const bool ip = of == Of::ClusterIp;
  switch (what) {
    case What::Missing:
      return {ip ? "ClusterIPNotAllocated" : "PortNotAllocated", "was not reserved; it is now"};
    case What::Leaked:
      return {ip ? "IPAddressNotAllocated" : "PortLeaked", "is of no Service; it is free again"};
    case What::Duplicate:
      return {ip ? "ClusterIPAlreadyAllocated" : "PortAlreadyAllocated",
              "is held by another Service too; delete and create one of them anew"};
    case What::OutOfRange:
      return {ip ? "ClusterIPOutOfRange" : "PortOutOfRange",
              "lies in no range of this cluster; delete and create the Service anew"};
    case What::Invalid:
      return {"ClusterIPNotValid", "is no address; delete and create the Service anew"};
  }
  return {};
}

std::string sentence(const ReservationFault& fault) {
  return fmt::format("{} {} {}", fault.of == Of::ClusterIp ? "Cluster IP" : "Port", fault.value,
                     words_for(fault.of, fault.what).text);
}

std::string_view label(const Document& object, std::string_view key) {
  const Document* labels = object_at(object, "metadata.labels");
  const auto* value = labels == nullptr ? nullptr : labels->if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

bool in_ranges(const std::vector<IpPrefix>& ranges, const IpAddress& address) {
  return std::ranges::any_of(ranges,
                             [&](const IpPrefix& range) { return range.contains(address); });
}

}  // namespace

ServiceRepair::ServiceRepair(Registry& registry, const Clock& clock, io::Executor executor,
                             const KindsConfig& config)
    : registry_(registry),
      clock_(clock),
      config_(config),
      services_(resource_of(registry, "", "services")),
      ip_addresses_(resource_of(registry, "networking.k8s.io", "ipaddresses")),
      events_(resource_of(registry, "", "events")),
      writer_(registry),
      suspected_(std::move(executor)) {}

// ---- What is there

ServiceRepair::Address ServiceRepair::read_address(const Document& address) {
  Address out;
  const Document* parent = object_at(address, "spec.parentRef");
  if (parent != nullptr && string_at(*parent, "group").empty() &&
      string_at(*parent, "resource") == "services") {
    out.service = owner_name(string_at(*parent, "namespace"), string_at(*parent, "name"));
  }
  const Document wanted =
      address_reservation(std::string(string_at(address, "metadata.name")), "", "");
  out.managed = label(address, kManagedBy) == kAllocatorName;
  out.complete =
      std::ranges::all_of(*object_at(wanted, "metadata.labels"), [&](const auto& member) {
        return label(address, member.key()) == member.value().get_string();
      });
  if (const auto created = parse_rfc3339(string_at(address, "metadata.creationTimestamp")))
    out.created = *created;
  return out;
}

ServiceRepair::Service ServiceRepair::read_service(const ObjectPtr& object) {
  const Document document = object->document();
  Service out{.object = object, .cluster_ips = {}, .node_ports = held_node_ports(document)};
  for (const std::string& ip : held_cluster_ips(document))
    out.cluster_ips.insert(canonical_address(ip));
  return out;
}

ObjectPtr ServiceRepair::find_service(std::string_view owner) const {
  return services_.cache.find(services_.info().storage_prefix + std::string(owner));
}

void ServiceRepair::load() {
  for (const auto& [key, object] : ip_addresses_.cache.objects())
    addresses_.insert_or_assign(key, read_address(object->document()));
}

void ServiceRepair::changed(const Resource& resource, const StoreEvent& event) {
  if (&resource != &ip_addresses_) return;
  const auto known = addresses_.find(event.key);
  const std::string before = known == addresses_.end() ? "" : known->second.service;
  bool as_it_was = false;
  if (const ObjectPtr object = ip_addresses_.cache.find(event.key)) {
    const Address now = read_address(object->document());
    as_it_was = now.service == before && now.complete;
    addresses_.insert_or_assign(event.key, now);
  } else {
    addresses_.erase(event.key);
  }
  if (before.empty() || as_it_was) return;
  suspects_.emplace_back(event.key, before);
  suspected_.notify();
}

namespace {

// There may be many of all things: now and then others get their turn.
io::Task<void> give_way(std::size_t done) {
  if (done % kAtOnce == kAtOnce - 1) static_cast<void>(co_await io::sleep_for(0s));
}

}  // namespace

// The Services of one moment.
io::Task<ServiceRepair::Snapshot> ServiceRepair::read_services() {
  std::vector<ObjectPtr> objects;
  for (const auto& [key, object] : services_.cache.objects()) objects.push_back(object);
  Snapshot out;
  PendingTransaction reading(registry_, clock_.wall());
  out.ranges = usable_service_ranges(reading, config_.service_cidrs);
  for (std::size_t i = 0; i < objects.size(); ++i) {
    out.services.emplace(owner_name(*objects[i]), read_service(objects[i]));
    co_await give_way(i);
  }
  co_return out;
}

// ---- What is wrong

StoreTransaction ServiceRepair::reserve_address(const CachedObject& service,
                                                const std::string& ip) const {
  const std::string key = ip_addresses_.key("", ip);
  PendingTransaction transaction(registry_, clock_.wall());
  transaction.expect(service.key, service.revision);
  Document wanted = address_reservation(ip, service.ns, service.name);
  auto current = transaction.get(key);
  if (!current) {
    transaction.create_object(ip_addresses_.info(), std::move(wanted));
    return transaction.build();
  }
  (*current)["spec"] = wanted.at("spec");
  Document& labels = ensure_object(ensure_object(*current, "metadata"), "labels");
  for (const auto& member : *object_at(wanted, "metadata.labels"))
    labels[member.key()] = member.value();
  transaction.put(key, *std::move(current));
  return transaction.build();
}

// While the Service is as it was seen, when it did not hold this.
StoreTransaction ServiceRepair::give_back(const std::string& owner, const ObjectPtr& service,
                                          const std::string& key) const {
  PendingTransaction transaction(registry_, clock_.wall());
  if (!owner.empty()) {
    transaction.expect(services_.info().storage_prefix + owner,
                       service == nullptr ? 0 : service->revision);
  }
  transaction.remove(key);
  return transaction.build();
}

void ServiceRepair::look_at_held_address(const Snapshot& all, const std::string& owner,
                                         const std::string& ip, Findings& out) const {
  const ObjectPtr& service = all.services.at(owner).object;
  const auto add = [&](What what, std::optional<StoreTransaction> mend = std::nullopt) {
    out.push_back({.fault = fault_of(Of::ClusterIp, what, ip, owner),
                   .service = service,
                   .mend = std::move(mend)});
  };
  const auto address = IpAddress::parse(ip);
  if (!address) return add(What::Invalid);
  if (!in_ranges(all.ranges, *address)) add(What::OutOfRange);
  const auto reserved = addresses_.find(ip_addresses_.key("", ip));
  if (reserved == addresses_.end()) return add(What::Missing, reserve_address(*service, ip));
  const Address& held = reserved->second;
  if (held.service == owner) {
    if (!held.complete) add(What::Missing, reserve_address(*service, ip));
    return;
  }
  const auto other = all.services.find(held.service);
  const bool others =
      other == all.services.end() ? !held.managed : other->second.cluster_ips.contains(ip);
  if (others) return add(What::Duplicate);
  add(What::Missing, reserve_address(*service, ip));
}

void ServiceRepair::look_at_held_port(const Snapshot& all, const std::string& owner,
                                      std::int64_t port, Findings& out) const {
  const ObjectPtr& service = all.services.at(owner).object;
  const auto add = [&](What what, std::optional<StoreTransaction> mend = std::nullopt) {
    out.push_back({.fault = fault_of(Of::NodePort, what, std::to_string(port), owner),
                   .service = service,
                   .mend = std::move(mend)});
  };
  if (port < config_.node_ports.first || port > config_.node_ports.last) add(What::OutOfRange);
  PendingTransaction transaction(registry_, clock_.wall());
  const std::string key = node_port_key(port);
  if (const auto reserved = transaction.get(key)) {
    const std::string holder(string_at(*reserved, "service"));
    if (holder == owner) return;
    const auto other = all.services.find(holder);
    if (other != all.services.end() && other->second.node_ports.contains(port))
      return add(What::Duplicate);
  }
  transaction.expect(service->key, service->revision);
  transaction.put(key, node_port_reservation(service->ns, service->name));
  add(What::Missing, transaction.build());
}

// A reservation that no Service holds.
void ServiceRepair::look_at_address(const Snapshot& all, const std::string& key,
                                    Findings& out) const {
  const auto reserved = addresses_.find(key);
  if (reserved == addresses_.end()) return;
  const Address& address = reserved->second;
  const std::string ip = key.substr(ip_addresses_.info().storage_prefix.size());
  if (!address.managed || clock_.wall() < address.created + kMayPrecede) return;
  const auto service = all.services.find(address.service);
  if (service != all.services.end() && service->second.cluster_ips.contains(ip)) return;
  // Somebody else's by now, or about to be: what is missing is mended first.
  const bool held = std::ranges::any_of(
      all.services, [&ip](const auto& entry) { return entry.second.cluster_ips.contains(ip); });
  if (held) return;
  const ObjectPtr object = service == all.services.end() ? nullptr : service->second.object;
  out.push_back({.fault = fault_of(Of::ClusterIp, What::Leaked, ip, address.service),
                 .service = object,
                 .mend = give_back(address.service, object, key)});
}

void ServiceRepair::look_at_port(const Snapshot& all, const std::string& key, Findings& out) const {
  const auto port = parse_int(key.substr(kNodePortPrefix.size()));
  PendingTransaction reading(registry_, clock_.wall());
  const auto reserved = reading.get(key);
  if (!port || !reserved) return;
  const std::string owner(string_at(*reserved, "service"));
  const auto service = all.services.find(owner);
  const auto holds = [&port](const auto& entry) { return entry.second.node_ports.contains(*port); };
  if (service != all.services.end() && holds(*service)) return;
  if (std::ranges::any_of(all.services, holds)) return;  // as above
  const ObjectPtr object = service == all.services.end() ? nullptr : service->second.object;
  out.push_back({.fault = fault_of(Of::NodePort, What::Leaked, std::to_string(*port), owner),
                 .service = object,
                 .mend = give_back(owner, object, key)});
}

// What changes meanwhile is not mended: each repair is of what was seen.
io::Task<ServiceRepair::Findings> ServiceRepair::look(const Snapshot* all) const {
  Findings out;
  std::size_t done = 0;
  for (const auto& [owner, service] : all->services) {
    for (const std::string& ip : service.cluster_ips) look_at_held_address(*all, owner, ip, out);
    for (const std::int64_t port : service.node_ports) look_at_held_port(*all, owner, port, out);
    co_await give_way(done++);
  }
  std::vector<std::string> addresses, ports;
  for (const auto& [key, address] : addresses_) addresses.push_back(key);
  registry_.for_each_key(kNodePortPrefix, [&ports](std::string_view key) {
    ports.emplace_back(key);
    return true;
  });
  for (const std::string& key : addresses) {
    look_at_address(*all, key, out);
    co_await give_way(done++);
  }
  for (const std::string& key : ports) {
    look_at_port(*all, key, out);
    co_await give_way(done++);
  }
  co_return out;
}

// ---- What is done about it

io::Task<void> ServiceRepair::tell(const Finding* finding) {
  const ReservationFault& fault = finding->fault;
  const bool mended = finding->mend.has_value();
  log::warning(mended ? "Mended what is reserved for a Service"
                      : "A Service holds what it must not; it stays",
               {{"service", owner_name(fault.ns, fault.name)}, {"what", sentence(fault)}});
  if (finding->service == nullptr) co_return;
  const CachedObject& service = *finding->service;
  const auto [reason, text] = words_for(fault.of, fault.what);
  const std::string_view reporter = fault.of == Of::ClusterIp ? "ipallocator-repair-controller"
                                                              : "portallocator-repair-controller";
  const std::string now = format_rfc3339(clock_.wall());
  // One Event a fault: it stays the same while it lasts.
  const std::string name = fmt::format(
      "{}.{:016x}", service.name,
      std::hash<std::string>{}(fmt::format("{} {} {}", service.uid, reason, fault.value)));
  const Document involved{{"kind", "Service"},
                          {"namespace", text_value(service.ns)},
                          {"name", text_value(service.name)},
                          {"uid", text_value(service.uid)},
                          {"apiVersion", "v1"},
                          {"resourceVersion", std::to_string(service.revision)}};
  auto made =
      co_await writer_.create(events_, own_request(clock_, service.ns),
                              Document{{"metadata", Document{{"name", text_value(name)}}},
                                       {"involvedObject", involved},
                                       {"reason", text_value(reason)},
                                       {"message", text_value(sentence(fault))},
                                       {"type", "Warning"},
                                       {"source", Document{{"component", text_value(reporter)}}},
                                       {"firstTimestamp", text_value(now)},
                                       {"lastTimestamp", text_value(now)},
                                       {"count", 1}});
  static_cast<void>(made);  // it is there already, or the log has to do
}

io::Task<Result<void>> ServiceRepair::settle(Findings findings) {
  for (Finding& finding : findings) {
    if (finding.mend) {
      FAIRLEAD_CO_TRY(done, co_await registry_.store().commit(*finding.mend));
      if (!done.succeeded)
        continue;  // it has changed meanwhile, perhaps by another server's repair
    }
    ++found_[{finding.fault.of, finding.fault.what}];
    co_await tell(&finding);
  }
  co_return Result<void>();
}

io::Task<Result<std::vector<ReservationFault>>> ServiceRepair::repair() {
  const Snapshot all = co_await read_services();
  Findings findings = co_await look(&all);
  std::vector<ReservationFault> out;
  for (const Finding& finding : findings) out.push_back(finding.fault);
  FAIRLEAD_CO_CHECK(co_await settle(std::move(findings)));
  co_return out;
}

io::Task<Result<void>> ServiceRepair::look_at_suspects() {
  while (!suspects_.empty()) {
    const auto [key, owner] = suspects_.back();
    suspects_.pop_back();
    const std::string ip = key.substr(ip_addresses_.info().storage_prefix.size());
    Snapshot some;
    PendingTransaction reading(registry_, clock_.wall());
    some.ranges = usable_service_ranges(reading, config_.service_cidrs);
    const auto now = addresses_.find(key);
    for (const std::string& concerned :
         {owner, now == addresses_.end() ? owner : now->second.service}) {
      if (const ObjectPtr object = find_service(concerned))
        some.services.emplace(concerned, read_service(object));
    }
    const auto service = some.services.find(owner);
    if (service == some.services.end() || !service->second.cluster_ips.contains(ip)) continue;
    Findings findings;
    look_at_held_address(some, owner, ip, findings);
    FAIRLEAD_CO_CHECK(co_await settle(std::move(findings)));
  }
  co_return Result<void>();
}

io::Task<void> ServiceRepair::run() {
  const auto complain = [](const Error& error) {
    log::warning("What is reserved for Services could not be mended, trying again",
                 {{"err", error}});
  };
  auto next = std::chrono::steady_clock::now() + kPeriod;
  while (true) {
    if (co_await suspected_.wait_until(next)) {
      if (const auto done = co_await look_at_suspects(); !done) complain(done.error());
      continue;
    }
    if (co_await io::cancelled()) co_return;
    if (const auto done = co_await repair(); !done) complain(done.error());
    next = std::chrono::steady_clock::now() + kPeriod;
  }
}

}  // namespace fairlead::apiserver
