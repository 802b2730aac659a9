// EtcdStore against real etcd clusters: what every Store must do, and what only this one can meet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <set>

#include "apiserver/etcd/etcd_store.hpp"
#include "apiserver/pki.hpp"
#include "etcd/etcd_cluster.hpp"
#include "unit/apiserver/store_suite.hpp"
#include "unit/apiserver/unreadable_suite.hpp"

namespace fairlead::etcd_test {
namespace {

using namespace apiserver;

constexpr char kNoEtcd[] = "SKIPPED: no etcd; run ./dev setup, or set FAIRLEAD_ETCD";

Result<StoreMaker::Made> make_on_a_new_cluster(io::asio::io_context& loop) {
  auto cluster = std::make_shared<EtcdCluster>(1);
  if (!cluster->start()) return make_error(ErrorCode::Unavailable, "{}", cluster->log());
  FAIRLEAD_TRY(store,
               run_task(loop, open_etcd_store({.endpoints = cluster->endpoints(), .prefix = "/"})));
  return StoreMaker::Made{.behind = std::move(cluster), .store = std::move(store)};
}

std::vector<StoreMaker> etcd_if_there() {
  if (etcd_program().empty()) return {};
  return {StoreMaker{.name = "etcd", .make = make_on_a_new_cluster}};
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreSuite);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(UnreadableSuite);

}  // namespace
}  // namespace fairlead::etcd_test

namespace fairlead::apiserver {
INSTANTIATE_TEST_SUITE_P(Etcd, StoreSuite, testing::ValuesIn(etcd_test::etcd_if_there()),
                         [](const auto& param) { return param.param.name; });
INSTANTIATE_TEST_SUITE_P(Etcd, UnreadableSuite, testing::ValuesIn(etcd_test::etcd_if_there()),
                         [](const auto& param) { return param.param.name; });
}  // namespace fairlead::apiserver

namespace fairlead::etcd_test {
namespace {

SharedBytes bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

// What a watch was told, and the state that follows from it.
struct Observer {
  std::vector<std::string> events;
  std::map<std::string, std::string> state;
  Revision upto = 0;
  bool gap = false;
  bool in_order = true;
  std::unique_ptr<StoreWatch> watch;

  void hear(const EventBatch& batch) {
    for (const StoreEvent& event : batch.events) {
      in_order = in_order && event.revision > (events.empty() ? 0 : last);
      last = event.revision;
      events.push_back(
          fmt::format("{}={}@{}", event.key, event.value ? *event.value : "-", event.revision));
      if (event.value) {
        state[event.key] = *event.value;
      } else {
        state.erase(event.key);
      }
    }
    gap = gap || batch.gap;
    upto = batch.revision;
  }
  Revision last = 0;
};

class EtcdStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (etcd_program().empty()) GTEST_SKIP() << kNoEtcd;
  }
  void TearDown() override {
    for (const auto& store : stores_) {
      if (store) run_task(loop_, store->close());
    }
  }
  EtcdCluster& cluster(std::size_t members, ServerTls tls = {},
                       std::vector<std::string> flags = {}) {
    cluster_.emplace(members, std::move(tls), std::move(flags));
    EXPECT_TRUE(cluster_->start()) << cluster_->log();
    return *cluster_;
  }
  Store& open(EtcdConfig config) {
    auto store = run_task(loop_, open_etcd_store(std::move(config)));
    check(store.has_value(), store ? "" : store.error().message);
    return *stores_.emplace_back(*std::move(store));
  }
  Store& open() { return open({.endpoints = cluster_->endpoints()}); }
  std::shared_ptr<Observer> observe(Store& store) {
    auto out = std::make_shared<Observer>();
    auto made = run_task(
        loop_, store.watch("/registry/", store.current_revision(),
                           [out = out.get()](const EventBatch& batch) { out->hear(batch); }));
    EXPECT_TRUE(made);
    if (made) out->watch = *std::move(made);
    return out;
  }
  bool create(Store& store, const std::string& key, const std::string& value = "x") {
    const auto done = run_task(loop_, store.commit(create_key(key, bytes(value))));
    return done && done->succeeded;
  }
  std::map<std::string, std::string> state(Store& store) {
    std::map<std::string, std::string> out;
    const auto page = run_task(loop_, store.list({.prefix = "/registry/"}));
    EXPECT_TRUE(page);
    if (!page) return out;
    for (const KeyValue& item : page->items) out.emplace(item.key, *item.value);
    return out;
  }

  io::asio::io_context loop_;
  std::optional<EtcdCluster> cluster_;
  std::vector<std::unique_ptr<Store>> stores_;
};

TEST_F(EtcdStoreTest, WhatOneServerCommitsAnotherKnowsAfterSynchronizing) {
  cluster(1);
  Store& writer = open();
  Store& reader = open();
  const auto seen = observe(reader);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(create(writer, fmt::format("/registry/{:02}", i)));
    ASSERT_TRUE(run_task(loop_, reader.synchronize()));
    ASSERT_EQ(seen->state.size(), static_cast<std::size_t>(i) + 1);
  }
}

TEST_F(EtcdStoreTest, ADeletionByAnotherServerIsKnownAfterSynchronizing) {
  cluster(1);
  Store& writer = open();
  Store& reader = open();
  const auto seen = observe(reader);
  ASSERT_TRUE(create(writer, "/registry/a"));
  ASSERT_TRUE(run_task(
      loop_,
      writer.commit({.compares = {}, .operations = {{.key = "/registry/a", .value = nullptr}}})));
  ASSERT_TRUE(run_task(loop_, reader.synchronize()));
  EXPECT_EQ(seen->state, (std::map<std::string, std::string>{}));
}

TEST_F(EtcdStoreTest, AKeyIsGivenToOneOfTwoServersOnly) {
  cluster(1);
  Store& first = open();
  Store& second = open();
  for (int round = 0; round < 30; ++round) {
    std::vector<bool> won;
    for (Store* store : {&first, &second}) {
      io::asio::co_spawn(loop_,
                         store->commit(create_key(fmt::format("/registry/{}", round), bytes("x"))),
                         [&won](const std::exception_ptr&, Result<CommitResult> result) {
                           won.push_back(result && result->succeeded);
                         });
    }
    ASSERT_TRUE(run_until(loop_, [&won] { return won.size() == 2; }));
    EXPECT_NE(won[0], won[1]);
  }
}

TEST_F(EtcdStoreTest, AStoreOpenedLaterKnowsTheHistory) {
  cluster(1);
  Store& writer = open();
  const auto live = observe(writer);
  const Revision start = writer.current_revision();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(create(writer, fmt::format("/registry/{:02}", i)));
  Store& later = open();
  EXPECT_EQ(later.current_revision(), writer.current_revision());
  Observer replay;
  auto watch = run_task(loop_, later.watch("/registry/", start, [&replay](const EventBatch& batch) {
    replay.hear(batch);
  }));
  ASSERT_TRUE(watch);
  EXPECT_EQ(replay.events, live->events);
}

TEST_F(EtcdStoreTest, AListGoesOverManyPagesOfOneRevision) {
  cluster(1);
  Store& store = open();
  for (int i = 0; i < 1201; ++i) ASSERT_TRUE(create(store, fmt::format("/registry/{:05}", i)));
  EXPECT_EQ(state(store).size(), 1201U);
  const auto page = run_task(loop_, store.list({.prefix = "/registry/", .limit = 700}));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->items.size(), 700U);
  EXPECT_TRUE(page->more);
}

// Kills each member in turn while two servers write and watch.
TEST_F(EtcdStoreTest, NoAcknowledgedCommitAndNoEventIsLostWhenMembersAreKilled) {
  EtcdCluster& etcd = cluster(3);
  Store& first = open();
  Store& second = open({.endpoints = {etcd.endpoint(1), etcd.endpoint(2), etcd.endpoint(0)}});
  const auto seen_by_first = observe(first);
  const auto seen_by_second = observe(second);
  std::set<std::string> acknowledged, unknown;
  int number = 0;
  const auto write = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const std::string key = fmt::format("/registry/{:05}", number++);
      (create(number % 2 == 0 ? first : second, key) ? acknowledged : unknown).insert(key);
    }
  };
  for (std::size_t member = 0; member < 3; ++member) {
    write(30);
    // What both have heard of is forgotten on the way.
    ASSERT_TRUE(
        run_task(loop_, first.compact(std::min(seen_by_first->upto, seen_by_second->upto))));
    etcd.end(member, SIGKILL);
    write(30);
    ASSERT_TRUE(etcd.start(member)) << etcd.log();
  }
  write(30);
  EXPECT_GE(acknowledged.size(), 180U) << "most writes go on meanwhile";
  ASSERT_TRUE(run_task(loop_, first.synchronize()));
  ASSERT_TRUE(run_task(loop_, second.synchronize()));
  const auto now = state(first);
  for (const std::string& key : acknowledged) EXPECT_TRUE(now.contains(key)) << key;
  for (const auto& [key, value] : now) {
    EXPECT_TRUE(acknowledged.contains(key) || unknown.contains(key)) << key;
  }
  EXPECT_EQ(seen_by_first->state, now);
  EXPECT_EQ(seen_by_first->events, seen_by_second->events);
  EXPECT_TRUE(seen_by_first->in_order);
  EXPECT_FALSE(seen_by_first->gap);
}

// One server is cut off while another writes and compacts.
TEST_F(EtcdStoreTest, WhatWasCompactedUnseenIsDeliveredAsNetChange) {
  EtcdCluster& etcd = cluster(1);
  Store& cut_off = open();
  const auto seen = observe(cut_off);
  for (const char* key : {"/registry/kept", "/registry/changed", "/registry/gone"}) {
    ASSERT_TRUE(create(cut_off, key, "old"));
  }
  // For the first server etcd is gone; it serves others at another port.
  etcd.end(0, SIGKILL);
  const std::uint16_t port = etcd.move(0);
  ASSERT_TRUE(etcd.start(0)) << etcd.log();
  Store& writer = open();
  const Revision before = writer.current_revision();
  ASSERT_TRUE(run_task(
      loop_, writer.commit({.compares = {},
                            .operations = {{.key = "/registry/gone", .value = nullptr},
                                           {.key = "/registry/changed", .value = bytes("new")}}})));
  ASSERT_TRUE(create(writer, "/registry/passing"));
  ASSERT_TRUE(run_task(
      loop_, writer.commit({.compares = {},
                            .operations = {{.key = "/registry/passing", .value = nullptr}}})));
  ASSERT_TRUE(create(writer, "/registry/added", "new"));
  ASSERT_TRUE(run_task(loop_, writer.compact(writer.current_revision())));
  EXPECT_EQ(seen->upto, before) << "cut off as it should be";
  etcd.end(0, SIGTERM);
  etcd.move(0, port);
  ASSERT_TRUE(etcd.start(0)) << etcd.log();
  ASSERT_TRUE(run_until(loop_, [&] { return seen->gap; }));
  EXPECT_EQ(seen->state, state(cut_off));
  EXPECT_EQ(seen->state.size(), 3U);
  const auto old = run_task(loop_, cut_off.watch("/registry/", before, [](const EventBatch&) {}));
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::Expired);
  ASSERT_TRUE(create(cut_off, "/registry/after"));
  EXPECT_TRUE(seen->state.contains("/registry/after"));
}

// Somebody else's keys in the same etcd, and a compaction by its operators: nobody has missed
// anything.
TEST_F(EtcdStoreTest, ProgressIsFollowedWhereNothingIsWritten) {
  EtcdCluster& etcd = cluster(1, {}, {"--experimental-watch-progress-notify-interval", "100ms"});
  Store& idle = open();
  Store& neighbour = open({.endpoints = etcd.endpoints(), .prefix = "/neighbour/"});
  ASSERT_TRUE(create(idle, "/registry/a"));
  const auto seen = observe(idle);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(create(neighbour, fmt::format("/neighbour/{}", i)));
  const Revision now = neighbour.current_revision();
  ASSERT_TRUE(run_until(loop_, [&] { return seen->upto >= now; }));
  EXPECT_EQ(idle.current_revision(), seen->upto);
  EXPECT_TRUE(seen->events.empty());
  ASSERT_TRUE(run_task(loop_, neighbour.compact(now)));
  etcd.end(0, SIGKILL);
  ASSERT_TRUE(etcd.start(0)) << etcd.log();
  ASSERT_TRUE(create(idle, "/registry/b"));
  EXPECT_EQ(seen->state, (std::map<std::string, std::string>{{"/registry/b", "x"}}));
  EXPECT_FALSE(seen->gap);
}

// What etcd does not take one by one; each of its keys counts all the same.
TEST_F(EtcdStoreTest, ATransactionOfHundredsOfKeysIsAllOrNothing) {
  cluster(1);
  Store& store = open();
  Store& other = open();
  const auto key = [](int number) { return fmt::format("/registry/many/{:03}", number); };
  const auto all = [&](Revision expected, const SharedBytes& value) {
    StoreTransaction out = update_key("/registry/one", 0, bytes("x"));
    out.operations.front().value = nullptr;
    for (int i = 0; i < 300; ++i) {
      out.compares.push_back({.key = key(i), .mod_revision = expected});
      out.operations.push_back({.key = key(i), .value = value});
    }
    return out;
  };
  // One of them is there, as the store knows; then, as it cannot know yet.
  ASSERT_TRUE(create(store, key(150)));
  auto done = run_task(loop_, store.commit(all(0, bytes("x"))));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(done->succeeded);
  EXPECT_EQ(done->conflicting_key, key(150));
  ASSERT_TRUE(run_task(loop_, store.commit({.compares = {}, .operations = {{.key = key(150)}}})));
  ASSERT_TRUE(run_task(loop_, other.synchronize()));
  std::optional<Result<CommitResult>> first, second;
  for (auto& [from, result] : {std::pair(&store, &first), {&other, &second}}) {
    io::asio::co_spawn(loop_, from->commit(all(0, bytes("x"))),
                       [result](const std::exception_ptr&, Result<CommitResult> answer) {
                         *result = std::move(answer);
                       });
  }
  ASSERT_TRUE(run_until(loop_, [&] { return first && second; }));
  ASSERT_TRUE(*first && *second);
  EXPECT_NE((*first)->succeeded, (*second)->succeeded) << "one of two servers";
  EXPECT_EQ(state(store).size(), 300U);
  ASSERT_TRUE(run_task(loop_, store.synchronize()));
  // All of them go, too, and at the revision that is asked for only.
  const CommitResult& won = (*first)->succeeded ? **first : **second;
  ASSERT_EQ(won.revisions.size(), 301U);
  done = run_task(loop_, store.commit(all(won.revisions[1] + 1, nullptr)));
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->succeeded);
  done = run_task(loop_, store.commit(all(won.revisions[1], nullptr)));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(done->succeeded);
  EXPECT_TRUE(state(store).empty());
}

// A value that we would let pass but that is, with its envelope, more than a member takes.
TEST_F(EtcdStoreTest, WhatIsMoreThanEtcdTakesIsTooLarge) {
  cluster(1);
  Store& store = open();
  const auto done = run_task(
      loop_, store.commit(create_key("/registry/a", bytes(std::string(kMaxValueBytes, 'x')))));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::TooLarge) << done.error().message;
  EXPECT_TRUE(create(store, "/registry/a")) << "the connection serves on";
}

TEST_F(EtcdStoreTest, TlsWithClientCertificatesIsRequiredByEtcdAndGivenByUs) {
  const auto pki = Pki::create_in_memory(Clock::real());
  ASSERT_TRUE(pki);
  const auto server = pki->server_identity(
      {.dns_names = {}, .addresses = {IpAddress::loopback(IpFamily::V4)}}, Clock::real());
  const auto client = pki->client_identity("fairlead", {}, Clock::real());
  ASSERT_TRUE(server && client);
  const std::string folder = testing::TempDir();
  const auto file = [&folder](const std::string& name, const std::string& text) {
    const std::string path = folder + "/fairlead-etcd-" + name;
    std::ofstream(path) << text;
    return path;
  };
  EtcdCluster& etcd = cluster(1, {.ca = file("ca.pem", pki->ca_pem()),
                                  .certificate = file("server.pem", server->certificate_pem),
                                  .key = file("server.key", server->private_key_pem)});
  Store& store = open({.endpoints = etcd.endpoints(),
                       .ca_pem = pki->ca_pem(),
                       .certificate_pem = client->certificate_pem,
                       .key_pem = client->private_key_pem});
  EXPECT_TRUE(create(store, "/registry/a"));
  const auto stranger =
      run_task(loop_, open_etcd_store({.endpoints = etcd.endpoints(),
                                       .ca_pem = pki->ca_pem(),
                                       .patience = std::chrono::milliseconds(500)}));
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::Unavailable);
}

struct BadConfig {
  std::string name;
  EtcdConfig config;
  std::string says;
};
void PrintTo(const BadConfig& bad, std::ostream* out) { *out << bad.name; }

class BadEtcdConfig : public testing::TestWithParam<BadConfig> {};

TEST_P(BadEtcdConfig, IsRefusedByName) {
  io::asio::io_context loop;
  const auto store = run_task(loop, open_etcd_store(GetParam().config));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::Invalid);
  EXPECT_THAT(store.error().message, testing::HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, BadEtcdConfig,
    testing::Values(BadConfig{.name = "none", .config = {}, .says = "no etcd endpoint"},
                    BadConfig{.name = "scheme",
                              .config = {.endpoints = {"127.0.0.1:2379"}},
                              .says = "\"127.0.0.1:2379\" is not http://HOST:PORT"},
                    BadConfig{.name = "port",
                              .config = {.endpoints = {"http://127.0.0.1:x"}},
                              .says = "\"http://127.0.0.1:x\""},
                    BadConfig{.name = "prefix",
                              .config = {.endpoints = {"http://127.0.0.1:1"}, .prefix = "registry"},
                              .says = "prefix \"registry\""}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace fairlead::etcd_test
