// The API server killed under load, on SQLite and on three etcd members that are killed in turn:
// what clients were promised holds. A few rounds by default; FAIRLEAD_API_SOAK_SECONDS makes each
// of them as long as that (./dev soak api).
#include <csignal>
#include <cstdlib>

#include "base/text.hpp"
#include "etcd/etcd_cluster.hpp"
#include "history/servers.hpp"

namespace fairlead::history {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

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

class SqliteFaults : public ServerFaults {
 protected:
  io::Task<void> kill_again_and_again() {
    EXPECT_TRUE(co_await all_ready());
    Load load(executor(), load_config());
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
    Load load(executor(), load_config());
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
      EXPECT_TRUE(co_await answers(executor(), etcd_.port(member), "/health", kPatience))
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
