#include "apiserver/store/sqlite_log.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace fairlead::apiserver {
namespace {

// Revision 1 is the empty store: 0 would mean "any" to clients. A tool that copies the file holds
// nobody up for longer than the timeout.
constexpr char kSchema[] = R"(
  PRAGMA busy_timeout = 5000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS log (
    rev INTEGER PRIMARY KEY, key TEXT NOT NULL, prev_rev INTEGER NOT NULL, create_rev INTEGER NOT NULL, value BLOB);
  CREATE INDEX IF NOT EXISTS log_key ON log (key, rev);
  CREATE TABLE IF NOT EXISTS live (key TEXT PRIMARY KEY, rev INTEGER NOT NULL, create_rev INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('compacted', 1);
)";
constexpr std::int64_t kSchemaVersion = 1;

std::int64_t to_sql(Revision revision) { return static_cast<std::int64_t>(revision); }
Revision from_sql(std::int64_t value) { return static_cast<Revision>(value); }
SharedBytes share(std::string_view bytes) { return std::make_shared<const std::string>(bytes); }

Result<std::int64_t> one_integer(Database& database, std::string_view sql) {
  FAIRLEAD_TRY(statement, database.prepare(sql));
  FAIRLEAD_TRY(row, statement.step());
  if (!row) return make_error(ErrorCode::Internal, "store: \"{}\" has no row", sql);
  return statement.integer(0);
}

// One server a file. Not SQLite's exclusive mode, which would keep readers away, too: backups are
// made while we serve. The file is 0600 from its first moment, for objects may be secret.
Result<io::UniqueFd> take_for_ourselves(const std::string& path) {
  if (path == ":memory:") return io::UniqueFd();
  io::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return errno_error(errno, "open store " + path);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno != EWOULDBLOCK) return errno_error(errno, "lock store " + path);
  return make_error(ErrorCode::Unavailable, "open store {}: another process uses it", path);
}

}  // namespace

Result<SqliteLog> SqliteLog::open(const std::string& path) {
  FAIRLEAD_TRY(file, take_for_ourselves(path));
  FAIRLEAD_TRY(database, Database::open(path));
  if (auto made = database.execute(kSchema); !made)
    return made.error().with_context("open store " + path);
  FAIRLEAD_TRY(version, one_integer(database, "SELECT value FROM meta WHERE name = 'schema'"));
  if (version != kSchemaVersion) {
    return make_error(ErrorCode::Unsupported,
                      "open store {}: its schema is version {}, this program knows {}", path,
                      version, kSchemaVersion);
  }
  FAIRLEAD_TRY(compacted, one_integer(database, "SELECT value FROM meta WHERE name = 'compacted'"));
  FAIRLEAD_TRY(newest, one_integer(database, "SELECT coalesce(max(rev), 0) FROM log"));
  FAIRLEAD_TRY(statements, prepare(database));
  // The newest row may itself be compacted away (a deletion), but never beyond the compacted
  // revision.
  return SqliteLog(std::move(file), std::move(database), std::move(statements),
                   from_sql(std::max(newest, compacted)), from_sql(compacted));
}

Result<SqliteLog::Statements> SqliteLog::prepare(Database& database) {
  FAIRLEAD_TRY(begin, database.prepare("BEGIN IMMEDIATE"));
  FAIRLEAD_TRY(commit, database.prepare("COMMIT"));
  FAIRLEAD_TRY(rollback, database.prepare("ROLLBACK"));
  FAIRLEAD_TRY(live_get, database.prepare("SELECT rev, create_rev FROM live WHERE key = ?1"));
  FAIRLEAD_TRY(live_put, database.prepare("INSERT OR REPLACE INTO live VALUES (?1, ?2, ?3)"));
  FAIRLEAD_TRY(live_delete, database.prepare("DELETE FROM live WHERE key = ?1"));
  FAIRLEAD_TRY(live_list,
               database.prepare("SELECT l.key, g.value, l.create_rev, l.rev FROM live l "
                                "JOIN log g ON g.rev = l.rev "
                                "WHERE l.key >= ?1 AND l.key < ?2 ORDER BY l.key LIMIT ?3"));
  FAIRLEAD_TRY(log_get, database.prepare("SELECT key, value, create_rev, rev FROM log "
                                         "WHERE key = ?1 AND rev <= ?2 ORDER BY rev DESC LIMIT 1"));
  FAIRLEAD_TRY(log_insert, database.prepare("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5)"));
  FAIRLEAD_TRY(log_delete, database.prepare("DELETE FROM log WHERE rev = ?1"));
  FAIRLEAD_TRY(log_list, database.prepare(
                             "SELECT l.key, l.value, l.create_rev, l.rev FROM log l "
                             "WHERE l.key >= ?1 AND l.key < ?2 AND l.value IS NOT NULL AND l.rev = "
                             "(SELECT max(m.rev) FROM log m WHERE m.key = l.key AND m.rev <= ?4) "
                             "ORDER BY l.key LIMIT ?3"));
  FAIRLEAD_TRY(log_changes,
               database.prepare("SELECT key, value, create_rev, rev FROM log "
                                "WHERE rev > ?1 AND key >= ?2 AND key < ?3 ORDER BY rev"));
  FAIRLEAD_TRY(log_span, database.prepare("SELECT rev, prev_rev, value IS NULL FROM log "
                                          "WHERE rev > ?1 AND rev <= ?2 ORDER BY rev"));
  FAIRLEAD_TRY(meta_put, database.prepare("UPDATE meta SET value = ?2 WHERE name = ?1"));
  return Statements{.begin = std::move(begin),
                    .commit = std::move(commit),
                    .rollback = std::move(rollback),
                    .live_get = std::move(live_get),
                    .live_put = std::move(live_put),
                    .live_delete = std::move(live_delete),
                    .live_list = std::move(live_list),
                    .log_get = std::move(log_get),
                    .log_insert = std::move(log_insert),
                    .log_delete = std::move(log_delete),
                    .log_list = std::move(log_list),
                    .log_changes = std::move(log_changes),
                    .log_span = std::move(log_span),
                    .meta_put = std::move(meta_put)};
}

Result<void> SqliteLog::check_readable(Revision revision) const {
  if (revision != 0 && revision < compacted_) {
    return make_error(ErrorCode::Expired, "revision {} has been compacted, the oldest is {}",
                      revision, compacted_);
  }
  if (revision > revision_) {
    return make_error(ErrorCode::Invalid, "revision {} is in the future, the newest is {}",
                      revision, revision_);
  }
  return {};
}

namespace {
KeyValue row_of(const Statement& statement) {
  return {.key = std::string(statement.text(0)),
          .value = share(statement.blob(1)),
          .create_revision = from_sql(statement.integer(2)),
          .mod_revision = from_sql(statement.integer(3))};
}
}  // namespace

Result<std::optional<KeyValue>> SqliteLog::get(std::string_view key, Revision revision) {
  FAIRLEAD_CHECK(check_readable(revision));
  Revision at = revision;
  if (at == 0) at = revision_;
  Statement& statement = statements_->log_get;
  FAIRLEAD_TRY(row, statement.bind(1, key).bind(2, to_sql(at)).step());
  if (!row) return std::optional<KeyValue>();
  std::optional<KeyValue> found;
  if (!statement.is_null(1)) found = row_of(statement);
  statement.reset();
  return found;
}

Result<ListPage> SqliteLog::list(const ListRequest& request) {
  FAIRLEAD_CHECK(check_readable(request.revision));
  const bool latest = request.revision == 0 || request.revision == revision_;
  const std::string end = prefix_end(request.prefix);
  Statement& statement = latest ? statements_->live_list : statements_->log_list;
  statement.bind(
      1, request.from.empty() ? std::string_view(request.prefix) : std::string_view(request.from));
  statement.bind(2, end);
  statement.bind(
      3, request.limit == 0 ? std::int64_t{-1} : static_cast<std::int64_t>(request.limit) + 1);
  if (!latest) statement.bind(4, to_sql(request.revision));

  ListPage page;
  page.revision = latest ? revision_ : request.revision;
  while (true) {
    FAIRLEAD_TRY(row, statement.step());
    if (!row) return page;
    if (request.limit != 0 && page.items.size() == request.limit) {
      page.more = true;
      statement.reset();
      return page;
    }
    page.items.push_back(row_of(statement));
  }
}

Result<std::vector<StoreEvent>> SqliteLog::changes(std::string_view prefix, Revision after) {
  if (after < compacted_) {
    return make_error(ErrorCode::Expired, "revision {} has been compacted, the oldest is {}", after,
                      compacted_);
  }
  const std::string end = prefix_end(prefix);
  Statement& statement = statements_->log_changes;
  statement.bind(1, to_sql(after)).bind(2, prefix).bind(3, end);
  std::vector<StoreEvent> out;
  while (true) {
    FAIRLEAD_TRY(row, statement.step());
    if (!row) return out;
    out.push_back({.key = std::string(statement.text(0)),
                   .value = statement.is_null(1) ? nullptr : share(statement.blob(1)),
                   .revision = from_sql(statement.integer(3)),
                   .create_revision = from_sql(statement.integer(2))});
  }
}

Result<SqliteLog::Live> SqliteLog::live(std::string_view key) {
  Statement& statement = statements_->live_get;
  FAIRLEAD_TRY(row, statement.bind(1, key).step());
  if (!row) return Live{};
  const Live out{.revision = from_sql(statement.integer(0)),
                 .create_revision = from_sql(statement.integer(1))};
  statement.reset();
  return out;
}

Result<Revision> SqliteLog::apply_operation(const Operation& operation,
                                            std::vector<StoreEvent>& events) {
  FAIRLEAD_TRY(before, live(operation.key));
  const bool is_delete = operation.value == nullptr;
  if (is_delete && before.revision == 0) return Revision{0};

  const Revision revision = revision_ + 1;
  const Revision created = before.revision == 0 ? revision : before.create_revision;
  Statement& insert = statements_->log_insert;
  insert.bind(1, to_sql(revision)).bind(2, operation.key).bind(3, to_sql(before.revision));
  insert.bind(4, to_sql(is_delete ? 0 : created));
  if (is_delete) {
    insert.bind_null(5);
  } else {
    insert.bind_blob(5, *operation.value);
  }
  FAIRLEAD_CHECK(insert.run());
  if (is_delete) {
    FAIRLEAD_CHECK(statements_->live_delete.bind(1, operation.key).run());
  } else {
    FAIRLEAD_CHECK(statements_->live_put.bind(1, operation.key)
                       .bind(2, to_sql(revision))
                       .bind(3, to_sql(created))
                       .run());
  }
  revision_ = revision;
  events.push_back({.key = operation.key,
                    .value = operation.value,
                    .revision = revision,
                    .create_revision = is_delete ? 0 : created});
  return revision;
}

Result<CommitResult> SqliteLog::apply(const StoreTransaction& transaction,
                                      std::vector<StoreEvent>& events) {
  CommitResult result;
  for (const Compare& compare : transaction.compares) {
    FAIRLEAD_TRY(now, live(compare.key));
    if (now.revision != compare.mod_revision) {
      result.conflicting_key = compare.key;
      return result;
    }
  }
  for (const Operation& operation : transaction.operations) {
    FAIRLEAD_TRY(revision, apply_operation(operation, events));
    result.revisions.push_back(revision);
  }
  result.succeeded = true;
  return result;
}

Result<SqliteLog::Group> SqliteLog::apply_group(std::span<const StoreTransaction> transactions) {
  FAIRLEAD_CHECK(statements_->begin.run());
  Group group;
  for (const StoreTransaction& transaction : transactions) {
    FAIRLEAD_TRY(result, apply(transaction, group.events));
    group.results.push_back(std::move(result));
  }
  FAIRLEAD_CHECK(statements_->commit.run());
  return group;
}

Result<SqliteLog::Group> SqliteLog::commit(std::span<const StoreTransaction> transactions) {
  const Revision before = revision_;
  Result<Group> group = apply_group(transactions);
  if (!group) {
    revision_ = before;
    // Fails when SQLite rolled back by itself or BEGIN failed; either way no transaction stays
    // open.
    static_cast<void>(statements_->rollback.run());
    return group.error().with_context("commit");
  }
  return group;
}

Result<void> SqliteLog::forget(Revision from, Revision to) {
  std::vector<Revision> superseded;
  Statement& span = statements_->log_span;
  span.bind(1, to_sql(from)).bind(2, to_sql(to));
  while (true) {
    FAIRLEAD_TRY(row, span.step());
    if (!row) break;
    if (span.integer(1) != 0) superseded.push_back(from_sql(span.integer(1)));
    if (span.integer(2) != 0) superseded.push_back(from_sql(span.integer(0)));
  }
  FAIRLEAD_CHECK(statements_->begin.run());
  for (const Revision revision : superseded) {
    FAIRLEAD_CHECK(statements_->log_delete.bind(1, to_sql(revision)).run());
  }
  FAIRLEAD_CHECK(
      statements_->meta_put.bind(1, std::string_view("compacted")).bind(2, to_sql(to)).run());
  return statements_->commit.run();
}

Result<Revision> SqliteLog::compact(Revision revision, std::uint64_t most) {
  if (revision > revision_) {
    return make_error(ErrorCode::Invalid, "compact: revision {} is in the future, the newest is {}",
                      revision, revision_);
  }
  if (revision <= compacted_) return compacted_;
  const Revision to = std::min(revision, compacted_ + most);
  if (auto done = forget(compacted_, to); !done) {
    static_cast<void>(statements_->rollback.run());  // as in commit()
    return done.error().with_context("compact");
  }
  compacted_ = to;
  return compacted_;
}

}  // namespace fairlead::apiserver
