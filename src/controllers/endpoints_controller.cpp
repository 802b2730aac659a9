#include "controllers/endpoints_controller.hpp"

#include "base/log.hpp"
#include "controllers/endpoints_reconcile.hpp"
#include "controllers/keys.hpp"
#include "controllers/selected_pods.hpp"

namespace fairlead::controllers {
namespace {

using kube::Endpoints;
using kube::NamespacedName;
using kube::Pod;
using kube::Service;

bool is_kept_here(const Endpoints& endpoints) {
  const auto manager = endpoints.metadata.labels.find(kEndpointsManagedBy);
  return manager != endpoints.metadata.labels.end() && manager->second == kEndpointsManager;
}

// The write was computed from a state that is no more.
bool is_stale(const Error& error) {
  return error.code == ErrorCode::Conflict || error.code == ErrorCode::AlreadyExists ||
         error.code == ErrorCode::NotFound;
}

}  // namespace

EndpointsController::EndpointsController(io::Executor executor, Config config)
    : config_(config),
      loop_(std::move(executor),
            {.clock = config.clock,
             .failure = "endpoints not written",
             .key_name = "service",
             .workers = config.workers,
             .ready = [this] { return stores_synced(); },
             .sync = [this](const std::string& key) { return sync(parse_key(key)); }}) {
  config_.services->on_change(
      [this](const Service* before, const Service* after) { service_changed(before, after); });
  config_.pods->on_change(
      [this](const Pod* before, const Pod* after) { pod_changed(before, after); });
  config_.endpoints->on_change([this](const Endpoints* before, const Endpoints* after) {
    endpoints_changed(before, after);
  });
  config_.services->on_synced([this] { loop_.wake(); });
  config_.pods->on_synced([this] { loop_.wake(); });
  config_.endpoints->on_synced([this] { loop_.wake(); });
}

void EndpointsController::mark(const NamespacedName& service, std::chrono::milliseconds delay) {
  loop_.mark(service.to_string(), delay);
}

void EndpointsController::service_changed(const Service* before, const Service* after) {
  mark(key_of((after != nullptr ? after : before)->metadata));
}

void EndpointsController::pod_changed(const Pod* before, const Pod* after) {
  for (const NamespacedName& service : services_concerned(before, after, *config_.services))
    mark(service, config_.batch_period);
}

// Endpoints that somebody else wrote for no Service are left alone.
void EndpointsController::endpoints_changed(const Endpoints* before, const Endpoints* after) {
  const Endpoints& endpoints = *(after != nullptr ? after : before);
  const NamespacedName key = key_of(endpoints.metadata);
  if (is_kept_here(endpoints) || config_.services->get(key) != nullptr) mark(key);
}

bool EndpointsController::stores_synced() const {
  return config_.services->has_synced() && config_.pods->has_synced() &&
         config_.endpoints->has_synced();
}

io::Task<Result<void>> EndpointsController::sync(NamespacedName key) {
  const Service* service = config_.services->get(key);
  const Endpoints* existing = config_.endpoints->get(key);
  if (service == nullptr) {
    if (existing == nullptr || existing->metadata.annotations.contains(kLeaderAnnotation))
      co_return Result<void>{};
    auto removed = co_await config_.client->remove_object<Endpoints>(key);
    if (!removed && !is_stale(removed.error())) co_return std::move(removed).error();
    co_return Result<void>{};
  }
  const auto pods = pods_in(*config_.pods, key.namespace_);
  auto wanted = reconcile_endpoints(*service, pods, existing);
  if (!wanted) co_return Result<void>{};
  co_return co_await write(*std::move(wanted), existing != nullptr);
}

io::Task<Result<void>> EndpointsController::write(Endpoints endpoints, bool exists) {
  const NamespacedName key = key_of(endpoints.metadata);
  auto written = exists ? co_await config_.client->replace_object(std::move(endpoints))
                        : co_await config_.client->create_object(std::move(endpoints));
  if (!written && !is_stale(written.error())) co_return std::move(written).error();
  log::verbose(2, "endpoints written",
               {{"service", key.to_string()}, {"stale", !written.has_value()}});
  co_return Result<void>{};
}

}  // namespace fairlead::controllers
