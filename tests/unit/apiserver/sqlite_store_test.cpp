#include "apiserver/store/sqlite_store.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "apiserver/store/sqlite_log.hpp"
#include "io/fd.hpp"
#include "unit/apiserver/store_suite.hpp"

namespace fairlead::apiserver {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = testing::TempDir() + "fairlead-store-XXXXXX";
    check(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file() const { return path_ + "/store.db"; }

 private:
  std::string path_;
};

Result<StoreMaker::Made> make_in_memory(io::asio::io_context& loop) {
  FAIRLEAD_TRY(store, open_sqlite_store(loop.get_executor(), {.path = ":memory:"}));
  return StoreMaker::Made{.behind = nullptr, .store = std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreSuite,
                         testing::Values(StoreMaker{.name = "memory", .make = make_in_memory}),
                         [](const auto& param) { return param.param.name; });

SharedBytes bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

TEST(SqliteLog, ReopenedStoreKeepsValuesRevisionsAndCompaction) {
  const TemporaryFolder folder;
  {
    auto log = SqliteLog::open(folder.file());
    ASSERT_TRUE(log) << log.error().message;
    const std::vector<StoreTransaction> group{create_key("/r/a", bytes("1")),
                                              create_key("/r/b", bytes("1"))};
    ASSERT_TRUE(log->commit(group));
    const std::vector<StoreTransaction> gone{delete_key("/r/b", 3)};
    ASSERT_TRUE(log->commit(gone));
    ASSERT_TRUE(log->compact(4, 1000));
  }
  auto log = SqliteLog::open(folder.file());
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->revision(), 4U);  // though the row of revision 4, a deletion, is compacted away
  EXPECT_EQ(log->compacted(), 4U);
  const auto page = log->list({.prefix = "/r/"});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->items.size(), 1U);
  EXPECT_EQ(page->items[0].key, "/r/a");
}

TEST(SqliteLog, GroupedTransactionsSeeEachOtherAndAFailedCompareStandsAlone) {
  auto log = SqliteLog::open(":memory:");
  ASSERT_TRUE(log);
  const std::vector<StoreTransaction> group{create_key("/r/a", bytes("1")),
                                            create_key("/r/a", bytes("2")),
                                            update_key("/r/a", 2, bytes("3"))};
  const auto done = log->commit(group);
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->results[0].succeeded);
  EXPECT_FALSE(done->results[1].succeeded);
  EXPECT_TRUE(done->results[2].succeeded);
  EXPECT_EQ(done->events.size(), 2U);
  EXPECT_EQ(log->revision(), 3U);
}

TEST(SqliteLog, CompactionInStepsEqualsCompactionAtOnce) {
  auto log = SqliteLog::open(":memory:");
  ASSERT_TRUE(log);
  Revision last = 0;
  for (int i = 0; i < 50; ++i) {
    const std::vector<StoreTransaction> group{update_key("/r/a", last, bytes(std::to_string(i)))};
    const auto done = log->commit(group);
    ASSERT_TRUE(done && done->results[0].succeeded);
    last = done->results[0].revisions[0];
  }
  for (Revision reached = 0; reached < 40;) {
    auto step = log->compact(40, 7);
    ASSERT_TRUE(step);
    reached = *step;
  }
  const auto old = log->get("/r/a", 40);
  ASSERT_TRUE(old && *old);
  EXPECT_EQ(*(*old)->value, "38");
  const auto changes = log->changes("/r/", 40);
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->size(), 11U);
}

TEST(SqliteLog, ASecondProcessIsToldThatTheStoreIsInUse) {
  const TemporaryFolder folder;
  const auto first = SqliteLog::open(folder.file());
  ASSERT_TRUE(first);
  const auto second = SqliteLog::open(folder.file());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::Unavailable);
  EXPECT_NE(second.error().message.find("another process uses it"), std::string::npos)
      << second.error().message;
}

TEST(SqliteLog, FilesAreForTheirOwnerOnly) {
  const TemporaryFolder folder;
  ASSERT_TRUE(SqliteLog::open(folder.file()));
  struct stat status{};
  ASSERT_EQ(stat(folder.file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(SqliteLog, AFileThatIsNoStoreIsRefusedByName) {
  const TemporaryFolder folder;
  FILE* file = fopen(folder.file().c_str(), "w");
  ASSERT_NE(file, nullptr);
  fputs(std::string(4096, 'x').c_str(), file);
  fclose(file);
  const auto opened = SqliteLog::open(folder.file());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find(folder.file()), std::string::npos)
      << opened.error().message;
}

// The child writes as fast as it can and acknowledges each answered commit with one byte; the
// parent kills it.
[[noreturn]] void write_and_acknowledge(const std::string& path, int acknowledge_fd) {
  auto log = SqliteLog::open(path);
  if (!log) _exit(3);
  for (int i = 0;; ++i) {
    const std::vector<StoreTransaction> group{
        create_key(fmt::format("/r/{:06}", i), bytes("value"))};
    const auto done = log->commit(group);
    if (!done || !done->results[0].succeeded) _exit(4);
    if (write(acknowledge_fd, "x", 1) != 1) _exit(5);
  }
}

TEST(SqliteLog, AcknowledgedWritesSurviveSigkill) {
  const TemporaryFolder folder;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  io::UniqueFd read_end(ends[0]);
  io::UniqueFd write_end(ends[1]);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) write_and_acknowledge(folder.file(), write_end.get());
  write_end.reset();

  std::size_t acknowledged = 0;
  char buffer[256];
  while (acknowledged < 300) {
    const ssize_t got = read(read_end.get(), buffer, sizeof buffer);
    ASSERT_GT(got, 0) << "the writer died by itself";
    acknowledged += static_cast<std::size_t>(got);
  }
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  for (ssize_t got; (got = read(read_end.get(), buffer, sizeof buffer)) > 0;) {
    acknowledged += static_cast<std::size_t>(got);  // acknowledged before the signal came
  }

  auto log = SqliteLog::open(folder.file());
  ASSERT_TRUE(log) << log.error().message;
  const auto page = log->list({.prefix = "/r/"});
  ASSERT_TRUE(page);
  ASSERT_GE(page->items.size(), acknowledged);
  EXPECT_LE(page->items.size(),
            acknowledged + 1);  // one may have been committed but not yet acknowledged
  for (std::size_t i = 0; i < page->items.size(); ++i) {
    EXPECT_EQ(page->items[i].key, fmt::format("/r/{:06}", i));
    EXPECT_EQ(page->items[i].mod_revision, i + 2);
  }
  const std::vector<StoreTransaction> group{create_key("/r/after", bytes("x"))};
  const auto next = log->commit(group);
  ASSERT_TRUE(next && next->results[0].succeeded);
  EXPECT_EQ(next->results[0].revisions[0], page->items.size() + 2);
}

}  // namespace
}  // namespace fairlead::apiserver
