#include "proxy/node_proxy.hpp"

#include "base/log.hpp"
#include "proxy/file_watch.hpp"
#include "proxy/node_proxy_impl.hpp"

namespace fairlead::proxy {
namespace {

// ServiceCIDRs came with 1.33.
constexpr std::chrono::minutes kAbsencePause{10};
// What is said last must not keep the process from ending.
constexpr std::chrono::seconds kLastWords{2};

template <class T>
client::ReflectorOptions reflector_options() {
  return {};
}
template <>
client::ReflectorOptions reflector_options<kube::Service>() {
  return {.label_selector = std::string("!") + kube::label::kServiceProxyName};
}
template <>
client::ReflectorOptions reflector_options<kube::EndpointSlice>() {
  return {.label_selector = std::string("!") + kube::label::kHeadless};
}

SyncPeriods periods_of(const Config& config, std::string_view mode) {
  if (mode == "iptables" || mode == "userspace") {
    return {.sync = config.iptables.sync_period, .min_sync = config.iptables.min_sync_period};
  }
  if (mode == "ipvs") {
    return {.sync = config.ipvs.sync_period, .min_sync = config.ipvs.min_sync_period};
  }
  return {.sync = config.nftables.sync_period, .min_sync = config.nftables.min_sync_period};
}

}  // namespace

// The mode says what is missing; here is how a service gets it.
Error with_advice(Error error) {
  if (error.code == ErrorCode::Forbidden) {
    error.message +=
        "; for a systemd unit: AmbientCapabilities=CAP_NET_ADMIN, for a container: "
        "securityContext.capabilities.add: [NET_ADMIN]";
  }
  return error;
}

Result<std::unique_ptr<NodeProxy>> NodeProxy::create(io::Executor executor, Options options) {
  FAIRLEAD_TRY(addresses, interface_addresses());
  HostFacts host{.node_name = options.node_name,
                 .families = supported_families(),
                 .interface_addresses = std::move(addresses)};
  FAIRLEAD_TRY(settings, node_settings(options.config, host, model::Node{}));
  auto mode = options.mode ? options.mode() : make_mode(options.config);
  if (!mode) return with_advice(mode.error());
  const auto& connection = options.config.client_connection;
  FAIRLEAD_TRY(api, client::ApiClient::create(
                        executor, {.access = options.access,
                                   .user_agent = "fairlead-proxy/v0.1.0 (linux) kubernetes",
                                   .rate_limit = client::RateLimit{.per_second = connection.qps,
                                                                   .burst = connection.burst},
                                   .clock = options.clock}));
  return std::unique_ptr<NodeProxy>(
      new NodeProxy(std::make_unique<Impl>(std::move(executor), std::move(options), std::move(host),
                                           std::move(settings), *std::move(mode), std::move(api))));
}

NodeProxy::NodeProxy(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeProxy::~NodeProxy() = default;
void NodeProxy::start() { impl_->start(); }
io::Task<void> NodeProxy::close() { return impl_->close(); }
const plan::Plan& NodeProxy::plan() const { return impl_->syncer().compiler().plan(); }
SyncHealth NodeProxy::health() const { return impl_->syncer().health(); }
bool NodeProxy::first_sync_done() const { return impl_->first_sync_done(); }

NodeProxy::Impl::Impl(io::Executor executor, Options options, HostFacts host, NodeSettings settings,
                      std::unique_ptr<plan::Mode> mode, std::unique_ptr<client::ApiClient> api)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      host_(std::move(host)),
      mode_name_(mode->name()),
      periods_(periods_of(options_.config, mode_name_)),
      syncer_({.model = &model_,
               .node = std::move(settings.context),
               .sync_period = periods_.sync,
               .min_sync_period = periods_.min_sync,
               .clock = options_.clock}),
      kernel_(std::make_unique<KernelSide>(KernelSide::Config{.mode = std::move(mode),
                                                              .clean_flows = &clean_flows,
                                                              .remove_leftovers = &remove_leftovers,
                                                              .clock = options_.clock})),
      metrics_({.families = host_.families, .mode = mode_name_, .started = options_.clock->wall()}),
      api_(std::move(api)),
      events_(executor_, {.client = api_.get(),
                          .series = {.reporter = {.controller = "kube-proxy",
                                                  .instance = "kube-proxy-" + host_.node_name}},
                          .clock = options_.clock}),
      health_checks_(
          {.executor = executor_,
           .healthy = [this] { return is_healthy(health_inputs()); },
           .on_failure = [this](const auto& service,
                                const Error& error) { health_check_failed(service, error); }}),
      metrics_surface_({.config = &options_.config,
                        .mode = mode_name_,
                        .metrics = [this] { return metrics_text(); }}),
      wake_(executor_),
      tamper_checked_(executor_),
      surroundings_changed_(executor_),
      traffic_counted_(executor_),
      tasks_(executor_, "node proxy"),
      started_(options_.clock->wall()) {}

void NodeProxy::Impl::start() {
  log::info("Starting", {{"node", host_.node_name},
                         {"mode", mode_name_},
                         {"families", host_.families.size() == 2 ? "IPv4 and IPv6" : "IPv4"},
                         {"server", api_->server()}});
  services_.emplace(
      client::Reflector<kube::Service>::Config{.client = api_.get(),
                                               .handler = &service_feed_,
                                               .options = reflector_options<kube::Service>()});
  slices_.emplace(client::Reflector<kube::EndpointSlice>::Config{
      .client = api_.get(),
      .handler = &slice_feed_,
      .options = reflector_options<kube::EndpointSlice>()});
  nodes_.emplace(client::Reflector<kube::Node>::Config{
      .client = api_.get(),
      .handler = &node_feed_,
      .options = {.field_selector = "metadata.name=" + host_.node_name}});
  ranges_.emplace(client::Reflector<kube::ServiceCidr>::Config{
      .client = api_.get(), .handler = &range_feed_, .options = {.absence_pause = kAbsencePause}});
  api_->set_on_exchange([this](const client::Exchange& exchange) {
    metrics_.api_request(exchange.method, exchange.host, exchange.status, exchange.duration);
  });
  tasks_.spawn(events_.run());
  tasks_.spawn(sync_loop());
  tasks_.spawn(wait_for_surroundings());
  tasks_.spawn(nodes_->run());
  tasks_.spawn(services_->run());
  tasks_.spawn(slices_->run());
  tasks_.spawn(ranges_->run());
  if (const int fd = kernel_->tamper_fd(); fd >= 0) tasks_.spawn(watch_tamper(fd));
  if (const int fd = kernel_->successor_fd(); fd >= 0) tasks_.spawn(watch_successor(fd));
  if (!options_.config_file.empty()) tasks_.spawn(watch_config_file());
  start_servers();
}

void NodeProxy::Impl::start_servers() {
  const Config& config = options_.config;
  const auto make = [&](const std::string& address, std::string name, std::string failure,
                        io::Responder responder) {
    return io::StatusServer::Config{
        .executor = executor_,
        .address = address,
        .name = std::move(name),
        .hard_fail = config.bind_address_hard_fail,
        .responder = std::move(responder),
        .on_fatal = [this, failure = std::move(failure)](const Error& error) {
          tasks_.spawn(end_with(failure, error));
        }};
  };
  if (!config.healthz_bind_address.empty()) {
    health_server_.emplace(make(
        config.healthz_bind_address, "health", "FailedToStartProxierHealthcheck",
        [this](const auto& request) { return answer_health(request, health_inputs(), metrics_); }));
    tasks_.spawn(health_server_->run());
  }
  if (!config.metrics_bind_address.empty()) {
    auto server = make(config.metrics_bind_address, "metrics", "FailedToStartMetricServer",
                       [this](const auto& request) { return metrics_surface_.answer(request); });
    server.prepare = [this](const io::HttpRequest& request) {
      return count_traffic(request.target);
    };
    metrics_server_.emplace(std::move(server));
    tasks_.spawn(metrics_server_->run());
  }
}

io::Task<void> NodeProxy::Impl::close() {
  co_await tasks_.close();
  if (health_server_) co_await health_server_->close();
  if (metrics_server_) co_await metrics_server_->close();
  co_await health_checks_.close();
  api_.reset();  // its idle connections would keep the loop from ending
}

void NodeProxy::Impl::fatal(const Error& error) {
  if (std::exchange(failed_, true)) return;
  if (options_.on_fatal) options_.on_fatal(error);
}

// As kube-proxy: its supervisor starts the process anew with the new content.
io::Task<void> NodeProxy::Impl::watch_config_file() {
  const auto changed = co_await file_changed(executor_, options_.config_file);
  if (!changed) {
    log::warning("Cannot watch the configuration file; a change needs a restart by hand",
                 {{"file", options_.config_file}, {"err", changed.error()}});
  } else if (*changed) {
    fatal(make_error(ErrorCode::Unavailable,
                     "content of the proxy server's configuration file was updated"));
  }
}

// ---- events -------------------------------------------------------------------------------------

void NodeProxy::Impl::tell_of_node(client::Event::Type type, std::string reason, std::string note) {
  events_.record({.type = type,
                  .reason = std::move(reason),
                  .action = "StartKubeProxy",
                  .regarding = {.kind = "Node",
                                .name = host_.node_name,
                                .uid = node_uid_.empty() ? host_.node_name : node_uid_},
                  .note = std::move(note)});
}

io::Task<void> NodeProxy::Impl::end_with(std::string reason, Error error) {
  tell_of_node(client::Event::Type::Warning, std::move(reason), error.message);
  co_await events_.flush(kLastWords);
  fatal(error);
}

void NodeProxy::Impl::health_check_failed(const kube::NamespacedName& service, const Error& error) {
  const auto uid = health_checked_uids_.find(service);
  events_.record(
      {.type = client::Event::Type::Warning,
       .reason = "FailedToStartServiceHealthcheck",
       .action = "Listen",
       .regarding = {.kind = "Service",
                     .namespace_ = service.namespace_,
                     .name = service.name,
                     .uid = uid == health_checked_uids_.end() ? service.to_string() : uid->second},
       .note =
           fmt::format("node {} cannot answer health checks: {}", host_.node_name, error.message)});
}

// ---- what others ask ----------------------------------------------------------------------------

HealthInputs NodeProxy::Impl::health_inputs() const {
  return {.sync = syncer_.health(),
          .sync_period = periods_.sync,
          .now = options_.clock->mono(),
          .wall = options_.clock->wall(),
          .node_eligible = model_.node().known && !model_.node().leaving && !node_gone_,
          .families = host_.families};
}

std::string NodeProxy::Impl::metrics_text() {
  metrics_.observe(syncer_, model_.counts());
  return metrics_.serialize();
}

}  // namespace fairlead::proxy
