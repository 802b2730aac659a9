#include "proxy/sync.hpp"

#include <utility>

namespace fairlead::proxy {
namespace {

constexpr std::size_t kFindingsShown = 5;

void fold(plan::Plan& plan, const Job& job) {
  plan.nodes = job.nodes;
  for (const plan::ServiceChange& change : job.delta.services) {
    if (change.after) {
      plan.services.insert_or_assign(change.after->key, change.after);
    } else {
      plan.services.erase(change.before->key);
    }
  }
}

// 1 where traffic of that policy is dropped for want of a local endpoint.
NoLocalEndpoints no_local(const plan::ServicePlan* service) {
  NoLocalEndpoints out;
  if (service == nullptr) return out;
  for (const plan::Frontend& frontend : service->frontends) {
    if (frontend.target != plan::Target::Drop) continue;
    (frontend.kind == plan::FrontendKind::ClusterIp ? out.internal : out.external) = 1;
  }
  return out;
}

}  // namespace

// ---- worker -------------------------------------------------------------------------------------

Outcome KernelSide::run(Job job) {
  const MonoTime start = config_.clock->mono();
  Outcome out{.kind = job.kind, .triggers = std::move(job.triggers)};
  switch (job.kind) {
    case Job::Kind::Commit:
      commit(job, out);
      break;
    case Job::Kind::Audit:
      audit(out);
      break;
    case Job::Kind::CheckTamper:
      check_tamper(out);
      break;
  }
  out.duration = config_.clock->mono() - start;
  out.rules = config_.mode->rule_counts();
  if (!out.error && !unknown_) {
    clean(out);
    clear_leftovers(out);
  }
  return out;
}

void KernelSide::commit(const Job& job, Outcome& out) {
  fold(plan_, job);
  node_addresses_ = job.node_addresses;
  for (const plan::FlowReview& review : job.flows) {
    const auto [place, is_new] = reviews_.try_emplace(review.key, review);
    if (!is_new) place->second = merged(place->second, review);
  }
  if (unknown_) return program_all(out);
  auto stats = config_.mode->apply(plan_, job.delta);
  if (stats) {
    out.stats = *stats;
  } else {
    unknown_ = true;
    out.error = std::move(stats).error();
  }
}

void KernelSide::program_all(Outcome& out) {
  out.full = true;
  auto stats = config_.mode->apply_full(plan_);
  unknown_ = !stats.has_value();
  if (stats) {
    out.stats += *stats;
  } else {
    out.error = std::move(stats).error();
  }
}

void KernelSide::audit(Outcome& out) {
  if (unknown_) return program_all(out);
  auto findings = config_.mode->verify(plan_, kFindingsShown);
  if (!findings) {
    // Not being able to look is no reason to believe the worst; the next commit will tell.
    out.error = findings.error().with_context("audit");
    return;
  }
  out.findings = *std::move(findings);
  if (!out.findings.empty()) program_all(out);
}

std::optional<std::vector<plan::Traffic>> KernelSide::traffic() {
  if (unknown_) return std::nullopt;
  auto counted = config_.mode->traffic(plan_);
  if (!counted) return std::nullopt;
  return *std::move(counted);
}

void KernelSide::check_tamper(Outcome& out) {
  auto ours = config_.mode->tampered();
  if (!ours) {
    out.error = ours.error().with_context("look for foreign changes");
    return;
  }
  if (*ours) audit(out);
}

// Old flows are looked over only once the new rules are in: deleted earlier, the next datagram
// would make the same entry again.
void KernelSide::clean(Outcome& out) {
  if (reviews_.empty() || !config_.clean_flows) return;
  StaleFlows stale(node_addresses_);
  for (const auto& [key, review] : reviews_) stale.add(review, config_.mode->udp_ports(key));
  for (const IpFamily family : {IpFamily::V4, IpFamily::V6}) {
    if (!stale.concerns(family)) continue;
    const MonoTime start = config_.clock->mono();
    auto stats = config_.clean_flows(stale, family);
    if (!stats) {
      out.conntrack_error = std::move(stats).error();
      continue;
    }
    out.flows.emplace(family,
                      FlowsCleaned{.stats = *stats, .duration = config_.clock->mono() - start});
    std::erase_if(reviews_, [&](const auto& entry) { return entry.first.family == family; });
  }
}

// What failed is tried again with the next audit.
void KernelSide::clear_leftovers(Outcome& out) {
  if (cleared_ || !config_.remove_leftovers || out.kind == Job::Kind::CheckTamper) return;
  out.leftovers = config_.remove_leftovers(config_.mode->name(), config_.mode->variant());
  cleared_ = out.leftovers->failures.empty();
}

// ---- loop ---------------------------------------------------------------------------------------

Syncer::Syncer(Config config)
    : config_(std::move(config)),
      compiler_(config_.node),
      schedule_({.min_period = config_.min_sync_period, .sync_period = config_.sync_period}),
      last_updated_(config_.clock->wall()) {}

void Syncer::services_synced() {
  services_synced_ = true;
  if (gates_open() && !first_done_) request();
}

void Syncer::slices_synced() {
  slices_synced_ = true;
  if (gates_open() && !first_done_) request();
}

void Syncer::changed() {
  if (gates_open() && !config_.model->dirty().empty()) request();
}

void Syncer::set_node(plan::NodeContext node, std::vector<IpAddress> local_addresses) {
  local_addresses_ = std::move(local_addresses);
  if (node == compiler_.node()) return;
  compiler_.set_node(std::move(node), *config_.model);
  if (gates_open()) request();
}

void Syncer::triggered(WallTime when) { triggers_.push_back(when); }

void Syncer::request() {
  const MonoTime now = config_.clock->mono();
  schedule_.request(now);
  if (!pending_since_) pending_since_ = now;
  last_queued_ = config_.clock->wall();
}

std::optional<Job> Syncer::next_job() {
  if (running_ || !gates_open()) return std::nullopt;
  const MonoTime now = config_.clock->mono();
  const bool audit_starves = first_done_ && now >= next_audit_ + config_.sync_period;
  if (const auto due = schedule_.due(); due && *due <= now && !audit_starves) {
    schedule_.started(now);
    Job job = commit_job();
    // Changes that took each other back need no commit, unless the kernel has none of it yet.
    if (job.delta.empty() && job.flows.empty() && first_done_ && last_error_.empty()) {
      schedule_.finished(now, true);
      pending_since_.reset();
      committed_ = taken_;
      return std::nullopt;
    }
    running_since_ = std::exchange(pending_since_, std::nullopt);
    running_ = true;
    return job;
  }
  if (!first_done_) return std::nullopt;  // before that there is nothing to compare with
  if (now >= next_audit_) {               // before hearsay, of which there may be no end
    running_ = true;
    return Job{.kind = Job::Kind::Audit};
  }
  if (std::exchange(tamper_, false)) {
    running_ = true;
    return Job{.kind = Job::Kind::CheckTamper};
  }
  return std::nullopt;
}

Job Syncer::commit_job() {
  last_update_ = compiler_.update(*config_.model);
  count_no_local(last_update_.delta);
  taken_ = config_.model->counts();
  return {.kind = Job::Kind::Commit,
          .delta = std::exchange(last_update_.delta, {}),
          .nodes = compiler_.plan().nodes,
          .flows = std::exchange(last_update_.flows, {}),
          .node_addresses = local_addresses_,
          .triggers = std::exchange(triggers_, {})};
}

void Syncer::count_no_local(const plan::PlanDelta& delta) {
  for (const plan::ServiceChange& change : delta.services) {
    const auto& key = change.after ? change.after->key : change.before->key;
    NoLocalEndpoints& total = key.family == IpFamily::V4 ? no_local_v4_ : no_local_v6_;
    const NoLocalEndpoints before = no_local(change.before.get());
    const NoLocalEndpoints after = no_local(change.after.get());
    total.internal += after.internal - before.internal;
    total.external += after.external - before.external;
  }
}

std::optional<MonoTime> Syncer::wake_at() const {
  if (running_ || !gates_open()) return std::nullopt;
  std::optional<MonoTime> out = schedule_.due();
  if (first_done_) out = out ? std::min(*out, next_audit_) : next_audit_;
  return out;
}

void Syncer::finish(const Outcome& outcome) {
  const MonoTime now = config_.clock->mono();
  running_ = false;
  const bool ok = !outcome.error;
  // Commits of what changed do not put it off: a busy cluster would never be audited.
  if (outcome.kind == Job::Kind::Audit || outcome.full) next_audit_ = now + config_.sync_period;
  if (outcome.kind == Job::Kind::Commit) {
    schedule_.finished(now, ok);
    if (ok) {
      first_done_ = true;
      committed_ = taken_;
      last_updated_ = config_.clock->wall();
    } else {
      if (running_since_) pending_since_ = running_since_;  // still waiting, and since then
      triggers_.insert(triggers_.begin(), outcome.triggers.begin(), outcome.triggers.end());
    }
    running_since_.reset();
    last_error_ = ok ? "" : outcome.error->message;
    return;
  }
  if (!ok) {
    last_error_ = outcome.error->message;
    if (outcome.full) request();  // mending failed: the kernel lacks what was there
  } else {
    last_error_.clear();  // the kernel was seen to hold the plan, or was made to
    if (outcome.full) last_updated_ = config_.clock->wall();
  }
}

SyncHealth Syncer::health() const {
  SyncHealth out{.pending_since = pending_since_,
                 .last_updated = last_updated_,
                 .last_queued = last_queued_,
                 .last_error = last_error_};
  if (running_since_ && (!out.pending_since || *running_since_ < *out.pending_since)) {
    out.pending_since = running_since_;
  }
  return out;
}

model::Counts Syncer::pending_changes() const {
  const model::Counts& seen = config_.model->counts();
  return {.service_changes = seen.service_changes - committed_.service_changes,
          .slice_changes = seen.slice_changes - committed_.slice_changes};
}

}  // namespace fairlead::proxy
