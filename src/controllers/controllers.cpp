#include "controllers/controllers.hpp"

#include "client/informer.hpp"
#include "client/reflector.hpp"
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
  Impl(io::Executor executor, Config config)
      : services(config.client),
        pods(config.client),
        nodes(config.client),
        slices(config.client),
        endpoint_slices(executor, {.client = config.client,
                                   .clock = config.clock,
                                   .services = &services.store,
                                   .pods = &pods.store,
                                   .nodes = &nodes.store,
                                   .slices = &slices.store}),
        tasks(executor, "controllers") {}

  Informer<kube::Service> services;
  Informer<kube::Pod> pods;
  Informer<kube::Node> nodes;
  Informer<kube::EndpointSlice> slices;
  EndpointSliceController endpoint_slices;
  io::TaskGroup tasks;
};

Controllers::Controllers(io::Executor executor, Config config)
    : impl_(std::make_unique<Impl>(std::move(executor), config)) {}
Controllers::~Controllers() = default;

void Controllers::start() {
  impl_->tasks.spawn(impl_->services.reflector.run());
  impl_->tasks.spawn(impl_->pods.reflector.run());
  impl_->tasks.spawn(impl_->nodes.reflector.run());
  impl_->tasks.spawn(impl_->slices.reflector.run());
  impl_->tasks.spawn(impl_->endpoint_slices.run());
}

io::Task<void> Controllers::close() { co_await impl_->tasks.close(); }

}  // namespace fairlead::controllers
