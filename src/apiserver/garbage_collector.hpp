// GarbageCollector: what metadata.ownerReferences promise. An object whose owners are all gone is
// deleted; the finalizers foregroundDeletion and orphan, which a DELETE with that propagation
// policy sets, are carried out and taken off.
//
// Owned by the ApiServer; loop thread only. It lives in the server, not among the controllers,
// because whether an owner is gone can be told from the caches here for certain: before anything is
// done they are brought up to everything that was committed. Several servers on one store may all
// collect: each delete is bound to the uid and revision it was decided on.
//
// Left alone: owners of kinds that are not served here (they count as present), a namespaced owner
// of a cluster-wide object. What is in a Namespace goes with it otherwise (NamespaceReaper).
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "apiserver/object_writer.hpp"
#include "apiserver/registry.hpp"
#include "base/clock.hpp"

namespace fairlead::apiserver {

class GarbageCollector {
 public:
  GarbageCollector(Registry& registry, const Clock& clock, io::Executor executor);

  void load();  // once, when the caches are full
  void changed(const Resource& resource, const StoreEvent& event);
  io::Task<void> run();       // until cancelled
  io::Task<bool> work_off();  // what is there to do now; false: some of it has to be tried again
  bool is_idle() const { return dirty_.empty(); }

 private:
  using Places = std::map<std::string, Resource*, std::less<>>;  // by key in the store

  struct Owners {
    bool solid = false;                  // one is there and stays, or cannot be known
    bool waiting = false;                // one waits for its dependents to go
    std::vector<std::string> gone_uids;  // of references that hold nothing any more
  };

  void note(Resource& resource, const std::string& key);
  std::vector<std::string> forget(const std::string& key);  // returns its owners' keys
  void mark_owner(const std::string& key);
  void mark(const std::string& key, Resource* resource);
  void mark_dependents(std::string_view key);
  Resource* owner_resource(const OwnerLink& owner) const;
  Owners owners_of(const CachedObject& object) const;
  bool needs_work(const CachedObject& object) const;
  std::vector<std::pair<Resource*, ObjectPtr>> dependents_of(const CachedObject& owner) const;

  // Each true when nothing is left to do or it comes up again by itself.
  io::Task<bool> examine(Resource* resource, std::string key);
  io::Task<bool> collect(Resource* resource, ObjectPtr object, bool foreground);
  io::Task<bool> finish(Resource* resource, ObjectPtr owner);
  io::Task<bool> drop_references(Resource* resource, ObjectPtr object,
                                 std::vector<std::string> uids);
  io::Task<bool> drop_finalizer(Resource* resource, ObjectPtr object, std::string finalizer);

  Registry& registry_;
  const Clock& clock_;
  ObjectWriter writer_;
  io::Event changed_;
  std::map<std::string, Places, std::less<>> dependents_;                // by their owner's key
  std::map<std::string, std::vector<std::string>, std::less<>> owners_;  // keys, by dependent's key
  Places dirty_;
};

}  // namespace fairlead::apiserver
