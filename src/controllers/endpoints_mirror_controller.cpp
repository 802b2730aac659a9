#include "controllers/endpoints_mirror_controller.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "controllers/keys.hpp"

namespace fairlead::controllers {
namespace {

using kube::EndpointSlice;
using kube::NamespacedName;

constexpr std::chrono::seconds kWritePatience{5};

std::uint64_t revision_of(const EndpointSlice& slice) {
  return parse_uint(slice.metadata.resource_version).value_or(0);
}

}  // namespace

EndpointsMirrorController::EndpointsMirrorController(io::Executor executor, Config config)
    : config_(config),
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
  for (const EndpointSlice* slice : {before, after}) {
    if (slice == nullptr || !is_mirrored(*slice)) continue;
    const auto label = slice->metadata.labels.find(kube::label::kServiceName);
    if (label == slice->metadata.labels.end()) continue;
    const NamespacedName service{slice->metadata.namespace_, label->second};
    if (slice == after) {
      slices_[service].insert(slice->metadata.name);
    } else if (const auto held = slices_.find(service); held != slices_.end()) {
      held->second.erase(slice->metadata.name);
      if (held->second.empty()) slices_.erase(held);
    }
    mark(service);
  }
}

bool EndpointsMirrorController::stores_synced() const {
  return config_.services->has_synced() && config_.endpoints->has_synced() &&
         config_.slices->has_synced();
}

bool EndpointsMirrorController::waits_for_own_writes(const NamespacedName& name) {
  const auto writes = outstanding_.find(name);
  if (writes == outstanding_.end()) return false;
  std::erase_if(writes->second, [&](const auto& entry) {
    const auto& [slice, expected] = entry;
    if (expected.patience <= config_.clock->mono()) return true;
    const EndpointSlice* seen = config_.slices->get({name.namespace_, slice});
    if (expected.revision == 0) return seen == nullptr;
    return seen != nullptr && revision_of(*seen) >= expected.revision;
  });
  if (!writes->second.empty()) return true;
  outstanding_.erase(writes);
  return false;
}

void EndpointsMirrorController::expect(const NamespacedName& name, const EndpointSlice& written) {
  outstanding_[name][written.metadata.name] = {.revision = revision_of(written),
                                               .patience = config_.clock->mono() + kWritePatience};
}

io::Task<Result<void>> EndpointsMirrorController::sync(NamespacedName name) {
  if (waits_for_own_writes(
          name)) {  // their return marks the name; this is for one that never comes
    mark(name, kWritePatience);
    co_return Result<void>{};
  }
  const kube::Endpoints* endpoints = config_.endpoints->get(name);
  if (endpoints == nullptr) told_.erase(name);
  std::vector<const EndpointSlice*> slices;
  if (const auto held = slices_.find(name); held != slices_.end()) {
    for (const std::string& slice : held->second) {
      if (const auto* known = config_.slices->get({name.namespace_, slice}))
        slices.push_back(known);
    }
  }
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
    expect(name, made);
  }
  for (EndpointSlice& slice : writes.update) {
    FAIRLEAD_CO_TRY(made, co_await config_.client->replace_object(std::move(slice)));
    expect(name, made);
  }
  for (EndpointSlice& slice : writes.remove) {
    const auto gone = co_await config_.client->remove_object<EndpointSlice>(key_of(slice.metadata));
    if (!gone && gone.error().code != ErrorCode::NotFound) co_return gone.error();
    slice.metadata.resource_version.clear();
    expect(name, slice);
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
