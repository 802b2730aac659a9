#include "apiserver/lifecycle.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr auto kCompactionPeriod = 1min;
constexpr auto kReaperRetry = 5s;  // objects that wait for a finalizer or a grace period

WriteRequest own_request(const Clock& clock, std::string ns, std::string name = {}) {
  WriteRequest out;
  out.context = {.now = clock.wall(),
                 .dry_run = false,
                 .user = "system:apiserver",
                 .field_manager = "fairlead-apiserver"};
  out.ns = std::move(ns);
  out.name = std::move(name);
  return out;
}

Error to_error(const StatusError& error, std::string_view what) {
  return make_error(ErrorCode::Internal, "{}: {}", what, error.message);
}

io::Task<Result<void>> create_unless_there(Registry* registry, const Clock* clock,
                                           Resource* resource, std::string ns, Document object) {
  const std::string name(string_at(object, "metadata.name"));
  if (resource->cache.find(resource->key(ns, name)) != nullptr) co_return Result<void>();
  ObjectWriter writer(*registry);
  const auto written =
      co_await writer.create(*resource, own_request(*clock, ns), std::move(object));
  if (!written && written.error().reason != "AlreadyExists") {
    co_return to_error(written.error(), fmt::format("make {} {}", resource->info().kind, name));
  }
  co_return Result<void>();
}

}  // namespace

io::Task<Result<void>> make_system_namespaces(Registry* registry, const Clock* clock) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    Document object{{"metadata", Document{{"name", name}}}};
    FAIRLEAD_CO_CHECK(co_await create_unless_there(registry, clock, &registry->namespaces(), "",
                                                   std::move(object)));
  }
  co_return Result<void>();
}

namespace {

// Signed, as parsed documents hold numbers.
std::int64_t port_value(const SocketAddress& address) { return number(address.port); }

Document kubernetes_service(const IpPrefix& service_cidr, const SocketAddress& advertise) {
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

Document kubernetes_slice(const SocketAddress& advertise) {
  Document endpoint{{"addresses", boost::json::array{advertise.address.to_string()}},
                    {"conditions", Document{{"ready", true}}}};
  Document port{{"name", "https"}, {"protocol", "TCP"}, {"port", port_value(advertise)}};
  return {
      {"metadata", Document{{"name", "kubernetes"},
                            {"namespace", "default"},
                            {"labels", Document{{"kubernetes.io/service-name", "kubernetes"}}}}},
      {"addressType", text_value(to_string(advertise.address.family()))},
      {"endpoints", boost::json::array{std::move(endpoint)}},
      {"ports", boost::json::array{std::move(port)}}};
}

}  // namespace

io::Task<Result<void>> make_kubernetes_service(Registry* registry, const Clock* clock,
                                               IpPrefix service_cidr, SocketAddress advertise) {
  Resource* services = registry->find("", "v1", "services");
  Resource* slices = registry->find("discovery.k8s.io", "v1", "endpointslices");
  if (services == nullptr || slices == nullptr) co_return Result<void>();
  FAIRLEAD_CO_CHECK(co_await create_unless_there(registry, clock, services, "default",
                                                 kubernetes_service(service_cidr, advertise)));
  const Document slice = kubernetes_slice(advertise);
  FAIRLEAD_CO_CHECK(co_await create_unless_there(registry, clock, slices, "default", slice));
  ObjectWriter writer(*registry);
  const auto set =
      co_await writer.update(*slices, own_request(*clock, "default", "kubernetes"),
                             [slice](const Document&) -> ApiResult<Document> { return slice; });
  if (!set) co_return to_error(set.error(), "set EndpointSlice kubernetes");
  co_return Result<void>();
}

io::Task<Result<void>> make_service_cidr(Registry* registry, const Clock* clock,
                                         std::vector<IpPrefix> ranges) {
  Resource* resource = registry->find("networking.k8s.io", "v1", "servicecidrs");
  if (resource == nullptr) co_return Result<void>();
  boost::json::array cidrs;
  for (const IpPrefix& range : ranges) cidrs.emplace_back(range.to_string());
  co_return co_await create_unless_there(
      registry, clock, resource, "",
      {{"metadata", Document{{"name", "kubernetes"}}}, {"spec", Document{{"cidrs", cidrs}}}});
}

// ---- namespaces

NamespaceReaper::NamespaceReaper(Registry& registry, const Clock& clock, io::Executor executor)
    : registry_(registry), clock_(clock), writer_(registry), changed_(std::move(executor)) {}

io::Task<void> NamespaceReaper::run() {
  while (!co_await io::cancelled()) {
    bool waiting = false;
    std::vector<std::string> terminating;
    for (const auto& [key, object] : registry_.namespaces().cache.objects()) {
      if (object->terminating) terminating.push_back(object->name);
    }
    for (const std::string& ns : terminating) {
      if (co_await reap(ns)) {
        co_await release(ns);
      } else {
        waiting = true;
      }
    }
    if (waiting) {
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kReaperRetry);
    } else {
      co_await changed_.wait();
    }
  }
}

io::Task<bool> NamespaceReaper::reap(std::string ns) {
  bool empty = true;
  for (const auto& resource : registry_.resources()) {
    if (!resource->info().namespaced) continue;
    const Selection all{.ns = ns, .labels = {}, .fields = {}};
    for (const ObjectPtr& object : resource->cache.list(all, {}, 0).items) {
      if (object->terminating) {  // waits for its grace period or its finalizers
        empty = false;
        continue;
      }
      const auto removed =
          co_await writer_.remove(*resource, own_request(clock_, ns, object->name), {});
      if (!removed && removed.error().code != 404) {
        log::warning("Object of a namespace that is being deleted stays, retrying",
                     {{"resource", resource->info().resource},
                      {"namespace", ns},
                      {"name", object->name},
                      {"err", removed.error().message}});
      }
      if (removed ? !removed->removed : removed.error().code != 404) empty = false;
    }
  }
  co_return empty;
}

// What the namespace controller does through the finalize subresource.
io::Task<void> NamespaceReaper::release(std::string ns) {
  WriteRequest request = own_request(clock_, "", ns);
  request.subresource = "finalize";
  const auto done =
      co_await writer_.update(registry_.namespaces(), request, [](const Document& current) {
        Document next = current;
        ensure_object(next, "spec").erase("finalizers");
        return ApiResult<Document>(std::move(next));
      });
  if (!done && done.error().code != 404) {
    log::warning("Namespace could not be released",
                 {{"namespace", ns}, {"err", done.error().message}});
  }
}

// ---- compaction

Revision CompactionPolicy::observe(MonoTime now, Revision revision) {
  samples_.push_back({.time = now, .revision = revision});
  Revision target = 0;
  while (samples_.size() > 1 && samples_[1].time <= now - kKeptTime) samples_.pop_front();
  if (samples_.front().time <= now - kKeptTime) target = samples_.front().revision;
  target = std::min(target, revision > kKeptAtLeast ? revision - kKeptAtLeast : 0);
  return std::max(target, revision > kKeptAtMost ? revision - kKeptAtMost : 0);
}

io::Task<void> compact_regularly(Store* store, const Clock* clock) {
  CompactionPolicy policy;
  while (!co_await io::cancelled()) {
    if (const Revision target = policy.observe(clock->mono(), store->current_revision());
        target > 0) {
      const auto done = co_await store->compact(target);
      if (!done) log::warning("Compaction failed, retrying in a minute", {{"err", done.error()}});
    }
    if (!co_await io::sleep_for(kCompactionPeriod)) co_return;
  }
}

}  // namespace fairlead::apiserver
