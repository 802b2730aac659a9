#include "controllers/pod_garbage_controller.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace fairlead::controllers {
namespace {

using namespace std::chrono_literals;
using kube::Node;
using kube::Pod;

constexpr auto kBetweenLooks = 1s;
constexpr auto kRetry = 20s;

// What is new of a Pod or a node may make garbage.
bool may_be_garbage(const Pod* before, const Pod* after) {
  if (after == nullptr) return false;
  return before == nullptr || before->phase != after->phase ||
         before->node_name != after->node_name ||
         before->metadata.deletion_timestamp != after->metadata.deletion_timestamp;
}
bool may_leave_garbage(const Node* before, const Node* after) {
  if (before == nullptr || after == nullptr) return true;
  return before->taints != after->taints || kube::is_ready(*before) != kube::is_ready(*after);
}

}  // namespace

PodGarbageController::PodGarbageController(io::Executor executor, Config config)
    : config_(config), wake_(std::move(executor)) {
  config_.pods->on_change([this](const Pod* before, const Pod* after) {
    if (may_be_garbage(before, after)) wake_.notify();
  });
  config_.nodes->on_change([this](const Node* before, const Node* after) {
    if (may_leave_garbage(before, after)) wake_.notify();
  });
  config_.pods->on_synced([this] { wake_.notify(); });
  config_.nodes->on_synced([this] { wake_.notify(); });
}

bool PodGarbageController::stores_synced() const {
  return config_.pods->has_synced() && config_.nodes->has_synced();
}

io::Task<void> PodGarbageController::run() {
  while (!co_await io::cancelled()) {
    if (!stores_synced()) {
      co_await wake_.wait();
      continue;
    }
    const bool done = co_await look();
    co_await io::sleep_for(kBetweenLooks);
    co_await wake_.wait_until(next_look(done));
  }
}

MonoTime PodGarbageController::next_look(bool done) const {
  MonoTime next = MonoTime::max();
  if (!done) next = config_.clock->mono() + kRetry;
  if (const auto first = missing_.first_missed())
    next = std::min(next, *first + config_.policy.missing_node_period);
  return next;
}

io::Task<bool> PodGarbageController::look() {
  const auto& pods = config_.pods->all();
  const auto& nodes = config_.nodes->all();
  const MonoTime now = config_.clock->mono();
  missing_.look(pods, nodes, now);
  const auto gone = missing_.missing_for(config_.policy.missing_node_period, now);
  bool done = co_await collect(doomed_pods(pods, nodes, config_.policy));
  for (const std::string& node : gone) {
    const bool collected = co_await collect_of_node(node);
    done = done && collected;
  }
  co_return done;
}

io::Task<bool> PodGarbageController::collect_of_node(std::string node) {
  const auto asked = co_await config_.client->get_object<Node>({.namespace_ = "", .name = node});
  if (asked || asked.error().code != ErrorCode::NotFound) {
    missing_.found(node, config_.clock->mono());  // or nobody knows; asked again after the period
    if (!asked)
      log::warning("A node is missing and cannot be asked for, its Pods stay",
                   {{"node", node}, {"err", asked.error()}});
    co_return true;
  }
  missing_.found(node, config_.clock->mono());  // what is left of it then is looked at anew
  co_return co_await collect(pods_of_gone_node(config_.pods->all(), node));
}

io::Task<bool> PodGarbageController::collect(std::vector<DoomedPod> pods) {
  bool done = true;
  for (const DoomedPod& pod : pods) {
    const auto removed = co_await remove(pod);
    if (removed) continue;
    done = false;
    log::warning("A Pod is not collected, trying again",
                 {{"pod", pod.pod.to_string()}, {"err", removed.error()}});
  }
  co_return done;
}

// A Pod that went by itself, or made room for another of its name, is as good as collected.
io::Task<Result<void>> PodGarbageController::remove(DoomedPod pod) {
  const auto path = client::object_path<Pod>(pod.pod);
  const auto is_other = [](const Error& error) {
    return error.code == ErrorCode::NotFound || error.code == ErrorCode::Conflict;
  };
  if (!pod.ended) {
    const auto failed =
        co_await config_.client->patch(path + "/status", "application/strategic-merge-patch+json",
                                       failed_patch(pod, config_.clock->wall()));
    if (!failed && is_other(failed.error())) co_return Result<void>{};
    if (!failed) co_return failed.error().with_context("set its phase");
  }
  const auto gone = co_await config_.client->remove(path, forced_delete(pod));
  if (!gone && !is_other(gone.error())) co_return gone.error();
  if (gone)
    log::info("A Pod is collected", {{"pod", pod.pod.to_string()}, {"why", to_string(pod.why)}});
  co_return Result<void>{};
}

}  // namespace fairlead::controllers
