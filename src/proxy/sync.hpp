// The sync as three steps without threads or timers, so that tests can walk it with a fake clock
// and a fake kernel:
//   Syncer::next_job()   on the loop: is anything due? compile it into a Job;
//   KernelSide::run()    on the worker: do the Job to the kernel, blocking;
//   Syncer::finish()     on the loop: note the Outcome, decide about retries and health.
// One Job is under way at a time. While it is, changes gather as dirty names in the model; the next
// Job carries the latest state of all of them (latest wins, no queue).
//
// Invariants: no Job before both Services and EndpointSlices are known; after a failed commit the
// next one programs everything anew; a failed commit, the first included, counts as pending for
// health until a later one succeeds; changes without end put off neither retries nor audits. A lost
// API server changes nothing here: the rules stay.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "proxy/conntrack.hpp"
#include "proxy/leftovers.hpp"
#include "proxy/model/model.hpp"
#include "proxy/plan/compile.hpp"
#include "proxy/plan/mode.hpp"
#include "proxy/sync_schedule.hpp"

namespace fairlead::proxy {

struct Job {
  enum class Kind : std::uint8_t {
    Commit,
    Audit,        // compare the kernel with the plan, mend what differs
    CheckTamper,  // the mode heard of a foreign change: audit if it was to ours
  };
  Kind kind = Kind::Commit;
  plan::PlanDelta delta;
  std::map<IpFamily, plan::NodePlan> nodes;
  std::vector<plan::FlowReview> flows;
  std::vector<IpAddress> node_addresses;
  std::vector<WallTime> triggers;  // when what this commits was changed in the cluster
};

struct FlowsCleaned {
  FlowStats stats;
  Duration duration{0};
};

struct Outcome {
  Job::Kind kind = Job::Kind::Commit;
  std::optional<Error> error;            // the kernel does not hold the plan
  std::optional<Error> conntrack_error;  // the rules are fine, old flows remain for now
  bool full = false;                     // everything was programmed anew
  plan::ApplyStats stats;
  std::vector<plan::RuleCount> rules;
  std::vector<std::string> findings;       // differences that were mended
  std::map<IpFamily, FlowsCleaned> flows;  // families that were looked over
  std::optional<Leftovers> leftovers;      // looked for after the first success
  Duration duration{0};
  std::vector<WallTime> triggers;
};

// Owns the mode and the plan the kernel should hold. Worker thread only.
class KernelSide {
 public:
  struct Config {
    std::unique_ptr<plan::Mode> mode;
    std::function<Result<FlowStats>(const StaleFlows&, IpFamily)> clean_flows;
    // As remove_leftovers(); empty: whatever others left stays.
    std::function<Leftovers(std::string_view mode, std::string_view variant)> remove_leftovers;
    const Clock* clock = &Clock::real();
  };
  explicit KernelSide(Config config) : config_(std::move(config)) {}

  Outcome run(Job job);
  // As plan::Mode::traffic(); nothing while the kernel may hold something else than the plan, or
  // when it cannot be read: then what was counted before stands.
  std::optional<std::vector<plan::Traffic>> traffic();
  bool counts_traffic() const { return config_.mode->counts_traffic(); }
  int tamper_fd() const { return config_.mode->tamper_fd(); }
  int successor_fd() const { return config_.mode->successor_fd(); }
  std::string_view mode_name() const { return config_.mode->name(); }
  const plan::Plan& plan() const { return plan_; }

 private:
  void commit(const Job& job, Outcome& out);
  void audit(Outcome& out);
  void check_tamper(Outcome& out);
  void program_all(Outcome& out);
  void clean(Outcome& out);
  void clear_leftovers(Outcome& out);

  Config config_;
  plan::Plan plan_;
  bool unknown_ = true;                                // what the kernel holds
  bool cleared_ = false;                               // nothing of other modes is left
  std::map<plan::PlanKey, plan::FlowReview> reviews_;  // not yet done
  std::vector<IpAddress> node_addresses_;
};

struct SyncHealth {
  std::optional<MonoTime> pending_since;  // oldest change that is not in the kernel
  WallTime last_updated{};
  std::optional<WallTime> last_queued;  // when a commit was last asked for
  std::string last_error;               // of the last commit, empty when it succeeded
};

// Service ports that a policy Local leaves without an endpoint here.
struct NoLocalEndpoints {
  std::size_t internal = 0;
  std::size_t external = 0;
  bool operator==(const NoLocalEndpoints&) const = default;
};

class Syncer {
 public:
  struct Config {
    model::Model* model = nullptr;
    plan::NodeContext node;
    Duration sync_period = std::chrono::seconds{30};
    Duration min_sync_period = std::chrono::seconds{1};
    const Clock* clock = &Clock::real();
  };
  explicit Syncer(Config config);

  // Inputs. All are cheap and only note what is to be done.
  void services_synced();
  void slices_synced();
  void changed();  // the model may have dirty names
  void set_node(plan::NodeContext node, std::vector<IpAddress> local_addresses);
  void triggered(WallTime when);  // a change in the cluster, for the latency metric
  void tampered() { tamper_ = true; }

  // The Job to run now, if any; the caller must hand its Outcome to finish() before asking again.
  std::optional<Job> next_job();
  // When next_job() may have something without further input.
  std::optional<MonoTime> wake_at() const;
  void finish(const Outcome& outcome);

  bool gates_open() const { return services_synced_ && slices_synced_; }
  const plan::Compiler& compiler() const { return compiler_; }
  SyncHealth health() const;
  // Changes that altered something and are not in the kernel yet.
  model::Counts pending_changes() const;
  const plan::Update& last_update() const { return last_update_; }  // counts, conflicts
  const NoLocalEndpoints& no_local_endpoints(IpFamily family) const {
    return family == IpFamily::V4 ? no_local_v4_ : no_local_v6_;
  }

 private:
  void request();
  Job commit_job();
  void count_no_local(const plan::PlanDelta& delta);

  Config config_;
  plan::Compiler compiler_;
  SyncSchedule schedule_;
  bool services_synced_ = false;
  bool slices_synced_ = false;
  bool first_done_ = false;
  bool running_ = false;
  bool tamper_ = false;
  MonoTime next_audit_{};
  std::optional<MonoTime> pending_since_, running_since_;
  WallTime last_updated_;
  std::optional<WallTime> last_queued_;
  model::Counts taken_, committed_;  // changes that were in the last Job, and in the kernel
  std::string last_error_;
  std::vector<WallTime> triggers_;
  std::vector<IpAddress> local_addresses_;
  plan::Update last_update_;
  NoLocalEndpoints no_local_v4_, no_local_v6_;
};

}  // namespace fairlead::proxy
