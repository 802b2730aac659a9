// ObjectCache: the objects of one resource in memory, fed by a watch of the store; lists and
// watches are served from here. An object's JSON (with kind, apiVersion and resourceVersion) is
// made once and shared by every reader; so is its protobuf, if anyone reads it.
//
// Owned by the Registry; loop thread only. What it guarantees:
//  - It is at revision() for *every* resource: foreign changes advance it too, so bookmarks and
//  consistent lists need no store.
//  - A watcher sees every matching change above its start exactly once, in order, with selector
//  transitions resolved.
//  - The ring of past events is complete above oldest(); a watch from below that gets Expired.
//  - Watchers read from the ring and have no queues of their own: however many there are and
//  however slow, they cost a place in the ring each. One that the ring has left behind is cut off;
//  nothing is ever skipped silently.
//  - Stored bytes that are no object of the kind are told, counted and known by their key; what was
//  there before is gone for readers and watchers. Everything else goes on.
// Not here: HTTP, what encodings look like, old snapshots (the store has those).
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/status.hpp"
#include "apiserver/store/store.hpp"
#include "apiserver/strategy.hpp"
#include "io/task.hpp"
#include "kube/selector.hpp"

namespace fairlead::apiserver {

// One of an object's metadata.ownerReferences.
struct OwnerLink {
  std::string group, kind, name, uid;
  bool blocks = false;  // blockOwnerDeletion
  bool operator==(const OwnerLink&) const = default;
};

// One state of one object. Immutable.
struct CachedObject {
  std::string key;  // in the store
  std::string ns, name, uid;
  Revision revision = 0;
  bool terminating = false;  // has a deletionTimestamp
  SharedBytes json;          // as clients get it, compact, without a newline
  kube::StringMap labels;
  std::vector<OwnerLink> owners;
  std::vector<std::pair<std::string, std::string>>
      fields;  // selectable ones, metadata.name and .namespace included

  Document document()
      const;  // parsed anew, without metadata.resourceVersion: as strategies want it
  // Its protobuf message, without envelope, made when first asked for. Only of kinds that have one.
  SharedBytes protobuf() const;

 private:
  friend std::shared_ptr<const CachedObject> at_revision(const CachedObject&, Revision);
  mutable SharedBytes protobuf_;
};
using ObjectPtr = std::shared_ptr<const CachedObject>;

// From the stored bytes. Internal when they are no JSON object.
Result<ObjectPtr> make_cached_object(const Strategy& strategy, const std::string& key,
                                     std::string_view stored, Revision revision);
// The same content as `object` but at another revision: what DELETED events carry.
ObjectPtr at_revision(const CachedObject& object, Revision revision);

// Which objects a request speaks of.
struct Selection {
  std::string ns;  // empty = all
  kube::LabelSelector labels;
  std::vector<kube::FieldTerm> fields;

  bool matches(const CachedObject& object) const;
  bool selects() const { return !labels.empty() || !fields.empty(); }  // by more than the namespace
};

enum class EventType { Added, Modified, Deleted };

struct WatchedEvent {
  EventType type = EventType::Added;
  ObjectPtr object;
};

class ObjectCache;

// One watch in progress. Alive = registered with its cache, which must outlive it.
class Watcher {
 public:
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // The next events, oldest first, until their JSON together reaches `bytes`. None when cut off; an
  // empty answer else means that the watcher has passed passed().
  std::vector<WatchedEvent> take(std::size_t bytes);
  bool has_events() const;
  bool cut_off() const;     // cannot be told everything: end the stream
  Revision passed() const;  // without events: every matching one up to here has been taken
  io::Event& wake() { return wake_; }  // notified on new events and when cut off

 private:
  friend class ObjectCache;
  struct Past;
  Watcher(ObjectCache& cache, Selection selection, Revision after, io::Executor executor);
  std::optional<WatchedEvent> seen(const Past& past) const;  // through the selection
  void skip_foreign();
  void cut();

  ObjectCache& cache_;
  Selection selection_;
  Revision after_;
  std::uint64_t next_;  // place in the ring: of the first event that matches and was not taken
  bool cut_off_ = false;
  io::Event wake_;
};

class ObjectCache {
 public:
  static constexpr std::size_t kMaxRingEvents = 20'000;
  static constexpr std::size_t kMaxRingBytes = 32 * 1024 * 1024;

  ObjectCache(const Strategy& strategy, io::Executor executor);
  ~ObjectCache();
  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  // Starts from the state at `base`, whose items are given; changes follow through apply(). At
  // start; again where the changes since are not to be had.
  void load(const ListPage& page);
  // The next changes, in revision order.
  void apply(const EventBatch& batch);

  const Strategy& strategy() const { return strategy_; }
  const io::Executor& executor() const { return executor_; }
  Revision revision() const { return revision_; }
  Revision last_change() const { return last_change_; }  // of this resource
  Revision oldest() const { return oldest_; }
  std::size_t size() const { return objects_.size(); }
  std::size_t watchers() const { return watchers_.size(); }
  std::uint64_t events_taken() const { return events_taken_; }  // by all watchers there ever were

  ObjectPtr find(std::string_view key) const;                     // null when absent
  using Objects = std::map<std::string, ObjectPtr, std::less<>>;  // by key
  const Objects& objects() const { return objects_; }

  // What is at a key and is no object.
  struct Unreadable {
    Revision revision = 0;
    std::string why;
  };
  using Unreadables = std::map<std::string, Unreadable, std::less<>>;  // by key
  const Unreadables& unreadable() const { return unreadable_; }
  const Unreadable* find_unreadable(std::string_view key) const;  // null when absent

  // Matching objects in key order from the first key >= `from`, at most `limit` (0 = all).
  struct Page {
    std::vector<ObjectPtr> items;
    std::string next;  // key to go on from; empty = nothing left
    std::size_t remaining =
        0;  // objects of the namespace from `next` on; only counted without selectors
  };
  Page list(const Selection& selection, std::string_view from, std::size_t limit) const;

  // Live events with revision > after; Expired when the ring does not reach back that far. `after`
  // may be in the future.
  ApiResult<std::unique_ptr<Watcher>> watch(Selection selection, Revision after);

  // Completes when revision() >= wanted (true) or the time has come (false).
  io::Task<bool> wait_for(Revision wanted, std::chrono::steady_clock::time_point until);

 private:
  friend class Watcher;
  void apply_one(const StoreEvent& event);
  void note_unreadable(const std::string& key, Revision revision, const Error& error);
  void forget_past();
  std::uint64_t ring_end() const { return ring_begin_ + ring_.size(); }
  void remember(std::shared_ptr<const Watcher::Past> past);

  const Strategy& strategy_;
  io::Executor executor_;
  Objects objects_;
  Unreadables unreadable_;
  std::deque<std::shared_ptr<const Watcher::Past>> ring_;
  std::uint64_t ring_begin_ = 0;  // place of its first event; places are never used again
  std::size_t ring_bytes_ = 0;
  std::uint64_t events_taken_ = 0;
  Revision revision_ = 0;
  Revision last_change_ = 0;
  Revision oldest_ = 0;
  std::list<Watcher*> watchers_;
  std::list<io::Event*> waiters_;  // of wait_for
};

}  // namespace fairlead::apiserver
