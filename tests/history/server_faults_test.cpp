// The API server killed under load, on SQLite and on three etcd members that are killed in turn:
// what clients were promised holds. A few rounds by default; FAIRLEAD_API_SOAK_SECONDS makes each
// of them as long as that (./dev soak api).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/text.hpp"
#include "etcd/etcd_cluster.hpp"
#include "history/load.hpp"
#include "io/process.hpp"
#include "support/folder.hpp"

namespace fairlead::history {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
using testing::IsEmpty;

constexpr auto kPatience = 20s;

// Rounds of faults: `fewest`, or as many as there is time for.
class Rounds {
 public:
  explicit Rounds(int fewest) : fewest_(fewest) {
    const char* text = std::getenv("FAIRLEAD_API_SOAK_SECONDS");
    if (text != nullptr) until_ = Steady::now() + std::chrono::seconds(parse_int(text).value_or(0));
  }
  bool next() { return done_++ < fewest_ || Steady::now() < until_; }
  int done() const { return done_ - 1; }

 private:
  int fewest_;
  int done_ = 0;
  Steady::time_point until_{};
};

class ApiProcess {
 public:
  ApiProcess(std::string folder, std::vector<std::string> flags)
      : folder_(std::move(folder)), flags_(std::move(flags)), port_(etcd_test::free_port()) {}

  bool start() {
    io::Command command;
    command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-apiserver",
                    "--data-dir",
                    folder_,
                    "--bind-address",
                    "127.0.0.1",
                    "--secure-port",
                    "0",
                    "--http-port",
                    std::to_string(port_)};
    command.argv.insert(command.argv.end(), flags_.begin(), flags_.end());
    const io::UniqueFd log_file(
        ::open((folder_ + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    command.stdout_fd = log_file.get();
    command.stderr_fd = log_file.get();
    auto child = io::Child::spawn(command);
    if (!child) return false;
    child_ = *std::move(child);
    return true;
  }
  void kill() {
    EXPECT_TRUE(child_->signal(SIGKILL));
    EXPECT_TRUE(child_->wait_blocking());
    child_.reset();
  }
  std::uint16_t port() const { return port_; }

 private:
  std::string folder_;
  std::vector<std::string> flags_;
  std::uint16_t port_;
  std::optional<io::Child> child_;
};

class ServerFaults : public testing::Test {
 protected:
  // Few addresses and ports, so that what is given back is soon given out again.
  ApiProcess& add_server(std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--service-cluster-ip-range", "10.0.0.0/26,fd00:10::/122",
                               "--service-node-port-range", "30000-30063"});
    servers_.push_back(std::make_unique<ApiProcess>(
        fmt::format("{}/server{}", folder_.path(), servers_.size()), std::move(flags)));
    EXPECT_TRUE(servers_.back()->start());
    return *servers_.back();
  }

  // What there is to know when a test has failed.
  void TearDown() override {
    if (!HasFailure()) return;
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      std::ifstream file(fmt::format("{}/server{}.log", folder_.path(), i));
      fmt::print(stderr, "---- server {}\n{}\n", i,
                 std::string(std::istreambuf_iterator<char>(file), {}));
    }
  }

  // Drives the loop until the task has ended.
  void run(io::Task<void> task) {
    bool done = false;
    boost::asio::co_spawn(context_, std::move(task), [&done](const std::exception_ptr& thrown) {
      EXPECT_FALSE(thrown);
      done = true;
    });
    while (!done && context_.run_one() > 0) {
    }
  }

  io::Task<bool> all_ready() {
    for (const auto& server : servers_) {
      if (!co_await answers(context_.get_executor(), server->port(), "/readyz", kPatience))
        co_return false;
    }
    co_return true;
  }

  LoadConfig load_config() const {
    LoadConfig out{.dual_stack = true};
    for (const auto& server : servers_) out.servers.push_back(server->port());
    return out;
  }

  io::Task<void> judge(Load* load) {
    auto history = co_await load->finish();
    EXPECT_TRUE(history) << (history ? "" : history.error().message);
    if (!history) co_return;
    const Counts& counts = load->counts();
    fmt::print(
        stderr, "{} writes acknowledged, {} refused, {} unknown; {} watches resumed, {} relisted\n",
        counts.acknowledged, counts.refused, counts.unknown, counts.resumed, counts.relisted);
    EXPECT_GT(counts.resumed, history->watches.size()) << "no watch was ever taken up again";
    EXPECT_EQ(counts.relisted, 0U) << "the past was forgotten";
    EXPECT_THAT(violations(*history), IsEmpty());
  }

  test::TemporaryFolder folder_;
  boost::asio::io_context context_{1};
  std::vector<std::unique_ptr<ApiProcess>> servers_;
};

class SqliteFaults : public ServerFaults {
 protected:
  io::Task<void> kill_again_and_again() {
    EXPECT_TRUE(co_await all_ready());
    Load load(context_.get_executor(), load_config());
    load.start();
    for (Rounds rounds(4); rounds.next();) {
      EXPECT_TRUE(co_await load.more_acknowledged(100, kPatience));
      servers_.front()->kill();
      EXPECT_TRUE(servers_.front()->start());
    }
    EXPECT_TRUE(co_await load.more_acknowledged(100, kPatience));
    co_await judge(&load);
  }
};

TEST_F(SqliteFaults, AServerKilledUnderLoadKeepsItsWord) {
  add_server({});
  run(kill_again_and_again());
}

class EtcdFaults : public ServerFaults {
 protected:
  void SetUp() override {
    if (etcd_test::etcd_program().empty())
      GTEST_SKIP() << "SKIPPED: no etcd; run ./dev setup, or set FAIRLEAD_ETCD";
    ASSERT_TRUE(etcd_.start()) << etcd_.log();
    for (const char* address : {"192.0.2.1", "192.0.2.2"}) {
      add_server({"--etcd-servers", fmt::format("{}", fmt::join(etcd_.endpoints(), ",")),
                  "--advertise-address", address});
    }
  }
  io::Task<void> kill_in_turn() {
    EXPECT_TRUE(co_await all_ready());
    Load load(context_.get_executor(), load_config());
    load.start();
    for (Rounds rounds(3); rounds.next();) {
      const auto round = static_cast<std::size_t>(rounds.done());
      const std::size_t member = round % 3;
      EXPECT_TRUE(co_await load.more_acknowledged(40, kPatience));
      etcd_.end(member, SIGKILL);
      EXPECT_TRUE(co_await load.more_acknowledged(40, kPatience))
          << "two members are enough: " << load.counts().last_unknown;
      servers_[round % 2]->kill();
      EXPECT_TRUE(co_await load.more_acknowledged(40, kPatience))
          << "one server is enough: " << load.counts().last_unknown;
      EXPECT_TRUE(etcd_.spawn(member));
      EXPECT_TRUE(servers_[round % 2]->start());
      EXPECT_TRUE(
          co_await answers(context_.get_executor(), etcd_.port(member), "/health", kPatience))
          << etcd_.log();
    }
    EXPECT_TRUE(co_await all_ready());
    co_await judge(&load);
  }
  etcd_test::EtcdCluster etcd_{3};
};

TEST_F(EtcdFaults, MembersAndServersKilledInTurnUnderLoadKeepTheirWord) { run(kill_in_turn()); }

}  // namespace
}  // namespace fairlead::history
