// The store's tables and what is done to them, blocking and without threads: SqliteStore runs it on
// its worker.
//
//   log(rev PRIMARY KEY, key, prev_rev, create_rev, value)   every change; value NULL = a deletion
//   live(key PRIMARY KEY, rev, create_rev)                   the newest row of every key that
//   exists meta(name PRIMARY KEY, value)                            schema version, compacted
//   revision
//
// All of it is what it says, for backups and people: keys are texts, values the objects' JSON.
// A value is stored once, in the row of the change that made it; `live` points there. Compaction to
// R walks the rows up to R and removes what they superseded, so its cost is that of the changes it
// forgets, never that of the store.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apiserver/store/sqlite_db.hpp"
#include "apiserver/store/store.hpp"
#include "io/fd.hpp"

namespace fairlead::apiserver {

class SqliteLog {
 public:
  // For one server a file: a second one gets Unavailable. Others may read it meanwhile, and make
  // their copies.
  static Result<SqliteLog> open(const std::string& path);

  Revision revision() const { return revision_; }
  Revision compacted() const { return compacted_; }

  Result<std::optional<KeyValue>> get(std::string_view key, Revision revision);
  Result<ListPage> list(const ListRequest& request);
  // Changes with revision > after, in order.
  Result<std::vector<StoreEvent>> changes(std::string_view prefix, Revision after);

  // All transactions in one SQL transaction and one fsync; each sees the ones before it, and one
  // whose compares fail writes nothing. An Error means that nothing of the group was written.
  struct Group {
    std::vector<CommitResult> results;
    std::vector<StoreEvent> events;
  };
  Result<Group> commit(std::span<const StoreTransaction> transactions);

  // At most `most` revisions further, so that writers are not kept waiting. Returns the revision
  // now compacted.
  Result<Revision> compact(Revision revision, std::uint64_t most);

 private:
  struct Statements {
    Statement begin, commit, rollback;
    Statement live_get, live_put, live_delete, live_list;
    Statement log_get, log_insert, log_delete, log_list, log_changes, log_span;
    Statement meta_put;
  };
  SqliteLog(io::UniqueFd file, Database database, Statements statements, Revision revision,
            Revision compacted)
      : file_(std::move(file)),
        database_(std::move(database)),
        statements_(std::make_unique<Statements>(std::move(statements))),
        revision_(revision),
        compacted_(compacted) {}

  static Result<Statements> prepare(Database& database);
  struct Live {
    Revision revision = 0, create_revision = 0;
  };
  Result<Live> live(std::string_view key);  // zeros when the key does not exist
  Result<CommitResult> apply(const StoreTransaction& transaction, std::vector<StoreEvent>& events);
  Result<Revision> apply_operation(const Operation& operation, std::vector<StoreEvent>& events);
  Result<Group> apply_group(std::span<const StoreTransaction> transactions);
  Result<void> forget(Revision from, Revision to);
  Result<void> check_readable(Revision revision) const;

  io::UniqueFd file_;  // holds the lock; closed last, for that ends SQLite's own locks as well
  Database database_;
  std::unique_ptr<Statements> statements_;
  Revision revision_;
  Revision compacted_;
};

}  // namespace fairlead::apiserver
