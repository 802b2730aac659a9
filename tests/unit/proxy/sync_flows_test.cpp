// Which old UDP flows are looked for after a commit, and when.
#include <gmock/gmock.h>

#include "unit/proxy/sync_rig.hpp"

namespace fairlead::proxy {
namespace {

using testing::ElementsAre;

kube::Service dns_service(const std::string& address = "10.96.0.53") {
  kube::Service out = plan::make_service("dns", address);
  out.ports[0].protocol = Protocol::Udp;
  return out;
}

TEST(SyncFlows, OldUdpFlowsAreLookedOverAfterTheRulesAreIn) {
  Rig rig;
  rig.model.put(dns_service());
  rig.kernel->fail_at = 0;
  rig.open();
  rig.run();
  EXPECT_EQ(rig.flow_walks, 0) << "not while the old rules are in force";
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.flow_walks, 1);
  rig.put_service("tcp", "10.96.0.1");
  rig.run();
  rig.clock.advance(30s);
  rig.run();
  EXPECT_EQ(rig.last.kind, Job::Kind::Audit);
  EXPECT_EQ(rig.flow_walks, 1) << "no UDP endpoint went away";
}

TEST(SyncFlows, FlowsAreNotLookedOverWhenOnlyHearsaySucceeded) {
  Rig rig(0s);
  rig.open();
  rig.run();
  rig.kernel->fail_at = 1;
  rig.model.put(dns_service());
  rig.syncer.changed();
  rig.run();
  ASSERT_TRUE(rig.last.error);
  rig.syncer.tampered();  // by somebody, but not with ours
  rig.run();
  EXPECT_EQ(rig.last.kind, Job::Kind::CheckTamper);
  EXPECT_EQ(rig.flow_walks, 0);
}

TEST(SyncFlows, FlowsThatCouldNotBeLookedOverAreLookedOverNextTime) {
  Rig rig;
  rig.model.put(dns_service());
  rig.open();
  rig.flows_fail = true;
  rig.run();
  EXPECT_TRUE(rig.last.conntrack_error);
  EXPECT_FALSE(rig.last.error) << "the rules are fine";
  rig.clock.advance(1s);
  rig.put_service("tcp", "10.96.0.1");
  rig.run();
  EXPECT_THAT(rig.filters,
              ElementsAre(FlowFilter{.destination = plan::addr("10.96.0.53"), .port = Port{80}}));
  rig.clock.advance(1s);
  rig.put_service("tcp2", "10.96.0.2");
  rig.run();
  EXPECT_EQ(rig.flow_walks, 2);
}

TEST(SyncFlows, FlowsToAnAddressThatWasGivenUpWhileCommitsFailedAreLookedFor) {
  Rig rig;
  rig.model.put(dns_service());
  rig.open();
  rig.run();
  rig.kernel->fail_at = 1;
  rig.model.remove_service({.namespace_ = "ns", .name = "dns"});
  rig.syncer.changed();
  rig.run();
  ASSERT_TRUE(rig.last.error);
  rig.clock.advance(1s);
  rig.model.put(dns_service("10.96.0.54"));
  rig.syncer.changed();
  rig.run();
  EXPECT_THAT(rig.filters, ElementsAre(testing::_, FlowFilter{.port = Port{80}}))
      << "two addresses, so no single one";
}

TEST(SyncFlows, FlowsThatTheModeTakesItselfAreLeftAlone) {
  Rig rig;
  rig.model.put(dns_service());
  rig.kernel->udp_ports[plan::make_key("dns", IpFamily::V4, Protocol::Udp)] = {Port{40001}};
  rig.open();
  rig.run();
  Flow flow{.source = {.address = plan::addr("10.0.0.9"), .port = Port{1000}},
            .destination = {.address = plan::addr("10.96.0.53"), .port = Port{80}},
            .reply_source = {.address = plan::addr("127.0.0.1"), .port = Port{40001}}};
  ASSERT_TRUE(rig.stale);
  EXPECT_FALSE(rig.stale->is_stale(flow));
  flow.reply_source.port = Port{40002};
  EXPECT_TRUE(rig.stale->is_stale(flow));
}

}  // namespace
}  // namespace fairlead::proxy
