// Copies that operators make of a store while it serves: keys and values say what they are, and a
// server on the copy is the same API. On SQLite by its library, on etcd by a plain Range and by
// etcdctl.
#include <csignal>
#include <filesystem>

#include "api/http_fixture.hpp"
#include "api/sqlite_file.hpp"
#include "base/text.hpp"

namespace fairlead::api_test {
namespace {

using testing::Contains;
using testing::Key;

class BackupTest : public HttpTest {
 protected:
  void SetUp() override {
    if (GetParam() == StoreUnderTest::Etcd && etcd_test::etcdctl_program().empty())
      GTEST_SKIP() << "SKIPPED: no etcdctl; run ./dev setup, or set FAIRLEAD_ETCDCTL";
    HttpTest::SetUp();
  }
  bool on_sqlite() const { return GetParam() == StoreUnderTest::Sqlite; }
  std::string file() const { return folder_.path() + "/data/store.db"; }
  std::string copy() const { return folder_.path() + "/copy"; }

  void ctl_ends_well(const Result<io::Output>& output) {
    ASSERT_TRUE(output) << output.error().message;
    EXPECT_TRUE(output->status.ok()) << output->out << output->err;
  }
  Objects stored() {
    if (on_sqlite()) return SqliteFile(file(), SQLITE_OPEN_READONLY).objects();
    auto client = connect_to(store_->etcd_port());
    // "/registry/" and "/registry0" in base64.
    const std::string range = R"({"key":"L3JlZ2lzdHJ5Lw==","range_end":"L3JlZ2lzdHJ5MA=="})";
    std::swap(client, client_);
    const Answer answer = call("POST", "/v3/kv/range", range);
    std::swap(client, client_);
    Objects out;
    for (const auto& kv : answer.body.at("kvs").as_array()) {
      const auto* value = kv.as_object().if_contains("value");
      if (value == nullptr) continue;  // the marker
      out.emplace(*base64_decode(kv.at("key").as_string()),
                  boost::json::parse(*base64_decode(value->as_string())));
    }
    return out;
  }
  void take_copy() {
    if (!on_sqlite()) return ctl_ends_well(store_->etcd().ctl({"snapshot", "save", copy()}));
    SqliteFile from(file(), SQLITE_OPEN_READONLY), to(copy());
    from.copy_to(to);
  }
  // Instead of what is there.
  void bring_back() {
    if (on_sqlite()) {
      for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file() + part);
      std::filesystem::copy_file(copy(), file());
      return;
    }
    store_->etcd().end(0, SIGKILL);
    ctl_ends_well(store_->etcd().restore(0, copy()));
    ASSERT_TRUE(store_->etcd().start(0)) << store_->etcd().log();
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, BackupTest, both_stores(), name_of);

TEST_P(BackupTest, WhatIsStoredIsReadWithoutUs) {
  start();
  const Answer web = create_service("web", R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_EQ(web.status, 201U);
  const Objects objects = stored();
  const auto text = [&](const std::string& key, const char* pointer) {
    const auto found = objects.find(key);
    return found == objects.end() ? "" : std::string(found->second.at_pointer(pointer).as_string());
  };
  EXPECT_EQ(text("/registry/services/specs/default/web", "/kind"), "Service");
  EXPECT_EQ(text("/registry/services/specs/default/web", "/metadata/uid"), web.at("/metadata/uid"));
  EXPECT_EQ(text("/registry/ipaddresses/" + web.at("/spec/clusterIP"), "/spec/parentRef/name"),
            "web");
  EXPECT_EQ(
      text("/registry/ranges/servicenodeports/" + web.at("/spec/ports/0/nodePort"), "/service"),
      "default/web");
  EXPECT_THAT(objects, Contains(Key("/registry/namespaces/default")));
}

TEST_P(BackupTest, AServerOnACopyIsTheSameApi) {
  start();
  ASSERT_EQ(create_service("a", R"({"type":"NodePort","ports":[{"port":80}]})").status, 201U);
  ASSERT_EQ(create_service("gone").status, 201U);
  ASSERT_EQ(call("DELETE", service_path("gone")).status, 200U);
  const Answer before = get(kServices);
  take_copy();
  ASSERT_EQ(create_service("too-late").status, 201U);
  server_->stop(SIGKILL);
  bring_back();
  start();
  const Answer after = get(kServices);
  EXPECT_EQ(after.value_at("/items"), before.value_at("/items"))
      << "with uids and resourceVersions";
  EXPECT_GE(std::stoull(after.revision()), std::stoull(before.revision()));
  const Answer next = create_service("next", R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_EQ(next.status, 201U);
  EXPECT_GT(std::stoull(next.revision()), std::stoull(before.revision()));
  EXPECT_EQ(create_service("b", fmt::format(R"({{"clusterIP":"{}","ports":[{{"port":80}}]}})",
                                            before.at("/items/0/spec/clusterIP")))
                .outcome(),
            "422 Invalid spec.clusterIPs Invalid")
      << "what was reserved still is";
}

}  // namespace
}  // namespace fairlead::api_test
