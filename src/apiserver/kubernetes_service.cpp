#include "apiserver/kubernetes_service.hpp"

#include <boost/json/array.hpp>

#include "apiserver/own_writes.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::string_view kLeases = "/registry/masterleases/";

// Signed, as parsed documents hold numbers.
std::int64_t port_value(const SocketAddress& address) { return number(address.port); }

Document service_document(const IpPrefix& service_cidr, const SocketAddress& advertise) {
  const std::string ip = service_cidr.address().plus(1).to_string();
  Document port{
      {"name", "https"}, {"protocol", "TCP"}, {"port", 443}, {"targetPort", port_value(advertise)}};
  return {{"metadata",
           Document{{"name", "kubernetes"},
                    {"labels", Document{{"component", "apiserver"}, {"provider", "kubernetes"}}}}},
          {"spec", Document{{"clusterIP", ip},
                            {"clusterIPs", boost::json::array{ip}},
                            {"type", "ClusterIP"},
                            {"ports", boost::json::array{std::move(port)}}}}};
}

Document slice_document(const std::set<IpAddress>& addresses, const SocketAddress& advertise) {
  boost::json::array endpoints;
  for (const IpAddress& address : addresses) {
    endpoints.push_back(Document{{"addresses", boost::json::array{address.to_string()}},
                                 {"conditions", Document{{"ready", true}}}});
  }
  Document port{{"name", "https"}, {"protocol", "TCP"}, {"port", port_value(advertise)}};
  return {
      {"metadata", Document{{"name", "kubernetes"},
                            {"namespace", "default"},
                            {"labels", Document{{"kubernetes.io/service-name", "kubernetes"}}}}},
      {"addressType", text_value(to_string(advertise.address.family()))},
      {"endpoints", std::move(endpoints)},
      {"ports", boost::json::array{std::move(port)}}};
}

// The same for those who read Endpoints; nobody is to make slices of it.
Document endpoints_document(const std::set<IpAddress>& addresses, const SocketAddress& advertise) {
  boost::json::array list;
  for (const IpAddress& address : addresses) list.push_back(Document{{"ip", address.to_string()}});
  Document port{{"name", "https"}, {"port", port_value(advertise)}, {"protocol", "TCP"}};
  boost::json::array subsets;
  if (!list.empty()) {
    subsets.push_back(
        Document{{"addresses", std::move(list)}, {"ports", boost::json::array{std::move(port)}}});
  }
  return {{"metadata",
           Document{{"name", "kubernetes"},
                    {"namespace", "default"},
                    {"labels", Document{{"endpointslice.kubernetes.io/skip-mirror", "true"}}}}},
          {"subsets", std::move(subsets)}};
}

}  // namespace

std::string KubernetesService::own_key() const {
  return std::string(kLeases) + config_.advertise.address.to_string();
}

io::Task<Result<void>> KubernetesService::renew() {
  const auto now = std::make_shared<const std::string>(
      fmt::format(R"({{"renewTime":"{}"}})", format_rfc3339(clock_.wall())));
  StoreTransaction write;
  write.operations.push_back({.key = own_key(), .value = now});
  FAIRLEAD_CO_CHECK(co_await registry_.store().commit(std::move(write)));
  co_return Result<void>();
}

// Those with a fresh key; the keys of others are removed.
io::Task<Result<std::set<IpAddress>>> KubernetesService::servers() {
  FAIRLEAD_CO_TRY(leases, co_await registry_.store().list({.prefix = std::string(kLeases)}));
  const MonoTime now = clock_.mono();
  std::map<std::string, Seen> seen;
  std::set<IpAddress> out{config_.advertise.address};
  for (const KeyValue& lease : leases.items) {
    const auto before = seen_.find(lease.key);
    const bool changed = before == seen_.end() || before->second.revision != lease.mod_revision;
    const Seen now_seen{.revision = lease.mod_revision,
                        .since = changed ? now : before->second.since};
    const auto address = IpAddress::parse(std::string_view(lease.key).substr(kLeases.size()));
    if (now_seen.since + kExpiry <= now || !address) {
      log::info("An API server is gone", {{"lease", lease.key}});
      FAIRLEAD_CO_CHECK(
          co_await registry_.store().commit(delete_key(lease.key, lease.mod_revision)));
      continue;
    }
    seen.emplace(lease.key, now_seen);
    if (address->family() == config_.advertise.address.family()) out.insert(*address);
  }
  seen_ = std::move(seen);
  co_return out;
}

io::Task<Result<void>> KubernetesService::write(Resource* resource, Document object) {
  FAIRLEAD_CO_CHECK(co_await create_unless_there(&registry_, &clock_, resource, "default", object));
  ObjectWriter writer(registry_);
  const auto set =
      co_await writer.update(*resource, own_request(clock_, "default", "kubernetes"),
                             [object](const Document&) -> ApiResult<Document> { return object; });
  if (!set && !is_unreadable(set.error())) {
    co_return to_error(set.error(), fmt::format("set {} kubernetes", resource->info().kind));
  }
  co_return Result<void>();
}

io::Task<Result<void>> KubernetesService::write_addresses(std::set<IpAddress> addresses) {
  Resource* slices = registry_.find("discovery.k8s.io", "v1", "endpointslices");
  Resource* endpoints = registry_.find("", "v1", "endpoints");
  check(slices != nullptr && endpoints != nullptr, "both forms of endpoints are among the kinds");
  FAIRLEAD_CO_CHECK(co_await write(slices, slice_document(addresses, config_.advertise)));
  co_return co_await write(endpoints, endpoints_document(addresses, config_.advertise));
}

io::Task<Result<void>> KubernetesService::reconcile() {
  Resource* services = registry_.find("", "v1", "services");
  check(services != nullptr, "Services are among the kinds");
  FAIRLEAD_CO_CHECK(
      co_await create_unless_there(&registry_, &clock_, services, "default",
                                   service_document(config_.service_cidr, config_.advertise)));
  if (config_.alone) co_return co_await write_addresses({config_.advertise.address});
  FAIRLEAD_CO_CHECK(co_await renew());
  FAIRLEAD_CO_TRY(addresses, co_await servers());
  co_return co_await write_addresses(std::move(addresses));
}

io::Task<void> KubernetesService::run() {
  while (co_await io::sleep_for(kPeriod)) {
    if (const auto done = co_await reconcile(); !done) {
      log::warning("Service default/kubernetes could not be kept, trying again",
                   {{"err", done.error()}});
    }
  }
}

io::Task<void> KubernetesService::leave() {
  if (config_.alone) co_return;
  StoreTransaction remove;
  remove.operations.push_back({.key = own_key(), .value = nullptr});
  const auto done = co_await registry_.store().commit(std::move(remove));
  if (!done) log::warning("The lease could not be given back", {{"err", done.error()}});
  auto others = co_await servers();
  if (!others) co_return;
  others->erase(config_.advertise.address);
  if (others->empty()) co_return;  // the last one: who comes next writes them anew
  if (const auto written = co_await write_addresses(*std::move(others)); !written) {
    log::warning("Endpoints of Service kubernetes could not be updated",
                 {{"err", written.error()}});
  }
}

}  // namespace fairlead::apiserver
