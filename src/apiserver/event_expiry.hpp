// Events are news: each goes a while after it was last written (spec 4.9; kube-apiserver's
// --event-ttl). Time is counted from when this server saw the write, on the clock that does not
// jump. After a start, the times an Event carries stand in for what was not seen, so that a restart
// does not give it a second life.
//
// Owned by the ApiServer; loop thread only. Where several servers share a store each sweeps; a
// deletion asks that the Event is still the one that was seen, so that none goes too early.
#pragma once

#include <chrono>
#include <deque>
#include <string>

#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

class EventExpiry {
 public:
  static constexpr auto kPeriod = std::chrono::minutes(1);  // etcd is no more exact

  EventExpiry(Registry& registry, const Clock& clock, std::chrono::nanoseconds lifetime);

  // Takes note of what is stored. Once, after Registry::load() and before wrote().
  void load();
  void wrote(const Resource& resource, const StoreEvent& event);  // of any resource
  // Removes what is due. An error leaves the rest for the next time.
  io::Task<Result<void>> sweep();
  io::Task<void> run();  // sweeps until cancelled

 private:
  struct Entry {
    std::string key;
    Revision revision = 0;
    MonoTime due;
  };
  Resource& events_;
  Store& store_;
  const Clock& clock_;
  std::chrono::nanoseconds lifetime_;
  std::deque<Entry> entries_;  // by due; one that was written again has a later entry too
};

}  // namespace fairlead::apiserver
