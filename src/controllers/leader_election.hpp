// The shell around LeaseCandidate: reads and writes the Lease until this process leads, keeps it,
// and tells when it is lost. Loop thread only; the client outlives it and should have a timeout
// well below the renew deadline.
#pragma once

#include <cstdint>

#include "base/clock.hpp"
#include "client/api_client.hpp"
#include "client/backoff.hpp"
#include "controllers/lease_candidate.hpp"
#include "io/task.hpp"

namespace fairlead::controllers {

class LeaderElection {
 public:
  struct Config {
    client::ApiClient* client = nullptr;
    LeaseTerms terms;
    std::uint64_t seed = 0;  // of the jitter between two tries
    const Clock* clock = &Clock::real();
  };
  LeaderElection(io::Executor executor, Config config);

  // Spawned by the owner; tries again every retry period, until cancelled.
  io::Task<void> run();
  // False when cancelled before this process led.
  io::Task<bool> until_elected();
  // Returns as soon as this process leads no longer, or when cancelled.
  io::Task<void> until_lost();
  // So that another need not wait; for an orderly end, when run() has ended.
  io::Task<void> release();

 private:
  io::Task<Result<void>> try_once();
  bool leads() const;

  Config config_;
  LeaseCandidate candidate_;
  client::Backoff jitter_;
  io::Event changed_;
  std::string told_holder_;
};

}  // namespace fairlead::controllers
