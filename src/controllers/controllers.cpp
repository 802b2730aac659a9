#include "controllers/controllers.hpp"

#include <optional>

#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "client/reflector.hpp"
#include "controllers/endpoints_controller.hpp"
#include "controllers/endpoints_mirror_controller.hpp"
#include "controllers/endpointslice_controller.hpp"

namespace fairlead::controllers {
namespace {

// A store and the reflector that keeps it in step.
template <class T>
struct Informer {
  explicit Informer(client::ApiClient* client) : reflector({.client = client, .handler = &store}) {}
  client::Store<T> store;
  client::Reflector<T> reflector;
};

}  // namespace

struct Controllers::Impl {
  Impl(const io::Executor& executor, const Config& config)
      : services(config.client),
        pods(config.client),
        nodes(config.client),
        slices(config.client),
        endpoints(config.client),
        events(executor, {.client = config.client,
                          .series = {.reporter = {.controller = "fairlead-controller",
                                                  .instance = config.instance}},
                          .clock = config.clock}),
        endpoint_slices(executor, {.client = config.client,
                                   .events = &events,
                                   .clock = config.clock,
                                   .services = &services.store,
                                   .pods = &pods.store,
                                   .nodes = &nodes.store,
                                   .slices = &slices.store,
                                   .batch_period = config.endpoint_batch_period}),
        endpoints_kept(executor, {.client = config.client,
                                  .clock = config.clock,
                                  .services = &services.store,
                                  .pods = &pods.store,
                                  .endpoints = &endpoints.store}),
        endpoints_mirrored(executor, {.client = config.client,
                                      .events = &events,
                                      .clock = config.clock,
                                      .services = &services.store,
                                      .endpoints = &endpoints.store,
                                      .slices = &slices.store}),
        tasks(executor, "controllers") {
    if (config.load_balancer.pools.empty()) return;
    load_balancer.emplace(executor, LoadBalancerController::Config{.client = config.client,
                                                                   .events = &events,
                                                                   .clock = config.clock,
                                                                   .services = &services.store,
                                                                   .policy = config.load_balancer});
  }

  Informer<kube::Service> services;
  Informer<kube::Pod> pods;
  Informer<kube::Node> nodes;
  Informer<kube::EndpointSlice> slices;
  Informer<kube::Endpoints> endpoints;
  client::EventRecorder events;
  EndpointSliceController endpoint_slices;
  EndpointsController endpoints_kept;
  EndpointsMirrorController endpoints_mirrored;
  std::optional<LoadBalancerController> load_balancer;
  io::TaskGroup tasks;
};

Controllers::Controllers(const io::Executor& executor, const Config& config)
    : impl_(std::make_unique<Impl>(executor, config)) {}
Controllers::~Controllers() = default;

void Controllers::start() {
  impl_->tasks.spawn(impl_->services.reflector.run());
  impl_->tasks.spawn(impl_->pods.reflector.run());
  impl_->tasks.spawn(impl_->nodes.reflector.run());
  impl_->tasks.spawn(impl_->slices.reflector.run());
  impl_->tasks.spawn(impl_->endpoints.reflector.run());
  impl_->tasks.spawn(impl_->endpoint_slices.run());
  impl_->tasks.spawn(impl_->endpoints_kept.run());
  impl_->tasks.spawn(impl_->endpoints_mirrored.run());
  impl_->tasks.spawn(impl_->events.run());
  if (impl_->load_balancer) impl_->tasks.spawn(impl_->load_balancer->run());
}

io::Task<void> Controllers::close() { co_await impl_->tasks.close(); }

}  // namespace fairlead::controllers
