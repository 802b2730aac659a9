#include "controlplane/node_object.hpp"

#include <gtest/gtest.h>
#include <sys/utsname.h>

namespace fairlead::controlplane {
namespace {

TEST(NodeStatusPatch, SaysAddressesReadinessAndVersions) {
  utsname system{};
  ASSERT_EQ(::uname(&system), 0);
  const NodeFacts facts{
      .name = "node1",
      .addresses = {IpAddress::v4({192, 0, 2, 1}), IpAddress::loopback(IpFamily::V6)},
      .pod_cidrs = {},
      .labels = {},
      .version = "v1.35.0"};
  const WallTime now{std::chrono::seconds{1'700'000'000}};
  EXPECT_EQ(
      node_status_patch(facts, now),
      fmt::format(
          R"({{"status":{{"addresses":[{{"type":"InternalIP","address":"192.0.2.1"}},)"
          R"({{"type":"InternalIP","address":"::1"}},{{"type":"Hostname","address":"node1"}}],)"
          R"("conditions":[{{"type":"Ready","status":"True","reason":"AgentReady",)"
          R"("message":"the node's agent is running","lastHeartbeatTime":"2023-11-14T22:13:20Z",)"
          R"("lastTransitionTime":"2023-11-14T22:13:20Z"}}],)"
          R"("nodeInfo":{{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"{}",)"
          R"("osImage":"","containerRuntimeVersion":"processes://1","kubeletVersion":"v1.35.0",)"
          R"("kubeProxyVersion":"v1.35.0","operatingSystem":"linux","architecture":"{}"}}}}}})",
          system.release, system.machine));
}

}  // namespace
}  // namespace fairlead::controlplane
