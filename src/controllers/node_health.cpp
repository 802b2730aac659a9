#include "controllers/node_health.hpp"

#include <algorithm>

#include "kube/json_writer.hpp"

namespace fairlead::controllers {
namespace {

// What kubelet says of its node, and nobody else can.
constexpr const char* kNodeConditions[] = {"Ready", "MemoryPressure", "DiskPressure",
                                           "PIDPressure"};

const kube::Condition* find(const std::vector<kube::Condition>& conditions, std::string_view type) {
  const auto found = std::ranges::find(conditions, type, &kube::Condition::type);
  return found == conditions.end() ? nullptr : &*found;
}

void write_condition(kube::JsonWriter& w, const kube::Condition& condition) {
  w.begin_object();
  w.member("type", condition.type);
  w.member("status", condition.status);
  w.member("reason", condition.reason);
  w.member("message", condition.message);
  if (condition.last_transition_time)
    w.member("lastTransitionTime", format_rfc3339(*condition.last_transition_time));
  w.end_object();
}

// {"metadata":{NAME:VALUE},"status":{"conditions":[...]}}; conditions are merged by their type.
std::string conditions_patch(std::string_view precondition, std::string_view value,
                             const std::vector<kube::Condition>& conditions) {
  kube::JsonWriter w;
  w.begin_object();
  w.key("metadata");
  w.begin_object();
  w.member(precondition, value);
  w.end_object();
  w.key("status");
  w.begin_object();
  w.key("conditions");
  w.begin_list();
  for (const kube::Condition& condition : conditions) write_condition(w, condition);
  w.end_list();
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace

bool NodeHealth::heard(const kube::Lease& lease, MonoTime now) {
  if (!lease.renew_time) return false;
  const auto [beat, is_new] =
      beats_.try_emplace(lease.metadata.name, Beat{.renewed = *lease.renew_time, .heard = now});
  if (!is_new && beat->second.renewed == *lease.renew_time) return false;
  beat->second = {.renewed = *lease.renew_time, .heard = now};
  return true;
}

void NodeHealth::forget(const std::string& node) { beats_.erase(node); }

std::vector<std::string> NodeHealth::look(MonoTime now) {
  const bool was_deaf = nobody_is_heard_;
  nobody_is_heard_ = !beats_.empty() && std::ranges::none_of(beats_, [&](const auto& beat) {
    return now < beat.second.heard + grace_period_ * 3 / 4;
  });
  if (was_deaf && !nobody_is_heard_) {
    for (auto& [node, beat] : beats_) beat.heard = now;
  }
  std::vector<std::string> out;
  for (const auto& [node, beat] : beats_) {
    if (is_silent(node, now)) out.push_back(node);
  }
  return out;
}

bool NodeHealth::is_silent(const std::string& node, MonoTime now) const {
  const auto beat = beats_.find(node);
  return !nobody_is_heard_ && beat != beats_.end() && beat->second.heard + grace_period_ <= now;
}

std::optional<std::string> unknown_patch(const kube::Node& node, WallTime now) {
  std::vector<kube::Condition> changed;
  for (const char* type : kNodeConditions) {
    const kube::Condition* said = find(node.conditions, type);
    if (said != nullptr && said->status == "Unknown") continue;
    kube::Condition& unknown =
        changed.emplace_back(kube::Condition{.type = type,
                                             .status = "Unknown",
                                             .reason = "NodeStatusUnknown",
                                             .message = "The node's heartbeat has stopped.",
                                             .last_transition_time = now});
    if (said != nullptr) continue;
    unknown.reason = "NodeStatusNeverUpdated";
    unknown.message = "The node has never told its status.";
  }
  if (changed.empty()) return std::nullopt;
  return conditions_patch("resourceVersion", node.metadata.resource_version, changed);
}

std::string not_ready_patch(const kube::Pod& pod, WallTime now) {
  return conditions_patch("uid", pod.metadata.uid,
                          {{.type = "Ready",
                            .status = "False",
                            .reason = "NodeNotReady",
                            .message = "The heartbeat of its node has stopped.",
                            .last_transition_time = now}});
}

}  // namespace fairlead::controllers
