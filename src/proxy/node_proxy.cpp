#include "proxy/node_proxy.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/log.hpp"
#include "proxy/node_proxy_impl.hpp"

namespace fairlead::proxy {
namespace {

constexpr char kTriggerTime[] = "endpoints.kubernetes.io/last-change-trigger-time";
// How long the first sync waits for the Node object and the ServiceCIDRs: with them, zone, node IPs
// and ranges are right from the first packet, and nothing has to be programmed twice.
constexpr std::chrono::seconds kNodePatience{5};
// ServiceCIDRs came with 1.33.
constexpr std::chrono::minutes kAbsencePause{10};

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

bool is_permission(const Error& error) { return error.code == ErrorCode::Forbidden; }

// The mode says what is missing; here is how a service gets it.
Error with_advice(Error error) {
  if (is_permission(error)) {
    error.message +=
        "; for a systemd unit: AmbientCapabilities=CAP_NET_ADMIN, for a container: "
        "securityContext.capabilities.add: [NET_ADMIN]";
  }
  return error;
}

// What the ServiceCIDRs say of one family, in order; what is no prefix says nothing.
std::vector<IpPrefix> service_ranges(const std::map<std::string, std::vector<std::string>>& known,
                                     IpFamily family) {
  std::set<IpPrefix> out;
  for (const auto& [name, cidrs] : known) {
    for (const std::string& text : cidrs) {
      const auto prefix = IpPrefix::parse(text);
      if (prefix && prefix->family() == family) out.insert(*prefix);
    }
  }
  return {out.begin(), out.end()};
}

}  // namespace

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
      syncer_({.model = &model_,
               .node = std::move(settings.context),
               .sync_period = options_.config.nftables.sync_period,
               .min_sync_period = options_.config.nftables.min_sync_period,
               .clock = options_.clock}),
      kernel_(std::make_unique<KernelSide>(KernelSide::Config{
          .mode = std::move(mode), .clean_flows = &clean_flows, .clock = options_.clock})),
      mode_name_(kernel_->mode_name()),
      metrics_({.families = host_.families, .started = options_.clock->wall()}),
      api_(std::move(api)),
      health_checks_(
          {.executor = executor_, .healthy = [this] { return is_healthy(health_inputs()); }}),
      wake_(executor_),
      tamper_checked_(executor_),
      surroundings_changed_(executor_),
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
  tasks_.spawn(sync_loop());
  tasks_.spawn(wait_for_surroundings());
  tasks_.spawn(nodes_->run());
  tasks_.spawn(services_->run());
  tasks_.spawn(slices_->run());
  tasks_.spawn(ranges_->run());
  if (const int fd = kernel_->tamper_fd(); fd >= 0) tasks_.spawn(watch_tamper(fd));
  if (!options_.config_file.empty()) tasks_.spawn(watch_config_file());
  start_servers();
}

void NodeProxy::Impl::start_servers() {
  const Config& config = options_.config;
  const auto make = [&](const std::string& address, std::string name, Responder responder) {
    return RetryingServer::Config{.executor = executor_,
                                  .address = address,
                                  .name = std::move(name),
                                  .hard_fail = config.bind_address_hard_fail,
                                  .responder = std::move(responder),
                                  .on_fatal = [this](const Error& error) { fatal(error); }};
  };
  if (!config.healthz_bind_address.empty()) {
    health_server_.emplace(make(config.healthz_bind_address, "health",
                                [this](const auto& request) { return answer_health(request); }));
    tasks_.spawn(health_server_->run());
  }
  if (!config.metrics_bind_address.empty()) {
    metrics_server_.emplace(make(config.metrics_bind_address, "metrics",
                                 [this](const auto& request) { return answer_metrics(request); }));
    tasks_.spawn(metrics_server_->run());
  }
}

io::Task<void> NodeProxy::Impl::close() {
  co_await tasks_.close();
  if (health_server_) co_await health_server_->close();
  if (metrics_server_) co_await metrics_server_->close();
  co_await health_checks_.close();
}

void NodeProxy::Impl::fatal(const Error& error) {
  if (std::exchange(failed_, true)) return;
  if (options_.on_fatal) options_.on_fatal(error);
}

// ---- the cluster --------------------------------------------------------------------------------

void NodeProxy::Impl::put(const kube::Service& object) {
  model_.put(object);
  model_changed();
}

void NodeProxy::Impl::put(const kube::EndpointSlice& object) {
  const auto before = model_.counts().slice_changes;
  model_.put(object);
  const auto trigger = object.metadata.annotations.find(kTriggerTime);
  if (before != model_.counts().slice_changes && trigger != object.metadata.annotations.end()) {
    const auto when = parse_rfc3339(trigger->second);
    if (when && *when > started_) syncer_.triggered(*when);
  }
  model_changed();
}

void NodeProxy::Impl::put(const kube::Node& object) {
  if (object.metadata.name != host_.node_name) return;
  const model::Node before = model_.node();
  model_.put(object);
  if (before == model_.node() && node_settled_) return;
  if (local_mode(options_.config) == LocalMode::NodeCidr) {
    const auto& now = model_.node().pod_cidrs;
    if (!pod_cidrs_.empty() && now != pod_cidrs_) {
      return fatal(make_error(ErrorCode::Unavailable,
                              "the node's podCIDRs changed; restart to use the new ones"));
    }
    pod_cidrs_ = now;
  }
  node_changed();
  if (!model_.node().addresses.empty()) surroundings_changed_.notify();
}

void NodeProxy::Impl::put(const kube::ServiceCidr& object) {
  service_ranges_[object.metadata.name] = object.cidrs;
  if (node_settled_) node_changed();
}

void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::Service&) {
  model_.remove_service(key);
  model_changed();
}
void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::EndpointSlice&) {
  model_.remove_slice(key);
  model_changed();
}
void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::Node&) {
  if (key.name != host_.node_name) return;
  // Its IPs and zone stay in force: a deleted Node object does not move this machine.
  log::warning("The Node object is gone; going on with what it said", {{"node", key.name}});
}

void NodeProxy::Impl::removed(const kube::NamespacedName& key, const kube::ServiceCidr&) {
  service_ranges_.erase(key.name);
  if (node_settled_) node_changed();
}

void NodeProxy::Impl::synced(const kube::Service&) {
  services_listed_ = true;
  open_gates();
}
void NodeProxy::Impl::synced(const kube::EndpointSlice&) {
  slices_listed_ = true;
  open_gates();
}
void NodeProxy::Impl::synced(const kube::Node&) {
  if (!model_.node().known)
    surroundings_changed_.notify();  // it does not exist; nothing to wait for
}

void NodeProxy::Impl::synced(const kube::ServiceCidr&) {
  ranges_settled_ = true;
  if (node_settled_) node_changed();
  surroundings_changed_.notify();
}

void NodeProxy::Impl::open_gates() {
  if (!node_settled_) return;
  if (services_listed_) syncer_.services_synced();
  if (slices_listed_) syncer_.slices_synced();
  model_changed();
}

void NodeProxy::Impl::model_changed() {
  syncer_.changed();
  metrics_.queued(options_.clock->wall());
  wake_.notify();
}

void NodeProxy::Impl::node_changed() {
  if (auto addresses = interface_addresses()) host_.interface_addresses = *std::move(addresses);
  auto settings = node_settings(options_.config, host_, model_.node());
  if (!settings) return fatal(settings.error());
  if (node_settled_) {
    for (const std::string& warning : settings->warnings) {
      if (std::ranges::find(warned_, warning) != warned_.end()) continue;
      warned_.push_back(warning);
      log::warning(warning);
    }
  }
  for (auto& [family, node] : settings->context.families)
    node.service_cidrs = service_ranges(service_ranges_, family);
  syncer_.set_node(std::move(settings->context), host_.interface_addresses);
  wake_.notify();
}

io::Task<void> NodeProxy::Impl::wait_for_surroundings() {
  const auto deadline = std::chrono::steady_clock::now() + kNodePatience;
  const auto all_known = [this] {
    const model::Node& node = model_.node();
    return ranges_settled_ && (node.known ? !node.addresses.empty() : nodes_->synced());
  };
  while (!all_known() && co_await surroundings_changed_.wait_until(deadline)) {
  }
  if (co_await io::cancelled()) co_return;
  node_settled_ = true;
  node_changed();
  open_gates();
}

// ---- the sync -----------------------------------------------------------------------------------

io::Task<void> NodeProxy::Impl::sync_loop() {
  while (!co_await io::cancelled() && !failed_) {
    auto job = syncer_.next_job();
    if (!job) {
      metrics_.changes(model_.counts(), model_.dirty().size());
      if (const auto wake = syncer_.wake_at()) {
        co_await wake_.wait_until(*wake);
      } else {
        co_await wake_.wait();
      }
      continue;
    }
    if (job->kind == Job::Kind::Commit) {
      log_conflicts();
      metrics_.compiled(syncer_);
    }
    auto shared = std::make_shared<Job>(*std::move(job));
    KernelSide* kernel = kernel_.get();
    std::optional<Outcome> outcome = co_await worker_.run(executor_, [kernel, shared] {
      return std::optional<Outcome>(kernel->run(std::move(*shared)));
    });
    co_await take_outcome(*std::move(outcome));
  }
}

io::Task<void> NodeProxy::Impl::take_outcome(Outcome outcome) {
  syncer_.finish(outcome);
  metrics_.finished(outcome, options_.clock->wall());
  log_outcome(outcome);
  if (outcome.kind != Job::Kind::Commit) {
    tamper_checked_.notify();
    node_changed();  // interface addresses come and go without anybody telling
  }
  if (outcome.error) {
    if (!first_sync_done_ && is_permission(*outcome.error)) fatal(with_advice(*outcome.error));
    co_return;
  }
  if (outcome.kind == Job::Kind::Commit) {
    first_sync_done_ = true;
    co_await health_checks_.reconcile(
        wanted_health_checks(syncer_.compiler().health_checks(), syncer_.compiler().plan()));
  }
}

void NodeProxy::Impl::log_conflicts() {
  for (const plan::Conflict& conflict : syncer_.last_update().conflicts) {
    log::warning("Two Services claim one address and port; one goes without it",
                 {{"address", conflict.frontend.address},
                  {"port", conflict.frontend.port},
                  {"service", conflict.winner.service_port.to_string()},
                  {"without", conflict.loser.service_port.to_string()}});
  }
}

void NodeProxy::Impl::log_outcome(const Outcome& outcome) {
  if (!outcome.findings.empty()) {
    metrics_.drift_found();
    std::string found;
    for (const std::string& finding : outcome.findings) {
      found += (found.empty() ? "" : "; ") + finding;
    }
    log::warning("Somebody else changed our rules", {{"found", found}, {"mended", !outcome.error}});
  }
  const std::string period = format_duration(options_.config.nftables.sync_period);
  if (outcome.error) {
    log::error(outcome.kind == Job::Kind::Commit ? "Cannot program the rules, trying again"
                                                 : "Cannot audit the rules, trying again",
               {{"err", *outcome.error}, {"in", period}});
    return;
  }
  if (outcome.conntrack_error) {
    log::error("Cannot look over old UDP flows", {{"err", *outcome.conntrack_error}});
  }
  const auto milliseconds = std::chrono::duration<double, std::milli>(outcome.duration).count();
  const int level = outcome.full ? 0 : outcome.kind == Job::Kind::Commit ? 2 : 4;
  log::verbose(level, outcome.full ? "Programmed all rules" : "Rules are in step",
               {{"servicePorts", syncer_.compiler().plan().services.size()},
                {"messages", outcome.stats.messages},
                {"elements", outcome.stats.elements},
                {"milliseconds", fmt::format("{:.3f}", milliseconds)},
                {"staleFlows", outcome.flows ? outcome.flows->deleted : 0}});
}

// The mode's descriptor says "somebody touched nftables"; the worker finds out whether it was us.
io::Task<void> NodeProxy::Impl::watch_tamper(int fd) {
  io::UniqueFd copy(::dup(fd));
  io::asio::posix::stream_descriptor descriptor(executor_, copy.release());
  while (!co_await io::cancelled()) {
    const auto [ec] =
        co_await descriptor.async_wait(io::asio::posix::descriptor_base::wait_read, io::kNoThrow);
    if (ec) co_return;
    syncer_.tampered();
    wake_.notify();
    co_await tamper_checked_.wait();  // the worker drains the descriptor
  }
}

// As kube-proxy: a write to the file, or a rename over it, ends the process; its supervisor starts
// it anew with the new content (spec/kube-proxy 1.9).
io::Task<void> NodeProxy::Impl::watch_config_file() {
  io::UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd ||
      inotify_add_watch(fd.get(), options_.config_file.c_str(), IN_MODIFY | IN_MOVE_SELF) < 0) {
    log::warning("Cannot watch the configuration file; a change needs a restart by hand",
                 {{"file", options_.config_file}, {"err", errno_error(errno, "inotify")}});
    co_return;
  }
  io::asio::posix::stream_descriptor descriptor(executor_, fd.release());
  const auto [ec] =
      co_await descriptor.async_wait(io::asio::posix::descriptor_base::wait_read, io::kNoThrow);
  if (ec) co_return;
  fatal(make_error(ErrorCode::Unavailable,
                   "content of the proxy server's configuration file was updated"));
}

// ---- what others ask ----------------------------------------------------------------------------

HealthInputs NodeProxy::Impl::health_inputs() const {
  return {.sync = syncer_.health(),
          .sync_period = options_.config.nftables.sync_period,
          .now = options_.clock->mono(),
          .wall = options_.clock->wall(),
          .node_eligible = model_.node().known && !model_.node().leaving,
          .families = host_.families};
}

io::HttpResponse NodeProxy::Impl::answer_health(const io::HttpRequest& request) {
  const auto url = io::parse_target(request.target);
  if (!url || (url->path != "/healthz" && url->path != "/livez")) return not_found();
  const bool livez = url->path == "/livez";
  auto out = health_response(health_inputs(), livez ? Probe::Livez : Probe::Healthz);
  metrics_.probed(livez ? "livez" : "healthz", out.status);
  return out;
}

io::HttpResponse NodeProxy::Impl::answer_metrics(const io::HttpRequest& request) {
  const auto url = io::parse_target(request.target);
  if (!url) return not_found();
  if (url->path == "/healthz") return text_response(200, "ok");
  if (url->path == "/proxyMode") return text_response(200, mode_name_);
  if (url->path == "/metrics") {
    auto out = text_response(200, metrics_.serialize());
    out.headers.front().value = "text/plain; version=0.0.4; charset=utf-8";
    return out;
  }
  if (url->path == "/configz") {
    return {.headers = {{.name = "Content-Type", .value = "application/json"}},
            .body = fmt::format(R"({{"kubeproxy.config.k8s.io":{}}})", to_json(options_.config))};
  }
  return not_found();
}

}  // namespace fairlead::proxy
