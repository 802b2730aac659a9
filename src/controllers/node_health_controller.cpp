#include "controllers/node_health_controller.hpp"

#include "base/log.hpp"
#include "controllers/keys.hpp"

namespace fairlead::controllers {
namespace {

using kube::Lease;
using kube::Node;
using kube::Pod;

constexpr std::string_view kPatch = "application/strategic-merge-patch+json";

kube::NamespacedName node_key(const std::string& name) { return {.namespace_ = "", .name = name}; }

}  // namespace

NodeHealthController::NodeHealthController(io::Executor executor, Config config)
    : config_(config),
      health_(config.policy.grace_period),
      loop_(std::move(executor), {.clock = config.clock,
                                  .failure = "silent node not marked",
                                  .key_name = "node",
                                  .ready = [this] { return stores_synced(); },
                                  .sync = [this](const std::string& key) { return sync(key); }}) {
  config_.leases->on_change(
      [this](const Lease* before, const Lease* after) { lease_changed(before, after); });
  config_.nodes->on_change([this](const Node* before, const Node* after) {
    if (after == nullptr) health_.forget(before->metadata.name);
  });
}

bool NodeHealthController::stores_synced() const {
  return config_.nodes->has_synced() && config_.pods->has_synced() && config_.leases->has_synced();
}

// A Lease that goes is no sign of life, and none of death: its node is then silent in its time.
void NodeHealthController::lease_changed(const Lease* before, const Lease* after) {
  if (after != nullptr) {
    heard(*after);
  } else if (config_.nodes->get(node_key(before->metadata.name)) == nullptr) {
    health_.forget(before->metadata.name);
  }
}

void NodeHealthController::heard(const Lease& lease) {
  if (health_.heard(lease, config_.clock->mono())) told_.erase(lease.metadata.name);
}

io::Task<void> NodeHealthController::watch() {
  while (!co_await io::cancelled()) {
    if (stores_synced()) look();
    loop_.wake();
    co_await io::sleep_for(config_.policy.period);
  }
}

void NodeHealthController::look() {
  const bool was_deaf = health_.nobody_is_heard();
  for (const std::string& node : health_.look(config_.clock->mono())) {
    if (told_.insert(node).second) loop_.mark(node);
  }
  if (health_.nobody_is_heard() == was_deaf) return;
  if (was_deaf) {
    log::info("Nodes are heard again");
  } else {
    log::warning("No node is heard, none is called silent for that");
  }
}

io::Task<Result<void>> NodeHealthController::sync(std::string node) {
  if (!health_.is_silent(node, config_.clock->mono()) ||
      config_.nodes->get(node_key(node)) == nullptr) {
    told_.erase(node);  // if it is silent again, or there again, that is new
    co_return Result<void>{};
  }
  FAIRLEAD_CO_TRY(alive, co_await is_alive(node));
  const Node* known = config_.nodes->get(node_key(node));
  if (alive || known == nullptr) co_return Result<void>{};
  FAIRLEAD_CO_CHECK(co_await mark_node(*known));
  co_return co_await mark_pods(std::move(node));
}

// Our watch of the Leases may be behind, for whatever reason.
io::Task<Result<bool>> NodeHealthController::is_alive(std::string node) {
  const auto lease =
      co_await config_.client->get_object<Lease>({.namespace_ = kNodeLeases, .name = node});
  if (!lease && lease.error().code == ErrorCode::NotFound) co_return false;
  if (!lease) co_return lease.error().with_context("read its lease");
  heard(*lease);
  co_return !health_.is_silent(node, config_.clock->mono());
}

io::Task<Result<void>> NodeHealthController::mark_node(Node node) {
  const auto patch = unknown_patch(node, config_.clock->wall());
  if (!patch) co_return Result<void>{};
  const std::string& name = node.metadata.name;
  const auto path = client::object_path<Node>(key_of(node.metadata)) + "/status";
  const auto marked = co_await config_.client->patch(path, std::string(kPatch), *patch);
  if (!marked && marked.error().code == ErrorCode::NotFound) co_return Result<void>{};
  if (!marked) co_return marked.error().with_context("mark the node");
  log::info("A node has fallen silent", {{"node", name}});
  if (!kube::is_ready(node)) co_return Result<void>{};
  config_.events->record(
      {.type = client::Event::Type::Normal,
       .reason = "NodeNotReady",
       .action = "MarkNode",
       .regarding = {.kind = "Node", .namespace_ = "", .name = name, .uid = node.metadata.uid},
       .note = fmt::format("Node {} is not ready: its heartbeat has stopped", name)});
  co_return Result<void>{};
}

io::Task<Result<void>> NodeHealthController::mark_pods(std::string node) {
  std::vector<Pod> ready;
  for (const auto& [key, pod] : config_.pods->all()) {
    if (pod.node_name == node && kube::is_ready(pod)) ready.push_back(pod);
  }
  for (const Pod& pod : ready) {
    if (!health_.is_silent(node, config_.clock->mono())) co_return Result<void>{};
    const auto path = client::object_path<Pod>(key_of(pod.metadata)) + "/status";
    const auto marked = co_await config_.client->patch(path, std::string(kPatch),
                                                       not_ready_patch(pod, config_.clock->wall()));
    const bool other = !marked && (marked.error().code == ErrorCode::NotFound ||
                                   marked.error().code == ErrorCode::Conflict);
    if (!marked && !other)
      co_return marked.error().with_context(fmt::format("mark Pod {}", pod.metadata.name));
  }
  co_return Result<void>{};
}

}  // namespace fairlead::controllers
