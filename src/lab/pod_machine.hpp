// The life of one pod on its node as a state machine: pure, no clock, no I/O. The agent tells it
// what happened and when; it answers what to do, when to ask again, and what the pod's status is.
//
// Rules (as the kubelet's, with shorter pauses): init containers run one after another, then all
// containers at once. An ended container starts again when restartPolicy says so: at once the first
// time, then after a pause that doubles and is forgotten after a quiet minute. A container is ready
// when it runs and its readiness probe, if any, says so; until the first success the probe is
// repeated quickly, then every period. On termination everything gets SIGTERM, after the grace
// period SIGKILL, and when the last container has ended the pod is to be removed.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "io/process.hpp"
#include "kube/objects.hpp"

namespace fairlead::lab {

struct Instant {
  MonoTime mono;
  WallTime wall;
  static Instant of(const Clock& clock) { return {.mono = clock.mono(), .wall = clock.wall()}; }
};

// A container: its place among the init containers followed by the others.
using ContainerIndex = std::size_t;

struct StartContainer {
  ContainerIndex container;
  bool operator==(const StartContainer&) const = default;
};
struct SignalContainer {
  ContainerIndex container;
  int signal;
  bool operator==(const SignalContainer&) const = default;
};
struct RunProbe {
  ContainerIndex container;
  int run;  // which of its runs: the number of restarts before it
  bool operator==(const RunProbe&) const = default;
};
struct RemovePod {
  bool operator==(const RemovePod&) const = default;
};
using PodAction = std::variant<StartContainer, SignalContainer, RunProbe, RemovePod>;

struct ContainerState {
  struct Waiting {
    std::string reason, message;
    bool operator==(const Waiting&) const = default;
  };
  struct Running {
    WallTime since;
    bool operator==(const Running&) const = default;
  };
  struct Ended {
    io::ExitStatus status;
    WallTime started, finished;
    std::string reason, message;  // set when it could not even start
    bool operator==(const Ended&) const = default;
  };
  std::variant<Waiting, Running, Ended> now;
  std::optional<Ended> before;  // the run before this one
  int restarts = 0;
  bool ready = false;
  bool started = false;
  bool operator==(const ContainerState&) const = default;
};

// A condition and since when it holds.
struct Flag {
  bool holds = false;
  WallTime since;
  void set(bool value, WallTime now) {
    if (value != holds) since = now;
    holds = value;
  }
  bool operator==(const Flag&) const = default;
};

struct PodReport {
  kube::PodPhase phase = kube::PodPhase::Pending;
  std::vector<ContainerState> containers;  // by ContainerIndex
  Flag scheduled, initialized, ready;
  bool operator==(const PodReport&) const = default;
};

struct Pauses {
  std::chrono::milliseconds first_restart{1'000}, longest_restart{60'000};
  std::chrono::milliseconds forget_restarts_after{60'000};
  std::chrono::milliseconds quick_probe{100};
};

class PodMachine {
 public:
  struct Config {
    kube::Pod pod;
    Pauses pauses;
    Instant now;
  };
  explicit PodMachine(Config config);

  // What is due by now. Each action is given once; its outcome is reported below.
  std::vector<PodAction> advance(Instant now);
  // When advance() has something new to say if nothing happens before.
  std::optional<MonoTime> next_due() const;

  void started(ContainerIndex container, Instant now);
  void not_started(ContainerIndex container, ContainerState::Waiting why, Instant now);
  void ended(ContainerIndex container, io::ExitStatus status, Instant now);
  void probed(const RunProbe& asked, bool success, Instant now);
  // May be repeated; the grace period only shrinks.
  void terminate(std::chrono::seconds grace, Instant now);

  const kube::Container& spec(ContainerIndex container) const;
  std::size_t size() const { return containers_.size(); }
  const PodReport& report() const { return report_; }
  bool terminating() const { return kill_at_.has_value(); }

 private:
  enum class Stage { NotYet, Due, Starting, Running, Done };
  struct Container {
    Stage stage = Stage::NotYet;
    MonoTime due;  // of the (re)start while Due
    Instant running_since;
    std::chrono::milliseconds pause{0};  // before the next restart; 0 = none yet
    bool term_sent = false, kill_sent = false;
    int successes = 0, failures = 0;
    bool answered = false;  // the probe has succeeded since the start
    std::optional<MonoTime> probe_due;
  };

  bool is_init(ContainerIndex container) const { return container < pod_.init_containers.size(); }
  bool restarts(ContainerIndex container, bool success) const;
  bool all_done() const;
  void schedule_starts(Instant now);
  void advance_container(ContainerIndex container, Instant now, std::vector<PodAction>& out);
  void schedule_restart(ContainerIndex container, Instant now);
  kube::PodPhase phase() const;
  void refresh(Instant now);

  kube::Pod pod_;
  Pauses pauses_;
  std::vector<Container> containers_;
  PodReport report_;
  std::optional<MonoTime> kill_at_;  // set by terminate()
  bool removed_ = false;
};

}  // namespace fairlead::lab
