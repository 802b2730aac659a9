// One process' part in the election of a leader by a Lease (coordination.k8s.io/v1): what to write
// after having read, and how long what was written lets it lead. Pure; time comes in with every
// call.
//
// Whether another's lease has run out is judged by our clock since we last saw it change, never by
// comparing clocks. Invariant: we cease to lead `renew_deadline` after the start of the last write
// that succeeded, and nobody takes the lease before `lease_duration` after it: two never lead at a
// time as long as our clocks go equally fast.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.hpp"
#include "kube/objects.hpp"

namespace fairlead::controllers {

struct LeaseTerms {
  kube::NamespacedName lease;
  std::string identity;  // nobody else's
  std::chrono::nanoseconds lease_duration = std::chrono::seconds{15};
  std::chrono::nanoseconds renew_deadline = std::chrono::seconds{10};
  std::chrono::nanoseconds retry_period = std::chrono::seconds{2};
};
// Names the flag that is wrong.
Result<void> validate(const LeaseTerms& terms);

class LeaseCandidate {
 public:
  explicit LeaseCandidate(LeaseTerms terms) : terms_(std::move(terms)) {}

  // The lease as it was just read (nullopt = there is none). Answers what to write: with a
  // resourceVersion to replace, without one to create; nullopt while somebody else holds it.
  std::optional<kube::Lease> attempt(const std::optional<kube::Lease>& seen, MonoTime now,
                                     WallTime wall);
  // The server took the write that was begun then.
  void written(const kube::Lease& answer, MonoTime begun);

  // Until when we lead; nullopt if we do not, or no longer.
  std::optional<MonoTime> leads_until() const { return leads_until_; }
  const std::string& holder() const { return seen_.holder_identity; }

  // What to write to give the lease up; nullopt if it is not ours.
  std::optional<kube::Lease> release(WallTime wall);
  const LeaseTerms& terms() const { return terms_; }

 private:
  bool taken_by_another(MonoTime now) const;

  LeaseTerms terms_;
  kube::Lease seen_;
  MonoTime seen_at_{};
  std::optional<MonoTime> leads_until_;
};

}  // namespace fairlead::controllers
