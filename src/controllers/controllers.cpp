#include "controllers/controllers.hpp"

#include <optional>

#include "client/event_recorder.hpp"
#include "client/informer.hpp"
#include "client/reflector.hpp"
#include "controllers/endpoints_controller.hpp"
#include "controllers/endpoints_mirror_controller.hpp"
#include "controllers/endpointslice_controller.hpp"
#include "controllers/pod_garbage_controller.hpp"

namespace fairlead::controllers {
namespace {

// A store and the reflector that keeps it in step.
template <class T>
struct Informer {
  explicit Informer(client::ApiClient* client, client::ReflectorOptions options = {})
      : reflector({.client = client, .handler = &store, .options = std::move(options)}) {}
  client::Store<T> store;
  client::Reflector<T> reflector;
};

}  // namespace

// What is not enabled does not exist: it would note news for nobody.
struct Controllers::Impl {
  Impl(const io::Executor& executor, const Config& config)
      : services(config.client),
        pods(config.client),
        nodes(config.client),
        slices(config.client),
        endpoints(config.client),
        leases(config.client,
               {.namespace_ = kNodeLeases, .absence_pause = std::chrono::minutes{1}}),
        events(executor, {.client = config.client,
                          .series = {.reporter = {.controller = "fairlead-controller",
                                                  .instance = config.instance}},
                          .clock = config.clock}),
        tasks(executor, "controllers") {
    make_endpoints(executor, config);
    make_the_rest(executor, config);
  }

  void make_endpoints(const io::Executor& executor, const Config& config) {
    using Slices = EndpointSliceController::Config;
    if (config.enabled.contains(ControllerName::EndpointSlices))
      endpoint_slices.emplace(executor, Slices{.client = config.client,
                                               .events = &events,
                                               .clock = config.clock,
                                               .services = &services.store,
                                               .pods = &pods.store,
                                               .nodes = &nodes.store,
                                               .slices = &slices.store,
                                               .batch_period = config.slices.batch_period,
                                               .max_endpoints = config.slices.max_endpoints,
                                               .workers = config.slices.workers});
    using Endpoints = EndpointsController::Config;
    if (config.enabled.contains(ControllerName::Endpoints))
      endpoints_kept.emplace(executor, Endpoints{.client = config.client,
                                                 .clock = config.clock,
                                                 .services = &services.store,
                                                 .pods = &pods.store,
                                                 .endpoints = &endpoints.store,
                                                 .batch_period = config.endpoints.batch_period,
                                                 .workers = config.endpoints.workers});
    using Mirror = EndpointsMirrorController::Config;
    if (config.enabled.contains(ControllerName::Mirroring))
      endpoints_mirrored.emplace(executor, Mirror{.client = config.client,
                                                  .events = &events,
                                                  .clock = config.clock,
                                                  .services = &services.store,
                                                  .endpoints = &endpoints.store,
                                                  .slices = &slices.store,
                                                  .max_addresses = config.mirrored.max_endpoints,
                                                  .batch_period = config.mirrored.batch_period,
                                                  .workers = config.mirrored.workers});
  }

  void make_the_rest(const io::Executor& executor, const Config& config) {
    if (config.enabled.contains(ControllerName::PodGarbage))
      pod_garbage.emplace(executor, PodGarbageController::Config{.client = config.client,
                                                                 .clock = config.clock,
                                                                 .pods = &pods.store,
                                                                 .nodes = &nodes.store,
                                                                 .policy = config.pod_garbage});
    if (config.enabled.contains(ControllerName::NodeHealth))
      node_health.emplace(executor, NodeHealthController::Config{.client = config.client,
                                                                 .events = &events,
                                                                 .clock = config.clock,
                                                                 .nodes = &nodes.store,
                                                                 .pods = &pods.store,
                                                                 .leases = &leases.store,
                                                                 .policy = config.node_health});
    if (config.enabled.contains(ControllerName::LoadBalancers) &&
        !config.load_balancer.pools.empty())
      load_balancer.emplace(executor,
                            LoadBalancerController::Config{.client = config.client,
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
  Informer<kube::Lease> leases;
  client::EventRecorder events;
  std::optional<EndpointSliceController> endpoint_slices;
  std::optional<EndpointsController> endpoints_kept;
  std::optional<EndpointsMirrorController> endpoints_mirrored;
  std::optional<PodGarbageController> pod_garbage;
  std::optional<NodeHealthController> node_health;
  std::optional<LoadBalancerController> load_balancer;
  io::TaskGroup tasks;
};

Controllers::Controllers(const io::Executor& executor, const Config& config)
    : impl_(std::make_unique<Impl>(executor, config)) {}
Controllers::~Controllers() = default;

void Controllers::start() {
  Impl& my = *impl_;
  my.tasks.spawn(my.services.reflector.run());
  my.tasks.spawn(my.pods.reflector.run());
  my.tasks.spawn(my.nodes.reflector.run());
  my.tasks.spawn(my.slices.reflector.run());
  my.tasks.spawn(my.endpoints.reflector.run());
  my.tasks.spawn(my.events.run());
  if (my.endpoint_slices) my.tasks.spawn(my.endpoint_slices->run());
  if (my.endpoints_kept) my.tasks.spawn(my.endpoints_kept->run());
  if (my.endpoints_mirrored) my.tasks.spawn(my.endpoints_mirrored->run());
  if (my.pod_garbage) my.tasks.spawn(my.pod_garbage->run());
  if (my.load_balancer) my.tasks.spawn(my.load_balancer->run());
  if (!my.node_health) return;
  my.tasks.spawn(my.leases.reflector.run());
  my.tasks.spawn(my.node_health->watch());
  my.tasks.spawn(my.node_health->write());
}

io::Task<void> Controllers::close() { co_await impl_->tasks.close(); }

}  // namespace fairlead::controllers
