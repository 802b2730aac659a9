#include "nftables/proxy_under_test.hpp"

#include "proxy/conntrack.hpp"
#include "proxy/modes/nftables/nftables_mode.hpp"

namespace fairlead::bench {
namespace {

template <class T, class Put, class Remove>
Result<void> deliver(kube::Decoder& decoder, std::string_view line, Put put, Remove remove) {
  FAIRLEAD_TRY(event, decoder.watch_event<T>(line));
  const kube::ObjectMeta& meta = event.object.metadata;
  if (event.type == kube::WatchEventType::Deleted) {
    remove(kube::NamespacedName{.namespace_ = meta.namespace_, .name = meta.name});
  } else {
    put(event.object);
  }
  return {};
}

}  // namespace

Result<void> Cluster::service(std::string_view line) {
  return deliver<kube::Service>(
      decoder_, line, [this](const auto& object) { model_.put(object); },
      [this](const auto& name) { model_.remove_service(name); });
}

Result<void> Cluster::slice(std::string_view line) {
  return deliver<kube::EndpointSlice>(
      decoder_, line, [this](const auto& object) { model_.put(object); },
      [this](const auto& name) { model_.remove_slice(name); });
}

Result<void> Cluster::load(ClusterSize size) {
  for (int i = 0; i < size.services; ++i) {
    FAIRLEAD_CHECK(service(service_line(Change::Added, i)));
    FAIRLEAD_CHECK(slice(slice_line(Change::Added, i, size.endpoints)));
  }
  return {};
}

Result<std::unique_ptr<ProxyUnderTest>> ProxyUnderTest::create(model::Model* model) {
  FAIRLEAD_TRY(mode, nftables::create({}));
  return std::unique_ptr<ProxyUnderTest>(new ProxyUnderTest(model, std::move(mode)));
}

// The time between two commits is scheduling, not work: none is kept here.
ProxyUnderTest::ProxyUnderTest(model::Model* model, std::unique_ptr<plan::Mode> mode)
    : syncer_({.model = model,
               .node = first_node(),
               .sync_period = std::chrono::hours{1},
               .min_sync_period = Duration{0}}),
      kernel_({.mode = std::move(mode), .clean_flows = &proxy::clean_flows}) {}

Result<Commit> ProxyUnderTest::sync() {
  const MonoTime start = Clock::real().mono();
  if (!syncer_.gates_open()) {
    syncer_.services_synced();
    syncer_.slices_synced();
  }
  syncer_.changed();
  auto job = syncer_.next_job();
  if (!job || job->kind != proxy::Job::Kind::Commit) {
    return make_error(ErrorCode::Internal, "the change left nothing to commit");
  }
  const MonoTime compiled = Clock::real().mono();
  const proxy::Outcome outcome = kernel_.run(*std::move(job));
  const MonoTime done = Clock::real().mono();
  syncer_.finish(outcome);
  if (outcome.error) return *outcome.error;
  return Commit{.stats = outcome.stats, .compile = compiled - start, .kernel = done - compiled};
}

}  // namespace fairlead::bench
