#include "controlplane/single_node.hpp"

#include "base/log.hpp"

namespace fairlead::controlplane {
namespace {

using namespace std::chrono_literals;

constexpr SocketAddress kProxyHealth{.address = IpAddress::loopback(IpFamily::V4),
                                     .port = Port{10256}};
constexpr auto kProxyPatience = 15s, kProxyGrace = 3s, kCleanupPatience = 30s;

}  // namespace

Result<std::unique_ptr<SingleNode>> SingleNode::create(io::Executor executor,
                                                       SingleNodeConfig config) {
  auto server = std::move(config.server);
  auto balancer = std::move(config.load_balancer);
  std::unique_ptr<SingleNode> out(new SingleNode(executor, std::move(config)));
  FAIRLEAD_TRY(control_plane,
               ControlPlane::create(std::move(executor), std::move(server), std::move(balancer)));
  out->control_plane_ = std::move(control_plane);
  return out;
}

SingleNode::SingleNode(const io::Executor& executor, SingleNodeConfig config)
    : config_(std::move(config)), stop_(executor), tasks_(executor, "single node") {}

std::string SingleNode::url() const { return control_plane_->url(); }

io::Task<Result<void>> SingleNode::start() {
  FAIRLEAD_CO_CHECK(co_await control_plane_->start());
  FAIRLEAD_CO_TRY(access, control_plane_->access(url()));
  FAIRLEAD_CO_CHECK(client::write_kubeconfig(config_.kubeconfig, access, "fairlead"));
  FAIRLEAD_CO_CHECK(
      co_await register_node(&control_plane_->client(), config_.node, Clock::real().wall()));
  if (config_.proxy.empty()) co_return Result<void>();
  FAIRLEAD_CO_TRY(for_proxy, control_plane_->proxy_access(url()));
  FAIRLEAD_CO_CHECK(client::write_kubeconfig(config_.proxy_kubeconfig, for_proxy, "fairlead"));
  ProxyProcess::Config proxy{.node = config_.node.name,
                             .argv = {config_.proxy, "--kubeconfig=" + config_.proxy_kubeconfig,
                                      "--hostname-override=" + config_.node.name,
                                      fmt::format("--healthz-bind-address={}", kProxyHealth)},
                             .health = kProxyHealth,
                             .grace = kProxyGrace};
  proxy.argv.insert(proxy.argv.end(), config_.proxy_flags.begin(), config_.proxy_flags.end());
  proxy_ = std::make_unique<ProxyProcess>(std::move(proxy));
  tasks_.spawn(proxy_->run());
  co_return co_await proxy_->wait_until_healthy(kProxyPatience);
}

io::Task<Result<void>> SingleNode::run(std::function<void()> ready) {
  const Result<void> outcome = co_await start();
  if (outcome) {
    ready();
    co_await stop_.wait();
  }
  co_await close();
  co_return outcome;
}

// The proxy first: what goes on behind it must not reach the kernel any more.
io::Task<void> SingleNode::close() {
  const bool programmed = proxy_ != nullptr;
  co_await tasks_.close();
  if (programmed) remove_rules();
  co_await control_plane_->close();
}

// Blocks the loop, at the very end of everything.
void SingleNode::remove_rules() const {
  io::Command command{.argv = {config_.proxy, "--cleanup"}};
  command.argv.insert(command.argv.end(), config_.proxy_flags.begin(), config_.proxy_flags.end());
  const auto done = io::run_blocking(std::move(command), "", kCleanupPatience);
  if (!done) {
    log::error("The proxy's rules could not be removed", {{"err", done.error()}});
  } else if (!done->status.ok()) {
    log::error("The proxy's rules could not be removed", {{"err", done->err}});
  }
}

}  // namespace fairlead::controlplane
