// Several fairlead-controllers and one Lease: one works, and when it is killed another does.
#include <csignal>

#include "faults/cluster.hpp"

namespace fairlead::faults {
namespace {

using namespace std::chrono_literals;

constexpr char kServices[] = "/api/v1/namespaces/default/services";
kube::NamespacedName lease_key() { return {"kube-system", "fairlead-controller"}; }

class ElectionTest : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) start_api();
  }
  Program start_controller() const {
    return Program({program_path("fairlead-controller"), "--kubeconfig", machine().kubeconfig(),
                    "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s",
                    "--leader-elect-retry-period=500ms", "--load-balancer-pool=192.0.2.0/28",
                    "--v=2"});
  }
  void create_balancer(const std::string& name) {
    create(kServices, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{"type":"LoadBalancer",)"
                                  R"("ports":[{{"port":80}}]}}}})",
                                  name));
  }
  std::string address_of(const std::string& name) {
    const auto read = loop_.run(api().get_object<kube::Service>({"default", name}));
    if (!read || !*read || (*read)->ingress.empty()) return "none";
    return (*read)->ingress.front().ip;
  }
  kube::Lease lease() {
    const auto read = loop_.run(api().get_object<kube::Lease>(lease_key()));
    EXPECT_TRUE(read && *read);
    return read && *read ? **read : kube::Lease{};
  }
};

TEST_F(ElectionTest, AKilledLeaderIsReplacedAndNoAddressIsGivenTwice) {
  Program first = start_controller();
  ASSERT_TRUE(first.says("\"Leading\"")) << first.log();
  Program second = start_controller();
  ASSERT_TRUE(second.says("Somebody else leads")) << second.log();
  create_balancer("a");
  ASSERT_TRUE(first.says("load-balancer addresses written")) << first.log();
  EXPECT_EQ(address_of("a"), "192.0.2.1");
  const kube::Lease before = lease();

  first.signal(SIGKILL);
  ASSERT_TRUE(first.end(10s));
  create_balancer("b");
  ASSERT_TRUE(second.says("\"Leading\"")) << second.log();
  ASSERT_TRUE(second.says("load-balancer addresses written")) << second.log();
  EXPECT_EQ(address_of("a"), "192.0.2.1");
  EXPECT_EQ(address_of("b"), "192.0.2.2");
  const kube::Lease after = lease();
  EXPECT_NE(after.holder_identity, before.holder_identity);
  EXPECT_EQ(after.transitions, before.transitions + 1);
}

TEST_F(ElectionTest, ALeaderThatIsAskedToEndGivesTheLeaseUp) {
  Program first = start_controller();
  ASSERT_TRUE(first.says("\"Leading\"")) << first.log();
  first.signal(SIGTERM);
  const auto end = first.end(10s);
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->ok()) << first.log();
  EXPECT_EQ(lease().holder_identity, "");
}

TEST_F(ElectionTest, ALeaderThatCannotRenewEnds) {
  Program leader = start_controller();
  ASSERT_TRUE(leader.says("\"Leading\"")) << leader.log();
  stop_api(SIGKILL);
  const auto end = leader.end(10s);
  ASSERT_TRUE(end) << "it goes on without the lease";
  EXPECT_EQ(end->to_string(), "exit code 1") << leader.log();
}

}  // namespace
}  // namespace fairlead::faults
