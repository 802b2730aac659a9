// NodeProxy's way to the kernel: Jobs to the worker, Outcomes to log, metrics and health checks.
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/log.hpp"
#include "proxy/node_proxy_impl.hpp"

namespace fairlead::proxy {
namespace {

constexpr std::chrono::milliseconds kTrafficAge{500};
constexpr std::chrono::seconds kTrafficPatience{2};

}  // namespace

io::Task<void> NodeProxy::Impl::sync_loop() {
  while (!co_await io::cancelled() && !failed_) {
    auto job = syncer_.next_job();
    if (!job) {
      co_await rest();
      continue;
    }
    if (job->kind == Job::Kind::Commit) {
      log_conflicts();
      metrics_.compiled(syncer_);
    }
    auto shared = std::make_shared<Job>(*std::move(job));
    KernelSide* kernel = kernel_.get();
    std::optional<Outcome> outcome = co_await worker_.run(executor_, [kernel, shared] {
      return std::optional<Outcome>(kernel->run(std::move(*shared)));
    });
    co_await take_outcome(*std::move(outcome));
  }
}

// Until there may be something to do.
io::Task<void> NodeProxy::Impl::rest() {
  auto wake = syncer_.wake_at();
  if (health_checks_due_ && (!wake || *health_checks_due_ < *wake)) wake = health_checks_due_;
  if (wake) {
    co_await wake_.wait_until(*wake);
  } else {
    co_await wake_.wait();
  }
  if (health_checks_due_ && *health_checks_due_ <= options_.clock->mono()) {
    co_await serve_health_checks();
  }
}

io::Task<void> NodeProxy::Impl::serve_health_checks() {
  co_await health_checks_.reconcile(
      wanted_health_checks(syncer_.compiler().health_checks(), syncer_.compiler().plan()));
  health_checks_due_.reset();
  if (const auto pause = health_checks_.retry_in()) {
    health_checks_due_ = options_.clock->mono() + *pause;
  }
}

io::Task<void> NodeProxy::Impl::take_outcome(Outcome outcome) {
  syncer_.finish(outcome);
  metrics_.finished(outcome, options_.clock->wall());
  log_outcome(outcome);
  if (outcome.leftovers) log_leftovers(*outcome.leftovers);
  if (outcome.kind != Job::Kind::Commit) {
    tamper_checked_.notify();
    node_changed();  // interface addresses come and go without anybody telling
  }
  if (outcome.error) {
    if (!first_sync_done_ && outcome.error->code == ErrorCode::Forbidden) {
      fatal(with_advice(*outcome.error));
    }
    co_return;
  }
  if (outcome.kind == Job::Kind::Commit) first_sync_done_ = true;
  metrics_.rules(outcome.rules);
  if (outcome.kind == Job::Kind::Commit) co_await serve_health_checks();
}

// Before each answer of the metrics server. Scrapes at the same time, and those that follow within
// kTrafficAge, share one reading. A worker that is busy programming is waited for, but not long:
// what was counted before is better than a scrape that fails.
io::Task<void> NodeProxy::Impl::count_traffic(std::string target) {
  if (target.substr(0, target.find('?')) != "/metrics" || !kernel_->counts_traffic()) co_return;
  if (!counting_ && options_.clock->mono() >= traffic_fresh_until_) {
    counting_ = tasks_.spawn(read_traffic());
    if (counting_) traffic_counted_.expires_after(kTrafficPatience);
  }
  if (counting_) co_await traffic_counted_.async_wait(io::kNoThrow);
}

io::Task<void> NodeProxy::Impl::read_traffic() {
  KernelSide* kernel = kernel_.get();
  auto traffic = co_await worker_.run(executor_, [kernel] { return kernel->traffic(); });
  if (traffic) metrics_.traffic(*std::move(traffic));
  traffic_fresh_until_ = options_.clock->mono() + kTrafficAge;
  counting_ = false;
  traffic_counted_.cancel();  // whoever waits goes on
}

void NodeProxy::Impl::log_conflicts() {
  for (const plan::Conflict& conflict : syncer_.last_update().conflicts) {
    log::warning("Two Services claim one address and port; one goes without it",
                 {{"address", conflict.frontend.address},
                  {"port", conflict.frontend.port},
                  {"service", conflict.winner.service_port.to_string()},
                  {"without", conflict.loser.service_port.to_string()}});
  }
}

void NodeProxy::Impl::log_leftovers(const Leftovers& leftovers) {
  for (const std::string& name : leftovers.removed) {
    log::info("Removed what another mode had left", {{"from", name}});
  }
  for (const Error& failure : leftovers.failures) {
    log::warning("Cannot remove what another mode may have left, trying again",
                 {{"err", failure}, {"in", format_duration(periods_.sync)}});
  }
}

void NodeProxy::Impl::log_outcome(const Outcome& outcome) {
  if (!outcome.findings.empty()) {
    metrics_.drift_found();
    std::string found;
    for (const std::string& finding : outcome.findings) {
      found += (found.empty() ? "" : "; ") + finding;
    }
    log::warning("Somebody else changed our rules", {{"found", found}, {"mended", !outcome.error}});
  }
  if (outcome.error && outcome.error->code == ErrorCode::Cancelled) {
    log::info("The rules are left as they are", {{"because", *outcome.error}});
    return;
  }
  if (outcome.error) {
    const auto wake = syncer_.wake_at();
    // What is overdue is tried at once.
    const Duration pause =
        wake ? std::max(*wake - options_.clock->mono(), Duration{0}) : periods_.sync;
    log::error(outcome.kind == Job::Kind::Commit ? "Cannot program the rules, trying again"
                                                 : "Cannot audit the rules, trying again",
               {{"err", *outcome.error},
                {"in", format_duration(std::chrono::round<std::chrono::milliseconds>(pause))}});
    return;
  }
  const std::string complaint = outcome.conntrack_error ? outcome.conntrack_error->message : "";
  if (conntrack_complaint_ != complaint) {
    conntrack_complaint_ = complaint;
    if (!complaint.empty()) {
      log::error("Cannot look over old UDP flows, trying again after each commit or audit",
                 {{"err", complaint}});
    }
  }
  std::uint64_t stale_flows = 0;
  for (const auto& [family, flows] : outcome.flows) stale_flows += flows.stats.deleted;
  const auto milliseconds = std::chrono::duration<double, std::milli>(outcome.duration).count();
  const int level = outcome.full ? 0 : outcome.kind == Job::Kind::Commit ? 2 : 4;
  log::verbose(level, outcome.full ? "Programmed all rules" : "Rules are in step",
               {{"servicePorts", syncer_.compiler().plan().services.size()},
                {"messages", outcome.stats.messages},
                {"elements", outcome.stats.elements},
                {"milliseconds", fmt::format("{:.3f}", milliseconds)},
                {"staleFlows", stale_flows}});
}

// The mode's descriptor says "somebody touched nftables"; the worker finds out whether it was us.
io::Task<void> NodeProxy::Impl::watch_tamper(int fd) {
  io::UniqueFd copy(::dup(fd));
  io::asio::posix::stream_descriptor descriptor(executor_, copy.release());
  while (!co_await io::cancelled()) {
    const auto [ec] =
        co_await descriptor.async_wait(io::asio::posix::descriptor_base::wait_read, io::kNoThrow);
    if (ec) co_return;
    syncer_.tampered();
    wake_.notify();
    co_await tamper_checked_.wait();  // the worker drains the descriptor
  }
}

io::Task<void> NodeProxy::Impl::watch_successor(int fd) {
  io::UniqueFd copy(::dup(fd));
  io::asio::posix::stream_descriptor descriptor(executor_, copy.release());
  const auto [ec] =
      co_await descriptor.async_wait(io::asio::posix::descriptor_base::wait_read, io::kNoThrow);
  if (!ec && options_.on_succeeded) options_.on_succeeded();
}

}  // namespace fairlead::proxy
