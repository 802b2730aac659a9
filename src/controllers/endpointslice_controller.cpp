#include "controllers/endpointslice_controller.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "controllers/keys.hpp"
#include "controllers/selected_pods.hpp"
#include "controllers/topology_hints.hpp"
#include "kube/selector.hpp"

namespace fairlead::controllers {
namespace {

using kube::EndpointSlice;
using kube::NamespacedName;
using kube::Pod;
using kube::Service;
using std::chrono::milliseconds;

}  // namespace

EndpointSliceController::EndpointSliceController(io::Executor executor, Config config)
    : config_(config),
      slices_(*config.slices, *config.clock),
      loop_(std::move(executor),
            {.clock = config.clock,
             .failure = "endpoint slices not written",
             .key_name = "service",
             .workers = config.workers,
             .ready = [this] { return stores_synced(); },
             .sync = [this](const std::string& key) { return sync(parse_key(key)); }}) {
  config_.services->on_change(
      [this](const Service* before, const Service* after) { service_changed(before, after); });
  config_.pods->on_change(
      [this](const Pod* before, const Pod* after) { pod_changed(before, after); });
  config_.slices->on_change([this](const EndpointSlice* before, const EndpointSlice* after) {
    slice_changed(before, after);
  });
  config_.nodes->on_change(
      [this](const kube::Node* before, const kube::Node* after) { node_changed(before, after); });
  config_.services->on_synced([this] { loop_.wake(); });
  config_.pods->on_synced([this] { loop_.wake(); });
  config_.slices->on_synced([this] { loop_.wake(); });
  config_.nodes->on_synced([this] { loop_.wake(); });
}

void EndpointSliceController::mark(const NamespacedName& service, milliseconds delay) {
  loop_.mark(service.to_string(), delay);
}

void EndpointSliceController::service_changed(const Service* before, const Service* after) {
  mark(key_of((after != nullptr ? after : before)->metadata));
}

void EndpointSliceController::pod_changed(const Pod* before, const Pod* after) {
  for (const NamespacedName& service : services_concerned(before, after, *config_.services))
    mark(service, config_.batch_period);
}

void EndpointSliceController::slice_changed(const EndpointSlice* before,
                                            const EndpointSlice* after) {
  for (const NamespacedName& service : slices_.changed(before, after)) mark(service);
}

void EndpointSliceController::node_changed(const kube::Node* before, const kube::Node* after) {
  const auto zone_of = [](const kube::Node* node) {
    const auto zone = node->metadata.labels.find(kube::label::kTopologyZone);
    return zone == node->metadata.labels.end() ? std::string() : zone->second;
  };
  if (zone_cpu_differs(before, after)) {
    for (const auto& [key, service] : config_.services->all()) {
      if (wants_endpoint_slices(service) && wants_topology_hints(service)) mark(key);
    }
  }
  if (before != nullptr && after != nullptr && zone_of(before) == zone_of(after)) return;
  const std::string& name = (after != nullptr ? after : before)->metadata.name;
  for (const auto& [key, pod] : config_.pods->all()) {
    if (pod.node_name != name) continue;
    for (const NamespacedName& service : services_selecting(pod, *config_.services))
      mark(service, config_.batch_period);
  }
}

bool EndpointSliceController::stores_synced() const {
  return config_.services->has_synced() && config_.pods->has_synced() &&
         config_.nodes->has_synced() && config_.slices->has_synced();
}

std::optional<WallTime> EndpointSliceController::new_trigger(
    const Service& service, const std::vector<const Pod*>& pods) const {
  std::optional<WallTime> newest = service.metadata.creation_timestamp;
  const auto selector = kube::LabelSelector::match_all(service.selector);
  for (const Pod* pod : pods) {
    if (!selector.matches(pod->metadata.labels)) continue;
    for (const kube::Condition& condition : pod->conditions) {
      if (condition.type == "Ready" && condition.last_transition_time)
        newest = std::max(newest, condition.last_transition_time);
    }
  }
  const auto last = last_trigger_.find(key_of(service.metadata));
  if (last != last_trigger_.end() && newest && *newest <= last->second) return std::nullopt;
  return newest;
}

io::Task<Result<void>> EndpointSliceController::sync(NamespacedName key) {
  const Service* service = config_.services->get(key);
  const kube::ObjectMeta meta = service == nullptr ? kube::ObjectMeta{} : service->metadata;
  auto outcome = co_await reconcile(key);
  // Conflict: a newer version of a slice is on its way to us.
  if (!outcome && service != nullptr && outcome.error().code != ErrorCode::Conflict)
    tell(meta, client::Event::Type::Warning, "FailedToUpdateEndpointSlices",
         outcome.error().message);
  co_return outcome;
}

io::Task<Result<void>> EndpointSliceController::reconcile(NamespacedName key) {
  const Service* service = config_.services->get(key);
  if (service == nullptr) {
    last_trigger_.erase(key);
    told_hints_.erase(key);
    co_return co_await remove_slices_of_gone_service(key);
  }
  if (slices_.waits_for_own_writes(key)) {
    // Their return marks the key again; this is for a return that never comes.
    mark(key, ServiceSlices::kPatience);
    co_return Result<void>{};
  }
  const auto pods = pods_in(*config_.pods, key.namespace_);
  const auto slices = slices_.of(key);
  const auto trigger = new_trigger(*service, pods);
  auto writes = reconcile_endpoint_slices({.service = *service,
                                           .pods = pods,
                                           .slices = slices,
                                           .nodes = config_.nodes->all(),
                                           .trigger = trigger,
                                           .max_endpoints = config_.max_endpoints});
  tell_of_hints(*service, writes);
  const std::vector<std::string> missing = writes.missing_nodes;
  FAIRLEAD_CO_CHECK(co_await write(key, std::move(writes)));
  if (trigger) last_trigger_[key] = *trigger;
  if (!missing.empty())
    co_return make_error(ErrorCode::NotFound, "pods name node \"{}\", which does not exist",
                         missing.front());
  co_return Result<void>{};
}

// Once for each change of what is to be told.
void EndpointSliceController::tell_of_hints(const Service& service,
                                            const EndpointSliceWrites& writes) {
  constexpr char kDisabled[] = "TopologyAwareHintsDisabled";
  const auto told = std::exchange(told_hints_[key_of(service.metadata)], writes.hints_refused);
  for (const auto& [type, why] : writes.hints_refused) {
    const auto before = told.find(type);
    if (before != told.end() && before->second == why) continue;
    if (why.empty()) {
      tell(service.metadata, client::Event::Type::Normal, "TopologyAwareHintsEnabled",
           fmt::format("{} endpoints have hints", to_string(type)));
    } else {
      tell(service.metadata, client::Event::Type::Warning, kDisabled,
           fmt::format("{} endpoints have no hints: {}", to_string(type), why));
    }
  }
  for (const auto& [type, why] : told) {
    if (why.empty() && !writes.hints_refused.contains(type))
      tell(service.metadata, client::Event::Type::Warning, kDisabled,
           fmt::format("{} endpoints have no hints: they are not asked for any more",
                       to_string(type)));
  }
  if (writes.hints_refused.empty()) told_hints_.erase(key_of(service.metadata));
}

void EndpointSliceController::tell(const kube::ObjectMeta& service, client::Event::Type type,
                                   std::string reason, std::string note) const {
  config_.events->record({.type = type,
                          .reason = std::move(reason),
                          .action = "UpdateEndpointSlices",
                          .regarding = {.kind = "Service",
                                        .namespace_ = service.namespace_,
                                        .name = service.name,
                                        .uid = service.uid},
                          .note = std::move(note)});
}

io::Task<Result<void>> EndpointSliceController::write(NamespacedName key,
                                                      EndpointSliceWrites writes) {
  for (EndpointSlice& slice : writes.create) {
    FAIRLEAD_CO_TRY(created, co_await config_.client->create_object(std::move(slice)));
    slices_.written(key, created);
  }
  for (EndpointSlice& slice : writes.update) {
    FAIRLEAD_CO_TRY(updated, co_await config_.client->replace_object(std::move(slice)));
    slices_.written(key, updated);
  }
  for (const EndpointSlice& slice : writes.remove) {
    FAIRLEAD_CO_CHECK(co_await remove_slice(key, slice.metadata.name));
  }
  if (!writes.create.empty() || !writes.update.empty() || !writes.remove.empty()) {
    log::verbose(2, "endpoint slices written",
                 {{"service", key.to_string()},
                  {"created", writes.create.size()},
                  {"updated", writes.update.size()},
                  {"removed", writes.remove.size()}});
  }
  co_return Result<void>{};
}

io::Task<Result<void>> EndpointSliceController::remove_slice(NamespacedName service,
                                                             std::string slice) {
  const auto gone =
      co_await config_.client->remove_object<EndpointSlice>({service.namespace_, slice});
  if (!gone && gone.error().code != ErrorCode::NotFound) co_return gone.error();
  slices_.removed(service, slice);
  co_return Result<void>{};
}

// What a garbage collector would do for these: the owner is gone, so are its slices.
io::Task<Result<void>> EndpointSliceController::remove_slices_of_gone_service(NamespacedName key) {
  std::vector<std::string> orphans;
  for (const EndpointSlice* slice : slices_.of(key)) {
    const bool owned = std::ranges::any_of(
        slice->metadata.owner_references, [&](const kube::OwnerReference& owner) {
          return owner.kind == "Service" && owner.name == key.name;
        });
    if (owned && !slice->metadata.deletion_timestamp) orphans.push_back(slice->metadata.name);
  }
  for (const std::string& slice : orphans) FAIRLEAD_CO_CHECK(co_await remove_slice(key, slice));
  co_return Result<void>{};
}

}  // namespace fairlead::controllers
