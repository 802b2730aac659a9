// Reservations of Services after somebody has meddled with the store behind the server's back.
#include <csignal>

#include "api/http_fixture.hpp"
#include "api/sqlite_file.hpp"

namespace fairlead::api_test {
namespace {

using testing::HasSubstr;

constexpr std::string_view kAddresses = "/apis/networking.k8s.io/v1/ipaddresses";

class RepairTest : public HttpTest {
 protected:
  void SetUp() override {
    if (GetParam() == StoreUnderTest::Etcd && etcd_test::etcdctl_program().empty())
      GTEST_SKIP() << "SKIPPED: no etcdctl; run ./dev setup, or set FAIRLEAD_ETCDCTL";
    HttpTest::SetUp();
  }
  // While no server is running.
  void forget(const std::string& key) {
    if (GetParam() == StoreUnderTest::Sqlite) {
      SqliteFile(folder_.path() + "/data/store.db").forget(key);
      return;
    }
    const auto output = store_->etcd().ctl({"del", key});
    ASSERT_TRUE(output) << output.error().message;
    EXPECT_EQ(output->out, "1\n") << output->err;
  }
  // A Service with these in its spec.
  std::string outcome_with(std::string_view name, const std::string& ip, const std::string& port) {
    return create_service(
               name, fmt::format(R"({{"type":"NodePort","clusterIP":"{}","ports":[{{"port":80,)"
                                 R"("nodePort":{}}}]}})",
                                 ip, port))
        .outcome();
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, RepairTest, both_stores(), name_of);

TEST_P(RepairTest, AServerMendsWhatItFindsAtItsStart) {
  start();
  const Answer kept = create_service("kept", R"({"type":"NodePort","ports":[{"port":80}]})");
  const Answer gone = create_service("gone", R"({"type":"NodePort","ports":[{"port":80}]})");
  ASSERT_EQ(gone.status, 201U);
  const std::string ip = kept.at("/spec/clusterIP"), port = kept.at("/spec/ports/0/nodePort");
  server_->stop(SIGKILL);
  const std::string ports = "/registry/ranges/servicenodeports/";
  forget("/registry/ipaddresses/" + ip);
  forget(ports + port);
  forget("/registry/services/specs/default/gone");
  start();
  EXPECT_EQ(get(fmt::format("{}/{}", kAddresses, ip)).at("/spec/parentRef/name"), "kept");
  EXPECT_EQ(outcome_with("thief", ip, "0"), "422 Invalid spec.clusterIPs Invalid");
  EXPECT_EQ(outcome_with("thief", "", port), "422 Invalid spec.ports[0].nodePort Invalid");
  // The port of what is gone is free; its address may still be waiting for its Service.
  EXPECT_EQ(outcome_with("next", "", gone.at("/spec/ports/0/nodePort")), "201");
  const Answer events =
      get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dkept");
  EXPECT_THAT(events.text, HasSubstr("ClusterIPNotAllocated"));
  EXPECT_THAT(events.text, HasSubstr("PortNotAllocated"));
  const std::string metrics = get("/metrics").text;
  for (const char* line : {"apiserver_clusterip_repair_ip_errors_total{type=\"repair\"} 1\n",
                           "apiserver_nodeport_repair_port_errors_total{type=\"repair\"} 1\n",
                           "apiserver_nodeport_repair_port_errors_total{type=\"leak\"} 1\n",
                           "apiserver_clusterip_repair_ip_errors_total{type=\"duplicate\"} 0\n"}) {
    EXPECT_THAT(metrics, HasSubstr(line));
  }
}

TEST_P(RepairTest, AnAddressDeletedByHandIsReservedAgain) {
  start();
  const Answer made = create_service("web");
  const std::string ip = made.at("/spec/clusterIP");
  WatchStream addresses =
      watch(fmt::format("{}?watch=true&resourceVersion={}&fieldSelector=metadata.name%3D{}",
                        kAddresses, made.revision(), ip));
  ASSERT_EQ(call("DELETE", fmt::format("{}/{}", kAddresses, ip)).status, 200U);
  EXPECT_THAT(next(addresses), HasSubstr("DELETED " + ip));
  EXPECT_THAT(next(addresses), HasSubstr("ADDED " + ip));
  EXPECT_EQ(get(fmt::format("{}/{}", kAddresses, ip)).at("/spec/parentRef/name"), "web");
}

}  // namespace
}  // namespace fairlead::api_test
