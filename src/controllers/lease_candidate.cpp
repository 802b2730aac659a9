#include "controllers/lease_candidate.hpp"

#include <utility>

namespace fairlead::controllers {

using std::chrono::seconds;

Result<void> validate(const LeaseTerms& terms) {
  const auto wrong = [](std::string_view flag, std::chrono::nanoseconds value,
                        std::string_view why) {
    return make_error(ErrorCode::Invalid, "--{}={}: {}", flag, format_duration(value), why);
  };
  if (terms.lease_duration < seconds{1} || terms.lease_duration % seconds{1} != seconds{0})
    return wrong("leader-elect-lease-duration", terms.lease_duration,
                 "must be a whole number of seconds");
  if (terms.renew_deadline >= terms.lease_duration)
    return wrong("leader-elect-renew-deadline", terms.renew_deadline,
                 "must be shorter than the lease duration");
  if (terms.retry_period.count() <= 0 || terms.retry_period * 6 / 5 >= terms.renew_deadline)
    return wrong("leader-elect-retry-period", terms.retry_period,
                 "must be above 0, and 1.2 times as much shorter than the renew deadline");
  return {};
}

bool LeaseCandidate::taken_by_another(MonoTime now) const {
  if (seen_.holder_identity.empty() || seen_.holder_identity == terms_.identity) return false;
  const std::chrono::nanoseconds duration =
      seen_.duration.count() > 0 ? std::chrono::nanoseconds(seen_.duration) : terms_.lease_duration;
  return now < seen_at_ + duration;
}

std::optional<kube::Lease> LeaseCandidate::attempt(const std::optional<kube::Lease>& seen,
                                                   MonoTime now, WallTime wall) {
  const bool ours = seen && seen->holder_identity == terms_.identity;
  if (!ours) leads_until_.reset();
  const kube::Lease current = seen.value_or(kube::Lease{});
  if (!(current == seen_)) {
    seen_ = current;
    seen_at_ = now;
  }
  if (taken_by_another(now)) return std::nullopt;
  kube::Lease mine = current;
  mine.metadata.namespace_ = terms_.lease.namespace_;
  mine.metadata.name = terms_.lease.name;
  mine.holder_identity = terms_.identity;
  mine.duration = std::chrono::duration_cast<seconds>(terms_.lease_duration);
  mine.renew_time = wall;
  if (!ours) mine.acquire_time = wall;
  if (seen && !ours) ++mine.transitions;
  return mine;
}

void LeaseCandidate::written(const kube::Lease& answer, MonoTime begun) {
  seen_ = answer;
  seen_at_ = begun;
  leads_until_ = begun + terms_.renew_deadline;
}

std::optional<kube::Lease> LeaseCandidate::release(WallTime wall) {
  leads_until_.reset();
  if (seen_.holder_identity != terms_.identity) return std::nullopt;
  kube::Lease free = seen_;
  free.holder_identity.clear();
  free.duration = seconds{1};
  free.renew_time = wall;
  return free;
}

}  // namespace fairlead::controllers
