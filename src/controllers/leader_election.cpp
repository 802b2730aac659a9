#include "controllers/leader_election.hpp"

#include "base/log.hpp"

namespace fairlead::controllers {

using kube::Lease;

LeaderElection::LeaderElection(io::Executor executor, Config config)
    : config_(std::move(config)),
      candidate_(config_.terms),
      jitter_({.seed = config_.seed}),
      changed_(std::move(executor)) {}

bool LeaderElection::leads() const {
  const auto until = candidate_.leads_until();
  return until && config_.clock->mono() < *until;
}

io::Task<Result<void>> LeaderElection::try_once() {
  auto read = co_await config_.client->get_object<Lease>(config_.terms.lease);
  std::optional<Lease> seen;
  if (read) {
    seen = *std::move(read);
  } else if (read.error().code != ErrorCode::NotFound) {
    co_return read.error();
  }
  const MonoTime begun = config_.clock->mono();
  auto wanted = candidate_.attempt(seen, begun, config_.clock->wall());
  if (!wanted) {
    if (told_holder_ != candidate_.holder())
      log::info("Somebody else leads", {{"holder", candidate_.holder()}});
    told_holder_ = candidate_.holder();
    co_return Result<void>{};
  }
  auto written = seen ? co_await config_.client->replace_object(*std::move(wanted))
                      : co_await config_.client->create_object(*std::move(wanted));
  if (!written) co_return written.error();
  candidate_.written(*written, begun);
  told_holder_ = candidate_.holder();
  co_return Result<void>{};
}

io::Task<void> LeaderElection::run() {
  const auto period =
      std::chrono::duration_cast<std::chrono::milliseconds>(config_.terms.retry_period);
  while (!co_await io::cancelled()) {
    const auto tried = co_await try_once();
    if (!tried) {
      log::warning("The lease was not read or written, trying again",
                   {{"lease", config_.terms.lease.to_string()}, {"err", tried.error()}});
    }
    changed_.notify();
    // A leader renews in time; those who wait must not all come at once.
    const auto spread = leads() ? 0 : jitter_.pick(0, period.count() / 5);
    co_await io::sleep_for(period + std::chrono::milliseconds{spread});
  }
}

io::Task<bool> LeaderElection::until_elected() {
  while (!leads()) {
    if (!co_await changed_.wait()) co_return false;
  }
  co_return true;
}

io::Task<void> LeaderElection::until_lost() {
  while (leads() && !co_await io::cancelled())
    co_await changed_.wait_until(*candidate_.leads_until());
}

io::Task<void> LeaderElection::release() {
  auto free = candidate_.release(config_.clock->wall());
  if (!free) co_return;
  const auto written = co_await config_.client->replace_object(*std::move(free));
  if (!written) log::warning("The lease was not given up", {{"err", written.error()}});
}

}  // namespace fairlead::controllers
