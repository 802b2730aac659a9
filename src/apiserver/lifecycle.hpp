// What the server does by itself: the objects every cluster has, emptying namespaces that are being
// deleted, forgetting old revisions. Each is a task of the ApiServer on its loop.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <vector>

#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

// Namespaces default, kube-system, kube-public, kube-node-lease; existing ones are left alone.
io::Task<Result<void>> make_system_namespaces(Registry* registry, const Clock* clock);

// Deletes what is in namespaces that are being deleted, then lets go of them. What cannot be read
// may have been held by somebody: it keeps its namespace, which says so in a condition, until it is
// deleted by name. Runs until cancelled.
class NamespaceReaper {
 public:
  NamespaceReaper(Registry& registry, const Clock& clock, io::Executor executor);
  io::Task<void> run();
  void poke() { changed_.notify(); }  // something may have become deletable

 private:
  io::Task<bool> reap(std::string ns);  // true: nothing left in it
  io::Task<bool> release(std::string ns);
  std::vector<std::string> unreadable_in(const std::string& ns) const;
  io::Task<void> say_unreadable(std::string ns, std::vector<std::string> objects);

  Registry& registry_;
  const Clock& clock_;
  ObjectWriter writer_;
  io::Event changed_;
};

// How far history may be forgotten. Pure.
class CompactionPolicy {
 public:
  static constexpr auto kKeptTime = std::chrono::minutes(10);
  static constexpr Revision kKeptAtLeast = 1'000;
  static constexpr Revision kKeptAtMost = 100'000;

  // Notes that `revision` was the newest at `now`; returns what to compact to, 0 for nothing.
  Revision observe(MonoTime now, Revision revision);

 private:
  struct Sample {
    MonoTime time;
    Revision revision = 0;
  };
  std::deque<Sample> samples_;
};

io::Task<void> compact_regularly(Store* store, const Clock* clock);  // until cancelled

}  // namespace fairlead::apiserver
