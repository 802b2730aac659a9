// Store: the seam between the API server and whatever keeps its objects. Keys are texts below
// "/registry/", values are bytes, and one counter numbers every change of the whole store
// (spec 6.1). SqliteStore is the embedded one; the operations are those of etcd v3, so that an etcd
// behind the same seam behaves the same under tests/unit/apiserver/store_suite.hpp.
//
// Owned by the ApiServer. Every member is called on the loop's thread and never blocks it; handlers
// run there too.
//
// Invariants:
//  - A commit that was answered with success is durable: it survives SIGKILL and power loss.
//  - Revisions only grow, are never reused, also across restarts. The operations of one transaction
//  become visible
//    together; their revisions ascend in the order given.
//  - A watch delivers every change above its start exactly once, in revision order.
//  - Handlers of a commit have run before the task that awaits the commit resumes: who wrote reads
//  its own write in any
//    cache that is fed by a watch.
// Not here: what keys and values mean, caching, retries.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/task.hpp"

namespace fairlead::apiserver {

using Revision = std::uint64_t;  // 0 = none: "does not exist", "the latest"
using SharedBytes = std::shared_ptr<const std::string>;

inline constexpr std::size_t kMaxValueBytes =
    1536 * 1024;  // etcd's request limit; larger is ErrorCode::TooLarge

struct KeyValue {
  std::string key;
  SharedBytes value;
  Revision create_revision = 0;
  Revision mod_revision = 0;
};

struct ListRequest {
  std::string prefix;     // ends with '/'
  std::string from = {};  // first key wanted; empty = the first of the prefix
  std::size_t limit = 0;  // 0 = all
  Revision revision =
      0;  // 0 = the latest; below the compacted one: Expired; in the future: Invalid
};
struct ListPage {
  std::vector<KeyValue> items;  // by key
  bool more = false;            // there are further keys after the last item
  Revision revision = 0;        // the state that was read
};

// Guard: the key's mod_revision must still be this one (0: the key must not exist).
struct Compare {
  std::string key;
  Revision mod_revision = 0;
};
struct Operation {
  std::string key;
  SharedBytes value;  // null = delete; deleting an absent key does nothing and gets no revision
};
struct StoreTransaction {
  std::vector<Compare> compares;
  std::vector<Operation> operations;
};
struct CommitResult {
  bool succeeded = false;           // false: a compare failed, nothing was written
  std::string conflicting_key;      // the first compare that failed
  std::vector<Revision> revisions;  // one an operation, 0 for a delete that found nothing
};

struct StoreEvent {
  std::string key;
  SharedBytes value;  // null = deleted
  Revision revision = 0;
  Revision create_revision = 0;  // equals revision for the first put of a key; 0 for a delete
};
struct EventBatch {
  std::span<const StoreEvent> events;  // of the watched prefix; may be empty
  Revision revision = 0;               // everything up to here has been delivered
  // The store had forgotten some of what came before: the events are the net change, and who
  // resumes from a revision within would miss the rest.
  bool gap = false;
};

// Alive = subscribed. May be destroyed at any time, also inside the handler; must not outlive the
// store.
class StoreWatch {
 public:
  virtual ~StoreWatch() = default;
};

class Store {
 public:
  using EventHandler = std::function<void(const EventBatch&)>;

  virtual ~Store() = default;

  // The newest revision whose events have been delivered to all watches.
  virtual Revision current_revision() const = 0;
  // Reads and watches from below this may fail with Expired.
  virtual Revision compacted_revision() const = 0;
  // Waits until all watches have been told of everything committed before the call, whoever
  // committed it; answers current_revision(). What is read from a cache then is not stale.
  virtual io::Task<Result<Revision>> synchronize() = 0;

  virtual io::Task<Result<std::optional<KeyValue>>> get(std::string key, Revision revision = 0) = 0;
  virtual io::Task<Result<ListPage>> list(ListRequest request) = 0;
  virtual io::Task<Result<CommitResult>> commit(StoreTransaction transaction) = 0;

  // Changes with revision > after below the prefix, first from history, then live. Expired when
  // `after` is compacted. The handler has been called for everything up to current_revision() when
  // the task completes.
  virtual io::Task<Result<std::unique_ptr<StoreWatch>>> watch(std::string prefix, Revision after,
                                                              EventHandler handler) = 0;

  // Forgets states older than `revision`, which itself stays readable. A revision already compacted
  // is fine.
  virtual io::Task<Result<void>> compact(Revision revision) = 0;

  // Completes outstanding work and refuses new. To be awaited before destruction.
  virtual io::Task<void> close() = 0;
};

// The single-key writes as transactions.
StoreTransaction create_key(std::string key, SharedBytes value);
StoreTransaction update_key(std::string key, Revision expected, SharedBytes value);
StoreTransaction delete_key(std::string key, Revision expected);

// The smallest key above every key with this prefix: "/a/" -> "/a0".
std::string prefix_end(std::string_view prefix);

}  // namespace fairlead::apiserver
