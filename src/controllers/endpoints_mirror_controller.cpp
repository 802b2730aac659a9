#include "controllers/endpoints_mirror_controller.hpp"

#include "controllers/keys.hpp"

namespace fairlead::controllers {
namespace {

using kube::EndpointSlice;
using kube::NamespacedName;

const EndpointSlice* mirrored(const EndpointSlice* slice) {
  return slice != nullptr && is_mirrored(*slice) ? slice : nullptr;
}

}  // namespace

EndpointsMirrorController::EndpointsMirrorController(io::Executor executor, Config config)
    : config_(config),
      slices_(*config.slices, *config.clock),
      loop_(std::move(executor),
            {.clock = config.clock,
             .failure = "Endpoints not mirrored",
             .key_name = "endpoints",
             .workers = config.workers,
             .ready = [this] { return stores_synced(); },
             .sync = [this](const std::string& key) { return sync(parse_key(key)); }}) {
  config_.services->on_change([this](const kube::Service* before, const kube::Service* after) {
    mark(key_of((after != nullptr ? after : before)->metadata));
  });
  config_.endpoints->on_change([this](const kube::Endpoints* before, const kube::Endpoints* after) {
    mark(key_of((after != nullptr ? after : before)->metadata), config_.batch_period);
  });
  config_.slices->on_change([this](const EndpointSlice* before, const EndpointSlice* after) {
    slice_changed(before, after);
  });
  config_.services->on_synced([this] { loop_.wake(); });
  config_.endpoints->on_synced([this] { loop_.wake(); });
  config_.slices->on_synced([this] { loop_.wake(); });
}

void EndpointsMirrorController::mark(const NamespacedName& name, std::chrono::nanoseconds delay) {
  loop_.mark(name.to_string(), delay);
}

void EndpointsMirrorController::slice_changed(const EndpointSlice* before,
                                              const EndpointSlice* after) {
  for (const NamespacedName& service : slices_.changed(mirrored(before), mirrored(after)))
    mark(service);
}

bool EndpointsMirrorController::stores_synced() const {
  return config_.services->has_synced() && config_.endpoints->has_synced() &&
         config_.slices->has_synced();
}

io::Task<Result<void>> EndpointsMirrorController::sync(NamespacedName name) {
  if (slices_.waits_for_own_writes(name)) {
    // Their return marks the name; this is for one that never comes.
    mark(name, ServiceSlices::kPatience);
    co_return Result<void>{};
  }
  const kube::Endpoints* endpoints = config_.endpoints->get(name);
  if (endpoints == nullptr) told_.erase(name);
  const auto slices = slices_.of(name);
  MirrorOutcome outcome = mirror_endpoints({.service = config_.services->get(name),
                                            .endpoints = endpoints,
                                            .slices = slices,
                                            .max_addresses = config_.max_addresses});
  if (endpoints != nullptr) tell(*endpoints, outcome.findings);
  co_return co_await write(name, std::move(outcome.writes));
}

io::Task<Result<void>> EndpointsMirrorController::write(NamespacedName name,
                                                        EndpointSliceWrites writes) {
  for (EndpointSlice& slice : writes.create) {
    FAIRLEAD_CO_TRY(made, co_await config_.client->create_object(std::move(slice)));
    slices_.written(name, made);
  }
  for (EndpointSlice& slice : writes.update) {
    FAIRLEAD_CO_TRY(made, co_await config_.client->replace_object(std::move(slice)));
    slices_.written(name, made);
  }
  for (const EndpointSlice& slice : writes.remove) {
    const auto gone = co_await config_.client->remove_object<EndpointSlice>(key_of(slice.metadata));
    if (!gone && gone.error().code != ErrorCode::NotFound) co_return gone.error();
    slices_.removed(name, slice.metadata.name);
  }
  co_return Result<void>{};
}

// Once for each change of what there is to tell.
void EndpointsMirrorController::tell(const kube::Endpoints& endpoints,
                                     const std::vector<MirrorFinding>& findings) {
  const auto told = std::exchange(told_[key_of(endpoints.metadata)], findings);
  if (findings.empty()) told_.erase(key_of(endpoints.metadata));
  if (findings == told) return;
  for (const MirrorFinding& finding : findings) {
    config_.events->record({.type = client::Event::Type::Warning,
                            .reason = finding.reason,
                            .action = "MirrorEndpoints",
                            .regarding = {.kind = "Endpoints",
                                          .namespace_ = endpoints.metadata.namespace_,
                                          .name = endpoints.metadata.name,
                                          .uid = endpoints.metadata.uid},
                            .note = finding.note});
  }
}

}  // namespace fairlead::controllers
