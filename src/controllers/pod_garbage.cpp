#include "controllers/pod_garbage.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "controllers/keys.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::controllers {
namespace {

using kube::Pod;
using Why = DoomedPod::Why;

bool has_ended(const Pod& pod) {
  return pod.phase == kube::PodPhase::Succeeded || pod.phase == kube::PodPhase::Failed;
}

bool waits_for_finalizers_only(const Pod& pod) {
  return pod.metadata.deletion_timestamp && pod.metadata.deletion_grace_period_seconds == 0 &&
         has_ended(pod);
}

bool is_out_of_service(const kube::Node& node) {
  return !kube::is_ready(node) && std::ranges::any_of(node.taints, [](const kube::Taint& taint) {
    return taint.key == "node.kubernetes.io/out-of-service";
  });
}

DoomedPod doom(const Pod& pod, Why why) {
  return {
      .pod = key_of(pod.metadata), .uid = pod.metadata.uid, .ended = has_ended(pod), .why = why};
}

std::vector<DoomedPod> ended_above(std::vector<const Pod*> ended, std::size_t threshold) {
  std::vector<DoomedPod> out;
  if (threshold == 0 || ended.size() <= threshold) return out;
  std::ranges::sort(ended, {}, [](const Pod* pod) {
    const bool evicted = pod->phase == kube::PodPhase::Failed && pod->status_reason == "Evicted";
    return std::tuple(!evicted, pod->metadata.creation_timestamp, key_of(pod->metadata));
  });
  ended.resize(ended.size() - threshold);
  for (const Pod* pod : ended) out.push_back(doom(*pod, Why::Ended));
  return out;
}

}  // namespace

std::string_view to_string(Why why) {
  switch (why) {
    case Why::Ended:
      return "it has ended, as too many have";
    case Why::NeverScheduled:
      return "it was deleted before any node had it";
    case Why::OutOfService:
      return "its node is out of service";
    case Why::NodeGone:
      return "its node is gone";
  }
  return "";
}

std::vector<DoomedPod> doomed_pods(const PodMap& pods, const NodeMap& nodes,
                                   const PodGarbagePolicy& policy) {
  std::vector<const Pod*> ended;
  std::vector<DoomedPod> out;
  for (const auto& [key, pod] : pods) {
    if (waits_for_finalizers_only(pod)) continue;
    if (has_ended(pod)) ended.push_back(&pod);
    if (!pod.metadata.deletion_timestamp) continue;
    if (pod.node_name.empty()) {
      out.push_back(doom(pod, Why::NeverScheduled));
      continue;
    }
    const auto node = nodes.find({.namespace_ = "", .name = pod.node_name});
    if (node != nodes.end() && is_out_of_service(node->second))
      out.push_back(doom(pod, Why::OutOfService));
  }
  std::ranges::move(ended_above(std::move(ended), policy.terminated_threshold),
                    std::back_inserter(out));
  return out;
}

std::vector<DoomedPod> pods_of_gone_node(const PodMap& pods, const std::string& node) {
  std::vector<DoomedPod> out;
  for (const auto& [key, pod] : pods) {
    if (pod.node_name == node && !waits_for_finalizers_only(pod))
      out.push_back(doom(pod, Why::NodeGone));
  }
  return out;
}

void MissingNodes::look(const PodMap& pods, const NodeMap& nodes, MonoTime now) {
  std::set<std::string> missing;
  for (const auto& [key, pod] : pods) {
    if (pod.node_name.empty() || waits_for_finalizers_only(pod)) continue;
    if (!nodes.contains({.namespace_ = "", .name = pod.node_name})) missing.insert(pod.node_name);
  }
  std::erase_if(since_, [&missing](const auto& node) { return !missing.contains(node.first); });
  for (const std::string& node : missing) since_.try_emplace(node, now);
}

std::vector<std::string> MissingNodes::missing_for(std::chrono::nanoseconds period,
                                                   MonoTime now) const {
  std::vector<std::string> out;
  for (const auto& [node, since] : since_) {
    if (since + period <= now) out.push_back(node);
  }
  return out;
}

void MissingNodes::found(const std::string& node, MonoTime now) {
  if (const auto missing = since_.find(node); missing != since_.end()) missing->second = now;
}

std::optional<MonoTime> MissingNodes::first_missed() const {
  if (since_.empty()) return std::nullopt;
  return std::ranges::min_element(since_, {}, [](const auto& node) { return node.second; })->second;
}

std::string failed_patch(const DoomedPod& pod, WallTime now) {
  kube::JsonWriter w;
  w.begin_object();
  w.key("metadata");
  w.begin_object();
  w.member("uid", pod.uid);
  w.end_object();
  w.key("status");
  w.begin_object();
  w.member("phase", kube::to_string(kube::PodPhase::Failed));
  if (pod.why == Why::NodeGone) {
    w.key("conditions");
    w.begin_list();
    w.begin_object();
    w.member("type", "DisruptionTarget");
    w.member("status", "True");
    w.member("reason", "DeletionByPodGC");
    w.member("message", to_string(pod.why));
    w.member("lastTransitionTime", format_rfc3339(now));
    w.end_object();
    w.end_list();
  }
  w.end_object();
  w.end_object();
  return w.take();
}

std::string forced_delete(const DoomedPod& pod) {
  kube::JsonWriter w;
  w.begin_object();
  w.member("kind", "DeleteOptions");
  w.member("apiVersion", "v1");
  w.member("gracePeriodSeconds", std::int64_t{0});
  w.key("preconditions");
  w.begin_object();
  w.member("uid", pod.uid);
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace fairlead::controllers
