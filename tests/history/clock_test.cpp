// A server whose wall clock is set, hours forth and back, under load. Only what people read may
// show it (creationTimestamp); nothing may end or hang because of it. (How long Events live is
// tested with a clock of the test's own, beside EventExpiry.)
//
// libfaketime stands in for the machine's clock: CLOCK_REALTIME follows a file that the test
// rewrites, CLOCK_MONOTONIC is the true one, as when an administrator sets the time.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/clock.hpp"
#include "etcd/etcd_cluster.hpp"
#include "history/servers.hpp"

namespace fairlead::history {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto kJump = 3h;  // more than any watch lasts

// $FAIRLEAD_FAKETIME, else where Debian's libfaketime has it; empty when there is none.
std::string faketime_library() {
  if (const char* given = std::getenv("FAIRLEAD_FAKETIME")) return given;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib")) {
    const auto path = entry.path() / "faketime" / "libfaketimeMT.so.1";
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return {};
}

// The clock of one server.
class Wall {
 public:
  explicit Wall(std::string path) : path_(std::move(path)) { set(0s); }
  // Apart from the true time by so much from now on. In one step: a reader sees one or the other.
  void set(std::chrono::seconds offset) const {
    const std::string next = path_ + ".next";
    std::ofstream(next) << fmt::format("{:+}\n", offset.count());
    std::filesystem::rename(next, path_);
  }
  std::map<std::string, std::string> environment() const {
    return {{"LD_PRELOAD", faketime_library()},
            {"FAKETIME_TIMESTAMP_FILE", path_},
            {"FAKETIME_NO_CACHE", "1"},
            {"FAKETIME_DONT_FAKE_MONOTONIC", "1"},
            {"DONT_FAKE_MONOTONIC", "1"}};
  }

 private:
  std::string path_;
};

class ClockFaults : public ServerFaults {
 protected:
  void SetUp() override {
    if (faketime_library().empty())
      GTEST_SKIP() << "SKIPPED: no libfaketime; run ./dev setup, or set FAIRLEAD_FAKETIME";
  }

  io::Task<io::HttpResponse> ask(std::string method, std::string path, std::string body = {}) {
    auto client = io::HttpClient::create(
        executor(), {.host = "127.0.0.1", .port = Port{servers_.front()->port()}, .tls = {}});
    EXPECT_TRUE(client);
    auto answer = co_await (*client)->send({.method = std::move(method),
                                            .target = std::move(path),
                                            .headers = {{"Content-Type", "application/json"}},
                                            .body = std::move(body)},
                                           kPatience);
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().message);
    co_return answer ? *std::move(answer) : io::HttpResponse{.status = 0};
  }

  // How far the server's creationTimestamps are from the true time, to the minute.
  io::Task<std::chrono::minutes> offset_seen(std::string name) {
    const auto answer = co_await ask("POST", "/api/v1/namespaces/kube-public/configmaps",
                                     fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name));
    EXPECT_EQ(answer.status, 201U) << answer.body;
    const std::string key = R"("creationTimestamp":")";
    const auto begin = answer.body.find(key) + key.size();
    const auto time = parse_rfc3339(std::string_view(answer.body).substr(begin, 20));
    EXPECT_TRUE(time) << answer.body;
    if (!time) co_return 0min;
    co_return std::chrono::round<std::chrono::minutes>(*time - std::chrono::system_clock::now());
  }

  // How long a watch of two seconds lasts.
  io::Task<Steady::duration> watch_of_two_seconds() {
    const auto begun = Steady::now();
    const auto answer = co_await ask("GET", "/api/v1/events?watch=1&timeoutSeconds=2");
    EXPECT_EQ(answer.status, 200U);
    co_return Steady::now() - begun;
  }
  static io::Task<void> measure(io::Task<Steady::duration> task,
                                std::optional<Steady::duration>* out, io::Event* done) {
    *out = co_await std::move(task);
    done->notify();
  }

  // Forth, back behind the beginning, and right again, with load after each.
  io::Task<void> jump(const Wall* wall, Load* load) {
    for (const std::chrono::seconds offset :
         {std::chrono::seconds(kJump), -2 * std::chrono::seconds(kJump), 0s}) {
      wall->set(offset);
      EXPECT_TRUE(co_await load->more_acknowledged(40, kPatience)) << load->counts().last_unknown;
      EXPECT_EQ(co_await offset_seen(fmt::format("at{}", offset.count())), offset);
    }
  }

  io::Task<void> jump_with_sqlite(const Wall* wall) {
    EXPECT_TRUE(co_await all_ready());
    Load load(executor(), load_config());
    load.start();
    std::optional<Steady::duration> lasted;
    io::TaskGroup watches(executor(), "watch");
    io::Event ended(executor());
    watches.spawn(measure(watch_of_two_seconds(), &lasted, &ended));
    co_await jump(wall, &load);
    EXPECT_FALSE(lasted && *lasted < 2s) << "a watch ended early";
    EXPECT_TRUE(lasted || co_await ended.wait_until(Steady::now() + kPatience))
        << "a watch does not end";
    co_await watches.close();
    EXPECT_GE(lasted.value_or(0s), 2s);
    EXPECT_EQ(load.counts().unknown, 0U) << load.counts().last_unknown;
    co_await judge(&load);
  }

  io::Task<void> jump_with_etcd(std::vector<const Wall*> walls) {
    EXPECT_TRUE(co_await all_ready());
    Load load(executor(), load_config());
    load.start();
    for (const Wall* wall : walls) {
      for (const auto offset : {std::chrono::seconds(kJump), -std::chrono::seconds(kJump)}) {
        wall->set(offset);
        EXPECT_TRUE(co_await load.more_acknowledged(40, kPatience)) << load.counts().last_unknown;
      }
    }
    EXPECT_EQ(load.counts().unknown, 0U) << load.counts().last_unknown;
    co_await judge(&load);
  }
};

TEST_F(ClockFaults, ASetClockEndsNothing) {
  const Wall wall(folder_.path() + "/clock");
  add_server({}, wall.environment());
  run(jump_with_sqlite(&wall));
}

TEST_F(ClockFaults, ServersOnEtcdWhoseClocksAreSetApartStayOne) {
  if (etcd_test::etcd_program().empty())
    GTEST_SKIP() << "SKIPPED: no etcd; run ./dev setup, or set FAIRLEAD_ETCD";
  etcd_test::EtcdCluster etcd(1);
  ASSERT_TRUE(etcd.start()) << etcd.log();
  const Wall one(folder_.path() + "/clock-one"), other(folder_.path() + "/clock-other");
  add_server({"--etcd-servers", etcd.endpoint(0), "--advertise-address", "192.0.2.1"},
             one.environment());
  add_server({"--etcd-servers", etcd.endpoint(0), "--advertise-address", "192.0.2.2"},
             other.environment());
  run(jump_with_etcd({&one, &other}));
}

}  // namespace
}  // namespace fairlead::history
