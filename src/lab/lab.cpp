#include "lab/lab.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/log.hpp"
#include "base/text.hpp"
#include "controlplane/node_object.hpp"
#include "io/socket.hpp"
#include "lab/scheduler.hpp"

namespace fairlead::lab {
namespace {

using namespace std::chrono_literals;

constexpr Port kApiPort{6443};  // on the router, for nodes and pods
constexpr Port kProxyHealthPort{10256};
constexpr auto kProxyPatience = 15s;

// Two zones, so that topology-aware routing has something to tell apart.
std::string zone_of(std::size_t node) { return node % 2 == 0 ? "zone-a" : "zone-b"; }

Result<io::UniqueFd> listen_in(const io::NetNamespace& space, const SocketAddress& address) {
  io::UniqueFd out;
  FAIRLEAD_CHECK(space.run([&]() -> Result<void> {
    FAIRLEAD_TRY(socket, io::listen_tcp(address));
    out = std::move(socket);
    return {};
  }));
  return out;
}

Result<io::UniqueFd> duplicate(int fd) {
  io::UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return errno_error(errno, "copy a descriptor");
  return copy;
}

Result<io::UniqueFd> open_own(const char* path) {
  io::UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("open {}", path));
  return fd;
}

std::string environment_path() {
  const char* path = std::getenv("PATH");
  return path == nullptr ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" : path;
}

}  // namespace

kube::NamespacedName pod_key(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return {.namespace_ = "default", .name = text};
  return {.namespace_ = text.substr(0, slash), .name = text.substr(slash + 1)};
}

struct Lab::Watches {
  Watches(client::ApiClient* client, Lab* lab)
      : pods({.client = client, .handler = &lab->pods_}),
        nodes({.client = client, .handler = &lab->node_objects_}) {}
  client::Reflector<kube::Pod> pods;
  client::Reflector<kube::Node> nodes;
};

Result<std::unique_ptr<Lab>> Lab::create(io::Executor executor, LabConfig config) {
  FAIRLEAD_TRY(layout, lay_out(config.nodes));
  FAIRLEAD_TRY(network, Network::create(layout));
  std::unique_ptr<Lab> lab(
      new Lab(std::move(executor), std::move(config), std::move(layout), std::move(network)));
  FAIRLEAD_CHECK(lab->make_control_plane());
  return lab;
}

Lab::Lab(io::Executor executor, LabConfig config, Layout layout, Network network)
    : executor_(executor),
      config_(std::move(config)),
      layout_(std::move(layout)),
      network_(std::move(network)),
      stop_(executor),
      reschedule_(executor),
      tasks_(std::move(executor), "lab") {}

Lab::~Lab() = default;

Result<void> Lab::make_control_plane() {
  FAIRLEAD_TRY(for_user, io::listen_tcp({.address = IpAddress::loopback(IpFamily::V4),
                                         .port = config_.api_port}));
  FAIRLEAD_TRY(for_nodes, listen_in(network_.router(),
                                    {.address = IpAddress::any(IpFamily::V6), .port = kApiPort}));
  apiserver::ApiServer::Config server;  // in memory: a lab begins empty every time
  server.listeners.push_back({.socket = std::move(for_user), .tls = true});
  server.listeners.push_back({.socket = std::move(for_nodes), .tls = true});
  server.kinds.service_cidrs = {layout_.services.v4, layout_.services.v6};
  server.names.addresses = {layout_.router.v4, layout_.router.v6};
  server.advertise = SocketAddress{.address = layout_.router.v4, .port = kApiPort};
  FAIRLEAD_TRY(made, controlplane::ControlPlane::create(executor_, std::move(server)));
  control_plane_ = std::move(made);
  return {};
}

io::Task<Result<void>> Lab::start() {
  FAIRLEAD_CO_CHECK(co_await control_plane_->start());
  const std::string inside =
      fmt::format("https://{}", SocketAddress{.address = layout_.router.v4, .port = kApiPort});
  FAIRLEAD_CO_TRY(for_user, control_plane_->access(control_plane_->url()));
  FAIRLEAD_CO_CHECK(client::write_kubeconfig(config_.paths.kubeconfig(), for_user, "fairlead-lab"));
  FAIRLEAD_CO_TRY(for_nodes, control_plane_->proxy_access(inside));
  FAIRLEAD_CO_CHECK(
      client::write_kubeconfig(config_.paths.node_kubeconfig(), for_nodes, "fairlead-lab"));
  FAIRLEAD_CO_CHECK(co_await register_nodes());
  start_nodes();
  FAIRLEAD_CO_TRY(control, ControlServer::create(config_.paths.socket()));
  control_ = std::make_unique<ControlServer>(std::move(control));
  tasks_.spawn(control_->serve([this](const std::string& request) { return answer(request); }));
  for (const auto& proxy : proxies_)
    FAIRLEAD_CO_CHECK(co_await proxy->wait_until_healthy(kProxyPatience));
  co_return Result<void>();
}

io::Task<Result<void>> Lab::register_nodes() {
  for (std::size_t i = 0; i < layout_.nodes.size(); ++i) {
    const NodeLayout& node = layout_.nodes[i];
    controlplane::NodeFacts facts{.name = node.name,
                                  .addresses = {node.address.v4, node.address.v6},
                                  .pod_cidrs = {node.pods.v4, node.pods.v6},
                                  .labels = {{kube::label::kTopologyZone, zone_of(i)}},
                                  .version = config_.version};
    FAIRLEAD_CO_CHECK(co_await controlplane::register_node(&control_plane_->client(),
                                                           std::move(facts), Clock::real().wall()));
  }
  co_return Result<void>();
}

controlplane::ProxyProcess::Config Lab::proxy_config(const NodeLayout& node,
                                                     const io::NetNamespace& space) const {
  return {
      .node = node.name,
      .argv = {config_.proxy, "--kubeconfig=" + config_.paths.node_kubeconfig(),
               "--hostname-override=" + node.name,
               fmt::format("--cluster-cidr={},{}", layout_.all_pods.v4, layout_.all_pods.v6),
               fmt::format("--healthz-bind-address=0.0.0.0:{}", kProxyHealthPort),
               "--metrics-bind-address=127.0.0.1:10249", fmt::format("-v={}", config_.verbosity)},
      .log = fmt::format("{}/proxy-{}.log", config_.paths.logs(), node.name),
      .health = {.address = IpAddress::loopback(IpFamily::V4), .port = kProxyHealthPort},
      .space = &space};
}

void Lab::start_nodes() {
  client::ApiClient* client = &control_plane_->client();
  for (std::size_t i = 0; i < layout_.nodes.size(); ++i) {
    const NodeLayout& node = layout_.nodes[i];
    NodeNetwork* network = &network_.nodes()[i];
    agents_.push_back(std::make_unique<NodeAgent>(
        executor_,
        NodeSurroundings{
            .client = client,
            .network = network,
            .layout = node,
            .log_directory = config_.paths.logs(),
            .containers = {.program_directory = config_.program_directory,
                           .path = environment_path(),
                           .service_host = layout_.services.v4.address().plus(1).to_string(),
                           .service_port = "443"}}));
    if (config_.proxy.empty()) continue;
    proxies_.push_back(
        std::make_unique<controlplane::ProxyProcess>(proxy_config(node, network->space())));
    tasks_.spawn(proxies_.back()->run());
  }
  pods_.on_change([this](const kube::Pod* old_pod, const kube::Pod* new_pod) {
    for (const auto& agent : agents_) agent->pod_changed(old_pod, new_pod);
    reschedule_.notify();
  });
  node_objects_.on_change([this](const kube::Node*, const kube::Node*) { reschedule_.notify(); });
  watches_ = std::make_unique<Watches>(client, this);
  tasks_.spawn(watches_->pods.run());
  tasks_.spawn(watches_->nodes.run());
  tasks_.spawn(schedule());
}

// The scheduler's shell. A failed binding is tried again at the next change or after a pause.
io::Task<void> Lab::schedule() {
  while (!co_await io::cancelled()) {
    if (pods_.has_synced() && node_objects_.has_synced()) {
      std::vector<kube::Node> nodes;
      for (const auto& [key, node] : node_objects_.all()) nodes.push_back(node);
      for (Assignment& choice : assign_pods(pods_.all(), nodes))
        co_await bind(std::move(choice.pod), std::move(choice.uid), std::move(choice.node));
    }
    co_await reschedule_.wait_until(std::chrono::steady_clock::now() + 5s);
  }
}

io::Task<void> Lab::bind(kube::NamespacedName pod, std::string uid, std::string node) {
  const std::string path = client::object_path<kube::Pod>(pod);
  const std::string binding = fmt::format(
      R"({{"kind":"Binding","apiVersion":"v1","metadata":{{"name":"{}","namespace":"{}","uid":"{}"}},)"
      R"("target":{{"kind":"Node","name":"{}"}}}})",
      pod.name, pod.namespace_, uid, node);
  const auto bound = co_await control_plane_->client().post(path + "/binding", binding);
  // Deleted or bound by somebody else in the meantime: the watch tells.
  if (!bound && bound.error().code != ErrorCode::NotFound &&
      bound.error().code != ErrorCode::Conflict && bound.error().code != ErrorCode::Cancelled)
    log::warning("Could not bind a pod, trying again",
                 {{"pod", pod.to_string()}, {"node", node}, {"err", bound.error()}});
}

io::Task<Result<void>> Lab::run(std::function<Result<void>()> ready) {
  Result<void> outcome = co_await start();
  if (outcome) outcome = ready();
  if (outcome) co_await stop_.wait();
  co_await close();
  co_return outcome;
}

io::Task<void> Lab::close() {
  for (const auto& agent : agents_) co_await agent->close();
  co_await tasks_.close();
  co_await control_plane_->close();
}

Result<ControlAnswer> Lab::answer(const std::string& request) {
  if (request == "status") return ControlAnswer{.text = status()};
  if (request == "down") {
    // Init ends last: when it is gone, so is every process of the lab.
    io::UniqueFd init(static_cast<int>(::syscall(SYS_pidfd_open, ::getppid(), 0)));
    if (!init) return errno_error(errno, "open a pidfd of the lab's init");
    ControlAnswer out;
    out.descriptors.push_back(std::move(init));
    stop();
    return out;
  }
  constexpr std::string_view kEnter = "enter ";
  if (request.starts_with(kEnter)) return enter(request.substr(kEnter.size()));
  return make_error(ErrorCode::BadRequest, "this lab does not know the request \"{}\"", request);
}

// "client", "router", "node/NAME" or a pod: descriptors for setns(), then the PID namespace and
// the root directory.
Result<ControlAnswer> Lab::enter(const std::string& where) const {
  std::vector<int> spaces;
  constexpr std::string_view kNode = "node/";
  if (where == "client") {
    spaces = {network_.client().fd()};
  } else if (where == "router") {
    spaces = {network_.router().fd()};
  } else if (where.starts_with(kNode)) {
    for (std::size_t i = 0; i < layout_.nodes.size(); ++i) {
      if (layout_.nodes[i].name == where.substr(kNode.size()))
        spaces = {network_.nodes()[i].space().fd()};
    }
    if (spaces.empty())
      return make_error(ErrorCode::NotFound, "no node \"{}\" (there are node1 to node{})",
                        where.substr(kNode.size()), layout_.nodes.size());
  } else {
    const kube::NamespacedName key = pod_key(where);
    for (const auto& agent : agents_) {
      const PodWorker* worker = agent->find(key);
      if (worker != nullptr && worker->sandbox() != nullptr)
        spaces = worker->sandbox()->namespaces();
    }
    if (spaces.empty())
      return make_error(ErrorCode::NotFound, "no pod \"{}\" in namespace \"{}\" on any node",
                        key.name, key.namespace_);
  }
  ControlAnswer out;
  for (const int fd : spaces) {
    FAIRLEAD_TRY(copy, duplicate(fd));
    out.descriptors.push_back(std::move(copy));
  }
  for (const char* path : {"/proc/self/ns/mnt", "/proc/self/ns/pid", "/"}) {
    FAIRLEAD_TRY(own, open_own(path));
    out.descriptors.push_back(std::move(own));
  }
  return out;
}

std::string Lab::status() const {
  std::string out =
      fmt::format("API server  {}  (nodes and pods: https://{}:{})\nkubeconfig  {}\n\n",
                  control_plane_->url(), layout_.router.v4, kApiPort, config_.paths.kubeconfig());
  out += fmt::format("{:<10}{:<31}{:<38}{:<6}{}\n", "NODE", "ADDRESSES", "PODS' ADDRESSES", "PODS",
                     "PROXY");
  for (std::size_t i = 0; i < layout_.nodes.size(); ++i) {
    const NodeLayout& node = layout_.nodes[i];
    std::size_t count = 0;
    for (const auto& [key, pod] : pods_.all()) count += pod.node_name == node.name ? 1 : 0;
    out += fmt::format("{:<10}{:<31}{:<38}{:<6}{}\n", node.name,
                       fmt::format("{} {}", node.address.v4, node.address.v6),
                       fmt::format("{} {}", node.pods.v4, node.pods.v6), count,
                       i < proxies_.size() ? proxies_[i]->state() : "none");
  }
  out += fmt::format("{:<10}{} {}\n", "client", layout_.client.v4, layout_.client.v6);
  if (pods_.size() > 0)
    out +=
        fmt::format("\n{:<30}{:<10}{:<12}{:<7}{}\n", "POD", "NODE", "PHASE", "READY", "ADDRESSES");
  for (const auto& [key, pod] : pods_.all()) {
    std::string addresses;
    for (const std::string& ip : pod.pod_ips) addresses += ip + " ";
    out += fmt::format("{:<30}{:<10}{:<12}{:<7}{}\n", key.to_string(), pod.node_name,
                       to_string(pod.phase), kube::is_ready(pod) ? "yes" : "no", trim(addresses));
  }
  return out;
}

}  // namespace fairlead::lab
