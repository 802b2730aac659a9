#include "lab/pod_status.hpp"

#include <span>

#include "kube/json_writer.hpp"

namespace fairlead::lab {
namespace {

using kube::JsonWriter;
using kube::PodPhase;

void write_ended(JsonWriter& w, const ContainerState::Ended& end) {
  w.key("terminated");
  w.begin_object();
  // A process killed by signal N has exit code 128+N, as shells and container runtimes count.
  w.member("exitCode", end.status.code.value_or(128 + end.status.signal.value_or(0)));
  if (end.status.signal) w.member("signal", *end.status.signal);
  const std::string_view usual = end.status.ok() ? "Completed" : "Error";
  w.member("reason", end.reason.empty() ? usual : end.reason);
  w.member_unless_empty("message", end.message);
  w.member("startedAt", format_rfc3339(end.started));
  w.member("finishedAt", format_rfc3339(end.finished));
  w.end_object();
}

void write_state(JsonWriter& w, const ContainerState& state) {
  w.key("state");
  w.begin_object();
  if (const auto* waiting = std::get_if<ContainerState::Waiting>(&state.now)) {
    w.key("waiting");
    w.begin_object();
    w.member("reason", waiting->reason);
    w.member_unless_empty("message", waiting->message);
    w.end_object();
  } else if (const auto* running = std::get_if<ContainerState::Running>(&state.now)) {
    w.key("running");
    w.begin_object();
    w.member("startedAt", format_rfc3339(running->since));
    w.end_object();
  } else {
    write_ended(w, std::get<ContainerState::Ended>(state.now));
  }
  w.end_object();
  w.key("lastState");
  w.begin_object();
  if (state.before) write_ended(w, *state.before);
  w.end_object();
}

void write_containers(JsonWriter& w, std::string_view name,
                      const std::vector<kube::Container>& specs,
                      std::span<const ContainerState> states) {
  if (specs.empty()) return;
  w.key(name);
  w.begin_list();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    w.begin_object();
    w.member("name", specs[i].name);
    w.member("image", specs[i].image);
    w.member("imageID", "");
    w.member("restartCount", states[i].restarts);
    w.member_flag("ready", states[i].ready);
    w.member_flag("started", states[i].started);
    write_state(w, states[i]);
    w.end_object();
  }
  w.end_list();
}

void write_condition(JsonWriter& w, std::string_view type, const Flag& flag,
                     std::string_view reason_when_not) {
  w.begin_object();
  w.member("type", type);
  w.member("status", flag.holds ? "True" : "False");
  w.member("lastTransitionTime", format_rfc3339(flag.since));
  if (!flag.holds) w.member("reason", reason_when_not);
  w.end_object();
}

void write_addresses(JsonWriter& w, std::string_view one, std::string_view all,
                     const DualAddress& address) {
  w.member(one, address.v4.to_string());
  w.key(all);
  w.begin_list();
  for (const IpAddress& ip : {address.v4, address.v6}) {
    w.begin_object();
    w.member("ip", ip.to_string());
    w.end_object();
  }
  w.end_list();
}

}  // namespace

std::string pod_status_patch(const kube::Pod& pod, const PodReport& report, const PodPlace& place) {
  JsonWriter w;
  w.begin_object();
  w.key("metadata");
  w.begin_object();
  w.member("uid", pod.metadata.uid);
  w.end_object();
  w.key("status");
  w.begin_object();
  w.member("phase", to_string(report.phase));
  w.key("conditions");
  w.begin_list();
  write_condition(w, "PodScheduled", report.scheduled, "");
  write_condition(w, "Initialized", report.initialized, "ContainersNotInitialized");
  write_condition(w, "ContainersReady", report.ready, "ContainersNotReady");
  write_condition(w, "Ready", report.ready, "ContainersNotReady");
  w.end_list();
  w.member("startTime", format_rfc3339(place.since));
  write_addresses(w, "hostIP", "hostIPs", place.host);
  write_addresses(w, "podIP", "podIPs", place.pod);
  w.member("qosClass", "BestEffort");
  const std::span<const ContainerState> states(report.containers);
  write_containers(w, "initContainerStatuses", pod.init_containers,
                   states.first(pod.init_containers.size()));
  write_containers(w, "containerStatuses", pod.containers,
                   states.subspan(pod.init_containers.size()));
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace fairlead::lab
