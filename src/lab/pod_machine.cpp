#include "lab/pod_machine.hpp"

#include <signal.h>

#include <algorithm>

namespace fairlead::lab {
namespace {

using kube::PodPhase;

// restartPolicy x how it ended -> does it start again?
struct RestartRule {
  std::string_view policy;
  bool after_success, after_failure;
};
constexpr RestartRule kRestartRules[] = {
    {.policy = "Always", .after_success = true, .after_failure = true},
    {.policy = "OnFailure", .after_success = false, .after_failure = true},
    {.policy = "Never", .after_success = false, .after_failure = false},
};

bool succeeded(const ContainerState& state) {
  const auto* end = std::get_if<ContainerState::Ended>(&state.now);
  return end != nullptr && end->status.ok();
}

}  // namespace

PodMachine::PodMachine(Config config) : pod_(std::move(config.pod)), pauses_(config.pauses) {
  const std::size_t size = pod_.init_containers.size() + pod_.containers.size();
  containers_.resize(size);
  report_.containers.resize(size);
  for (ContainerIndex i = 0; i < size; ++i) {
    report_.containers[i].now = ContainerState::Waiting{
        .reason = i > 0 && !pod_.init_containers.empty() ? "PodInitializing" : "ContainerCreating"};
  }
  for (Flag* flag : {&report_.scheduled, &report_.initialized, &report_.ready})
    flag->since = config.now.wall;
  report_.scheduled.set(true, config.now.wall);
  schedule_starts(config.now);
  refresh(config.now);
}

const kube::Container& PodMachine::spec(ContainerIndex container) const {
  return is_init(container) ? pod_.init_containers.at(container)
                            : pod_.containers.at(container - pod_.init_containers.size());
}

bool PodMachine::restarts(ContainerIndex container, bool success) const {
  if (is_init(container) && success) return false;
  for (const RestartRule& rule : kRestartRules) {
    if (rule.policy != pod_.restart_policy) continue;
    // A failed init container is tried again under Always too, but success always ends it.
    return success ? rule.after_success : rule.after_failure;
  }
  return true;  // an unknown policy never gets past validation; Always is the default
}

bool PodMachine::all_done() const {
  return std::ranges::all_of(containers_,
                             [](const Container& c) { return c.stage == Stage::Done; });
}

// Opens the way for the containers whose turn has come: each init container after the one before
// it, the others after all of them. A failed init container that is not repeated ends the pod.
void PodMachine::schedule_starts(Instant now) {
  if (terminating()) return;
  for (ContainerIndex i = 0; i < containers_.size(); ++i) {
    Container& container = containers_[i];
    if (container.stage == Stage::NotYet) {
      container.stage = Stage::Due;
      container.due = now.mono;
    }
    if (!is_init(i)) continue;
    if (container.stage != Stage::Done) return;
    if (succeeded(report_.containers[i])) continue;
    for (Container& later : containers_) later.stage = Stage::Done;
    return;
  }
}

std::vector<PodAction> PodMachine::advance(Instant now) {
  std::vector<PodAction> out;
  for (ContainerIndex i = 0; i < containers_.size(); ++i) advance_container(i, now, out);
  if (terminating() && all_done() && !removed_) {
    removed_ = true;
    out.emplace_back(RemovePod{});
  }
  return out;
}

void PodMachine::advance_container(ContainerIndex index, Instant now, std::vector<PodAction>& out) {
  Container& container = containers_[index];
  if (container.stage == Stage::Due && container.due <= now.mono) {
    container.stage = Stage::Starting;
    out.emplace_back(StartContainer{.container = index});
  }
  if (container.stage != Stage::Running) return;
  if (terminating() && !container.term_sent) {
    container.term_sent = true;
    out.emplace_back(SignalContainer{.container = index, .signal = SIGTERM});
  }
  if (terminating() && *kill_at_ <= now.mono && !container.kill_sent) {
    container.kill_sent = true;
    out.emplace_back(SignalContainer{.container = index, .signal = SIGKILL});
  }
  if (container.probe_due && *container.probe_due <= now.mono) {
    container.probe_due.reset();
    out.emplace_back(RunProbe{.container = index, .run = report_.containers[index].restarts});
  }
}

std::optional<MonoTime> PodMachine::next_due() const {
  std::optional<MonoTime> next;
  const auto consider = [&next](MonoTime t) { next = next ? std::min(*next, t) : t; };
  for (const Container& container : containers_) {
    if (container.stage == Stage::Due) consider(container.due);
    if (container.stage != Stage::Running) continue;
    if (container.probe_due) consider(*container.probe_due);
    if (kill_at_ && !container.kill_sent) consider(*kill_at_);
  }
  return next;
}

void PodMachine::started(ContainerIndex index, Instant now) {
  Container& container = containers_.at(index);
  container.stage = Stage::Running;
  container.running_since = now;
  container.term_sent = container.kill_sent = false;
  container.successes = container.failures = 0;
  container.answered = false;
  container.probe_due.reset();
  ContainerState& state = report_.containers.at(index);
  state.now = ContainerState::Running{.since = now.wall};
  state.started = true;
  const auto& probe = spec(index).readiness_probe;
  if (probe && !is_init(index)) container.probe_due = now.mono + probe->initial_delay;
  state.ready = !probe;
  refresh(now);
}

void PodMachine::not_started(ContainerIndex index, ContainerState::Waiting why, Instant now) {
  ContainerState& state = report_.containers.at(index);
  if (restarts(index, false) && !terminating()) {
    schedule_restart(index, now);
    containers_[index].due = std::max(containers_[index].due, now.mono + pauses_.first_restart);
    state.now = std::move(why);
  } else {
    containers_[index].stage = Stage::Done;
    state.now = ContainerState::Ended{.status = {.code = 128},
                                      .started = now.wall,
                                      .finished = now.wall,
                                      .reason = std::move(why.reason),
                                      .message = std::move(why.message)};
    schedule_starts(now);
  }
  refresh(now);
}

void PodMachine::ended(ContainerIndex index, io::ExitStatus status, Instant now) {
  Container& container = containers_.at(index);
  ContainerState& state = report_.containers.at(index);
  const ContainerState::Ended end{
      .status = status, .started = container.running_since.wall, .finished = now.wall};
  state.ready = false;
  state.started = false;
  container.probe_due.reset();
  if (terminating() || !restarts(index, status.ok())) {
    container.stage = Stage::Done;
    state.now = end;
    if (is_init(index)) state.ready = status.ok();
    schedule_starts(now);
  } else {
    if (now.mono - container.running_since.mono >= pauses_.forget_restarts_after)
      container.pause = std::chrono::milliseconds{0};
    state.before = end;
    ++state.restarts;
    schedule_restart(index, now);
    state.now = ContainerState::Waiting{
        .reason = "CrashLoopBackOff",
        .message = fmt::format("it ended with {}; next start in {}", status.to_string(),
                               format_duration(container.due - now.mono))};
  }
  refresh(now);
}

// The first restart is immediate; the pause before the next one doubles.
void PodMachine::schedule_restart(ContainerIndex index, Instant now) {
  Container& container = containers_[index];
  container.stage = Stage::Due;
  container.due = now.mono + container.pause;
  container.pause = container.pause.count() == 0
                        ? pauses_.first_restart
                        : std::min(container.pause * 2, pauses_.longest_restart);
}

void PodMachine::probed(const RunProbe& asked, bool success, Instant now) {
  const ContainerIndex index = asked.container;
  Container& container = containers_.at(index);
  ContainerState& state = report_.containers.at(index);
  const auto& probe = spec(index).readiness_probe;
  // It ended, or even started again, while the probe was out.
  if (container.stage != Stage::Running || state.restarts != asked.run || !probe) return;
  (success ? container.successes : container.failures) += 1;
  (success ? container.failures : container.successes) = 0;
  if (success) {
    container.answered = true;
    if (container.successes >= probe->success_threshold) state.ready = true;
  } else if (container.failures >= probe->failure_threshold) {
    state.ready = false;
  }
  const std::chrono::nanoseconds period = probe->period;
  container.probe_due = now.mono + (container.answered ? period
                                                       : std::min<std::chrono::nanoseconds>(
                                                             period, pauses_.quick_probe));
  refresh(now);
}

void PodMachine::terminate(std::chrono::seconds grace, Instant now) {
  const MonoTime kill_at = now.mono + grace;
  kill_at_ = kill_at_ ? std::min(*kill_at_, kill_at) : kill_at;
  for (Container& container : containers_) {
    if (container.stage == Stage::NotYet || container.stage == Stage::Due)
      container.stage = Stage::Done;
  }
}

PodPhase PodMachine::phase() const {
  if (all_done()) {
    return std::ranges::all_of(report_.containers, succeeded) ? PodPhase::Succeeded
                                                              : PodPhase::Failed;
  }
  for (ContainerIndex i = pod_.init_containers.size(); i < containers_.size(); ++i) {
    const ContainerState& state = report_.containers[i];
    if (state.before || !std::holds_alternative<ContainerState::Waiting>(state.now))
      return PodPhase::Running;
  }
  return PodPhase::Pending;
}

void PodMachine::refresh(Instant now) {
  report_.phase = phase();
  bool initialized = true, ready = true;
  for (ContainerIndex i = 0; i < containers_.size(); ++i) {
    if (is_init(i)) {
      initialized = initialized && succeeded(report_.containers[i]);
    } else {
      ready = ready && report_.containers[i].ready;
    }
  }
  report_.initialized.set(initialized, now.wall);
  report_.ready.set(ready && initialized, now.wall);
}

}  // namespace fairlead::lab
