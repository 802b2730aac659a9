// A store of more than a gigabyte: what is asked of it costs what is asked for, not what is there.
// Counted, not timed; the times are told. Only when asked for: ./dev test store-scale
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "apiserver/store/sqlite_store.hpp"
#include "base/text.hpp"
#include "io/process.hpp"
#include "support/folder.hpp"
#include "support/process.hpp"
#include "unit/apiserver/run_task.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr int kObjects = 20'000;
constexpr int kRounds = 14;     // everything is written so often
constexpr int kTogether = 100;  // in one transaction
constexpr std::size_t kBallast = 4'000;
constexpr std::uintmax_t kGigabyte = 1'000'000'000;
constexpr std::uint64_t kMegabyte = 1'000'000;
constexpr char kPrefix[] = "/registry/configmaps/default/";

std::string name_of(int number) { return fmt::format("c{:05}", number); }

SharedBytes config_map(int number, int round) {
  return std::make_shared<const std::string>(fmt::format(
      R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}","namespace":"default",)"
      R"("uid":"00000000-0000-4000-8000-{:012}","creationTimestamp":"2026-01-01T00:00:00Z"}},)"
      R"("data":{{"round":"{}","ballast":"{}"}}}})",
      name_of(number), number, round, std::string(kBallast, static_cast<char>('a' + round))));
}

int round_of(const SharedBytes& value) {
  return static_cast<int>(
      *parse_int(boost::json::parse(*value).at_pointer("/data/round").as_string()));
}

// Bytes of memory in use, the most there ever were.
std::uint64_t most_memory(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;
    std::string number = line.substr(6, line.find(" kB") - 6);
    number.erase(0, number.find_first_not_of(" \t"));
    return static_cast<std::uint64_t>(*parse_int(number)) * 1024;
  }
  return 0;
}

class SqliteGigabyte : public testing::Test {
 protected:
  void open() {
    const auto start = Steady::now();
    auto opened = open_sqlite_store(loop_.get_executor(), {.path = file()});
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
    tell("open", start);
  }
  void close() {
    if (store_) run_task(loop_, store_->close());
    store_.reset();
  }
  void TearDown() override { close(); }
  std::string data() const { return folder_.path(); }
  std::string file() const { return data() + "/store.db"; }
  std::uintmax_t size() const { return std::filesystem::file_size(file()); }

  static void tell(const char* what, Steady::time_point start) {
    fmt::print(
        stderr, "{}: {} ms\n", what,
        std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - start).count());
  }

  // Every object once more.
  void write_round(int round) {
    for (int first = 0; first < kObjects; first += kTogether) {
      StoreTransaction transaction;
      for (int number = first; number < first + kTogether; ++number) {
        transaction.operations.push_back(
            {.key = kPrefix + name_of(number), .value = config_map(number, round)});
      }
      const auto done = run_task(loop_, store_->commit(std::move(transaction)));
      ASSERT_TRUE(done && done->succeeded);
    }
    ends_.push_back(store_->current_revision());
  }
  void fill() {
    const auto start = Steady::now();
    for (int round = 0; round < kRounds; ++round) write_round(round);
    tell("280,000 writes", start);
    ASSERT_GT(size(), kGigabyte);
  }

  // All pages of the state at `revision`: how many objects of which round, and no page larger than
  // asked for.
  std::map<int, int> rounds_at(Revision revision) {
    std::map<int, int> out;
    std::string from;
    for (bool more = true; more;) {
      auto page = run_task(
          loop_,
          store_->list({.prefix = kPrefix, .from = from, .limit = 500, .revision = revision}));
      if (!page) {
        ADD_FAILURE() << page.error().message;
        return out;
      }
      EXPECT_LE(page->items.size(), 500U);
      for (const KeyValue& item : page->items) ++out[round_of(item.value)];
      more = page->more;
      from = page->items.back().key + '\0';
    }
    return out;
  }

  const test::TemporaryFolder folder_;
  io::asio::io_context loop_;
  std::unique_ptr<Store> store_;
  std::vector<Revision> ends_;  // of each round
};

// The test's own memory is the store's: what it keeps is bounded, whatever the file holds.
TEST_F(SqliteGigabyte, IsReadInPagesWatchedAndCompacted) {
  open();
  fill();
  close();
  const std::uint64_t before = most_memory(getpid());
  EXPECT_LT(before, 200 * kMegabyte);

  open();
  EXPECT_EQ(store_->current_revision(), ends_.back());
  auto start = Steady::now();
  EXPECT_EQ(rounds_at(0), (std::map<int, int>{{kRounds - 1, kObjects}}));
  tell("40 pages of 500", start);
  start = Steady::now();
  EXPECT_EQ(rounds_at(ends_[6] - 5'000), (std::map<int, int>{{5, 5'000}, {6, 15'000}}));
  tell("40 pages of 500 of an old state", start);

  std::vector<Revision> told;
  const auto watch = run_task(
      loop_, store_->watch("/registry/", ends_.back() - 1'000, [&told](const EventBatch& batch) {
        for (const StoreEvent& event : batch.events) told.push_back(event.revision);
      }));
  ASSERT_TRUE(watch);
  EXPECT_EQ(told.size(), 1'000U);
  EXPECT_LT(most_memory(getpid()), 300 * kMegabyte);

  // Writers get their turn in the midst of a compaction.
  start = Steady::now();
  bool compacted = false;
  io::asio::co_spawn(
      loop_, store_->compact(ends_.back() - 1'000),
      [&compacted](const std::exception_ptr&, Result<void> done) { compacted = done.has_value(); });
  int meanwhile = 0;
  while (!compacted && Steady::now() < start + 300s) {
    const auto done = run_task(
        loop_, store_->commit({.compares = {},
                               .operations = {{.key = "/registry/x", .value = config_map(0, 0)}}}));
    ASSERT_TRUE(done && done->succeeded);
    ++meanwhile;
  }
  ASSERT_TRUE(compacted);
  tell("compaction of 279,000 revisions", start);
  EXPECT_GT(meanwhile, 100);
  EXPECT_EQ(told.size(), 1'000U + static_cast<std::size_t>(meanwhile));
  EXPECT_TRUE(std::ranges::is_sorted(told));
  EXPECT_EQ(rounds_at(0), (std::map<int, int>{{kRounds - 1, kObjects}}));
  const auto old = run_task(loop_, store_->list({.prefix = kPrefix, .revision = ends_[6]}));
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::Expired);

  // The room is used again: hundreds of megabytes more, and the file stays as it is.
  const std::uintmax_t full = size();
  for (int round = 0; round < 4; ++round) write_round(round);
  EXPECT_LT(size(), full + 10 * kMegabyte);
  EXPECT_LT(most_memory(getpid()), 300 * kMegabyte);
}

// What the server keeps in memory is the state, not its history.
TEST_F(SqliteGigabyte, AServerStartsOnIt) {
  open();
  fill();
  close();
  const std::string log = data() + "/server.log";
  io::Command command;
  command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-apiserver",
                  "--data-dir",
                  data(),
                  "--bind-address",
                  "127.0.0.1",
                  "--advertise-address",
                  "192.0.2.1",
                  "--secure-port",
                  "0",
                  "--http-port",
                  "0",
                  "--write-kubeconfig",
                  data() + "/kubeconfig"};
  const auto start = Steady::now();
  auto server = test::spawn_logging(std::move(command), log);
  ASSERT_TRUE(server);
  std::string url;
  while (url.empty() && Steady::now() < start + 60s) {
    std::ifstream lines(log);
    for (std::string line; std::getline(lines, line);) {
      const auto at = line.find("url=\"http://");
      if (at != line.npos) url = line.substr(at + 5, line.find('"', at + 5) - at - 5);
    }
    if (server->ends_before(Steady::now() + 20ms)) break;
  }
  ASSERT_FALSE(url.empty());
  tell("the server serves after", start);
  const auto ask = [&url](const std::string& path) {
    const auto output =
        io::run_blocking({.argv = {"curl", "-sS", "--max-time", "60", url + path}}, "", 70s);
    return output && output->status.ok() ? boost::json::parse(output->out) : boost::json::value();
  };
  const auto page = ask("/api/v1/namespaces/default/configmaps?limit=500");
  EXPECT_EQ(page.at("items").as_array().size(), 500U);
  EXPECT_EQ(page.at_pointer("/metadata/remainingItemCount").as_int64(), kObjects - 500);
  EXPECT_EQ(page.at_pointer("/items/0/data/round").as_string(), std::to_string(kRounds - 1));
  const std::uint64_t memory = most_memory(server->pid());
  fmt::print(stderr, "memory of the server: {} MB for {} MB of objects\n", memory / kMegabyte,
             kObjects * kBallast / kMegabyte);
  EXPECT_LT(memory, 6 * kObjects * kBallast);
  ASSERT_TRUE(server->signal(SIGTERM));
  const auto ended = server->wait_blocking();
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->ok());
}

}  // namespace
}  // namespace fairlead::apiserver
