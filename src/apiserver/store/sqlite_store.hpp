// SqliteStore: the embedded Store, one SQLite file in WAL mode with synchronous=FULL.
//
// SQLite calls block (a commit waits for the disk), so all of them run on one worker thread that
// owns the only connection; the loop hands over jobs and gets results by post. One thread rather
// than a pool because SQLite has one writer anyway, and because its order of jobs is then the order
// of revisions. Reads share it: the API server reads from its caches and comes here only at start
// and for old snapshots. Commits that are waiting when the worker comes round share one fsync
// (group commit), so throughput grows with load instead of queueing.
#pragma once

#include <memory>
#include <string>

#include "apiserver/store/store.hpp"

namespace fairlead::apiserver {

struct SqliteStoreConfig {
  std::string path;                   // ":memory:" for tests: nothing survives
  std::size_t queued_commits = 4096;  // above it commit() fails with Exhausted at once
};

// The file is opened (made, if need be) before this returns. Unavailable: another process has it.
Result<std::unique_ptr<Store>> open_sqlite_store(io::Executor executor, SqliteStoreConfig config);

}  // namespace fairlead::apiserver
