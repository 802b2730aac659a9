// What the operators of an etcd do to it, and what clients of the API see of that.
#include <csignal>

#include "api/http_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kConfigMaps = "/api/v1/namespaces/default/configmaps";
constexpr std::string_view kIpAddresses = "/apis/networking.k8s.io/v1/ipaddresses";

class EtcdOperation : public HttpTest {
 protected:
  void SetUp() override {
    if (etcd_test::etcdctl_program().empty())
      GTEST_SKIP() << "SKIPPED: no etcdctl; run ./dev setup, or set FAIRLEAD_ETCDCTL";
    HttpTest::SetUp();
  }
  void ctl(std::vector<std::string> arguments) {
    const auto output = store_->etcd().ctl(std::move(arguments));
    ASSERT_TRUE(output) << output.error().message;
    EXPECT_TRUE(output->status.ok()) << output->out << output->err;
  }
  Answer create_map(std::string_view name) {
    return call("POST", kConfigMaps, fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name));
  }
  Answer fill(std::string_view name, int number) {
    return patch(fmt::format("{}/{}", kConfigMaps, name),
                 fmt::format(R"({{"data":{{"number":"{}","ballast":"{}"}}}})", number,
                             std::string(400'000, static_cast<char>('a' + number % 26))));
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, EtcdOperation, testing::Values(StoreUnderTest::Etcd), name_of);

TEST_P(EtcdOperation, WhenItsQuotaIsUsedUpWritesAreRefusedReadsAndDeletionsGoOn) {
  store_.emplace(StoreUnderTest::Etcd,
                 std::vector<std::string>{"--quota-backend-bytes", "16777216"});
  start();
  ASSERT_EQ(create_map("full").status, 201U);
  WatchStream watched =
      watch(fmt::format("{}?watch=true&fieldSelector=metadata.name%3Dfull", kConfigMaps));
  EXPECT_THAT(next(watched), HasSubstr("ADDED full"));
  ASSERT_EQ(create_map("idle").status, 201U);
  ASSERT_EQ(create_service("idle").status, 201U);
  Answer answer;
  int written = -1;
  for (int number = 0; number < 100; ++number) {
    answer = fill("full", number);
    if (answer.status != 200) break;
    written = number;
    EXPECT_EQ(next(watched), "MODIFIED full " + answer.revision());
  }
  EXPECT_EQ(answer.status, 500U);
  EXPECT_THAT(answer.at("/message"), HasSubstr("space exceeded"));
  ASSERT_GT(written, 5);
  // What was acknowledged is there, what was refused is not, whatever it is.
  const auto map = get(fmt::format("{}/full", kConfigMaps));
  EXPECT_EQ(map.at("/data/number"), std::to_string(written));
  EXPECT_EQ(create_map("more").at("/reason"), "InternalError");
  EXPECT_EQ(get(fmt::format("{}/more", kConfigMaps)).status, 404U);
  EXPECT_EQ(create_service("more").at("/reason"), "InternalError");
  EXPECT_EQ(get(fmt::format("{}/more", kServices)).status, 404U);
  for (const std::string_view kind : {kConfigMaps, kServices}) {
    const std::string gone = fmt::format("{}/idle", kind);
    const Answer deleted = call("DELETE", gone);
    EXPECT_EQ(deleted.status, 200U) << deleted.text;
    EXPECT_EQ(get(gone).status, 404U) << gone;
  }
  EXPECT_EQ(get(kIpAddresses).at("/items/1"), "") << "only that of the Service kubernetes";
  EXPECT_EQ(get("/readyz").status, 200U);

  // Room is made as etcd's manual says.
  ctl({"compaction", "--physical", map.revision()});
  ctl({"defrag"});
  ctl({"alarm", "disarm"});
  const Answer after = fill("full", 1000);
  ASSERT_EQ(after.status, 200U) << after.text;
  EXPECT_EQ(next(watched), "MODIFIED full " + after.revision()) << "nothing came in between";
  EXPECT_EQ(create_service("more").status, 201U);
}

TEST_P(EtcdOperation, WhatIsCompactedIsExpired) {
  start();
  const std::string old = create_map("a").revision();
  const std::string now = create_map("b").revision();
  const std::string exactly =
      fmt::format("{}?resourceVersionMatch=Exact&resourceVersion=", kConfigMaps);
  EXPECT_EQ(get(exactly + old).at("/items/1/metadata/name"), "");
  ctl({"compaction", now});
  EXPECT_EQ(get(exactly + old).status, 410U);
  EXPECT_EQ(get(exactly + now).at("/items/1/metadata/name"), "b");
  // A server that has not seen it cannot tell what was before.
  server_->stop(SIGKILL);
  start();
  WatchStream from_old = watch(fmt::format("{}?watch=true&resourceVersion={}", kConfigMaps, old));
  EXPECT_EQ(next(from_old), "ERROR 410");
  EXPECT_EQ(next(from_old), "end");
  WatchStream from_now = watch(fmt::format("{}?watch=true&resourceVersion={}", kConfigMaps, now));
  const std::string later = create_map("c").revision();
  EXPECT_EQ(next(from_now), "ADDED c " + later);
}

}  // namespace
}  // namespace fairlead::api_test
