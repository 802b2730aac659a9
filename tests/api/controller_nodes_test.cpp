// What fairlead-controller makes of nodes: hints by their zones and CPU, Pods of those that are
// gone, Pods of those that have fallen silent; and which flags it takes.
#include "api/controller_fixture.hpp"

namespace fairlead::api_test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::string_view kLeases =
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

std::string lease_of(std::string_view node) {
  return fmt::format(R"({{"metadata":{{"name":"{0}"}},"spec":{{"holderIdentity":"{0}",)"
                     R"("leaseDurationSeconds":40,"renewTime":"{1}"}}}})",
                     node, format_rfc3339(Clock::real().wall(), 6));
}

// A kubelet's heartbeats, while the loop runs, until cancelled.
io::Task<void> beat(io::HttpClient* client, std::string node) {
  while (co_await io::sleep_for(200ms)) {
    io::HttpRequest renewal{.method = "PATCH",
                            .target = fmt::format("{}/{}", kLeases, node),
                            .headers = {{"Content-Type", std::string(kMergePatch)}},
                            .body = lease_of(node)};
    const auto renewed = co_await client->send(std::move(renewal), 10s);
    if (!renewed || renewed->status != 200U) ADD_FAILURE() << "the lease was not renewed";
  }
}

class NodeChecks : public ControllerTest {
 protected:
  std::string status_of(std::string_view node) {
    return get(fmt::format("{}/{}", kNodes, node)).at("/status/conditions/0/status");
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, NodeChecks, both_stores(), name_of);

TEST_P(NodeChecks, ZonesAreServedByTheirShareOfTheCpu) {
  start_with_controllers();
  create_node("n1", "z1", "2");
  create_node("n2", "z2", "2000m");
  ASSERT_EQ(create_service("plain", R"({"selector":{"app":"web"},"ports":[{"port":80}]})").status,
            201U);
  ASSERT_EQ(call("POST", kServices, R"({"metadata":{"name":"web","annotations":
      {"service.kubernetes.io/topology-mode":"Auto"}},
      "spec":{"selector":{"app":"web"},"ports":[{"port":80}]}})")
                .status,
            201U);
  EXPECT_EQ(event_note("web", "TopologyAwareHintsDisabled"),
            "IPv4 endpoints have no hints: 0 ready endpoints are too few for 2 zones");
  for (int i = 1; i <= 4; ++i)
    create_pod(fmt::format("p{}", i), {.ip = fmt::format("10.0.0.{}", i)});
  const auto shares = [](const Slices& all) {
    std::map<std::string, int> out;
    for (const auto& [name, slice] : all) {
      for (const auto& endpoint : slice.at("endpoints").as_array())
        ++out[Answer{.body = endpoint}.at("/hints/forZones/0/name")];
    }
    return out;
  };
  using Shares = std::map<std::string, int>;
  EXPECT_FALSE(slices_when("web", [&](const Slices& all) {
                 return shares(all) == Shares{{"z1", 2}, {"z2", 2}};
               }).empty());
  EXPECT_EQ(event_note("web", "TopologyAwareHintsEnabled"), "IPv4 endpoints have hints");

  const auto revisions = [](const Slices& all) {
    std::vector<std::string> out;
    for (const auto& [name, slice] : all) out.push_back(Answer{.body = slice}.revision());
    return out;
  };
  constexpr std::string_view kAll = "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4";
  const auto plain = revisions(slices_when("plain", kAll));

  patch_node_status("n2", R"("allocatable":{"cpu":"6"})");
  EXPECT_FALSE(slices_when("web", [&](const Slices& all) {
                 return shares(all) == Shares{{"z1", 1}, {"z2", 3}};
               }).empty());
  patch_node_status("n2", R"("conditions":[{"type":"Ready","status":"False"}])");
  EXPECT_FALSE(slices_when("web", kAll).empty());
  EXPECT_EQ(revisions(slices_when("plain", kAll)), plain) << "what is not concerned is not written";
}

TEST_P(NodeChecks, PodsOfANodeThatIsGoneAreCollected) {
  start_with_controllers({"--missing-node-period=1s"});
  create_node("n1");
  const std::string before = get(kPods).revision();
  create_pod("stays", {.ip = "10.0.0.1"});
  ASSERT_EQ(create_service("web", R"({"selector":{"app":"web"},"ports":[{"port":80}]})").status,
            201U);
  create_pod("orphan", {.ip = "10.0.0.2", .node = "never-was"});
  EXPECT_EQ(event_note("web", "FailedToUpdateEndpointSlices"),
            "pods name node \"never-was\", which does not exist");
  // It has failed before it is gone.
  const auto gone = event_when(
      fmt::format("{}?fieldSelector=metadata.name%3Dorphan&resourceVersion={}", kPods, before),
      [](const Answer& change) { return change.at("/type") == "DELETED"; });
  const Answer last{.body = gone};
  EXPECT_EQ(last.at("/object/status/phase"), "Failed");
  EXPECT_THAT(last.at("/object/status/conditions"), HasSubstr("\"DeletionByPodGC\""));
  EXPECT_EQ(get(fmt::format("{}/stays", kPods)).at("/status/phase"), "Running");

  ASSERT_EQ(call("DELETE", fmt::format("{}/n1", kNodes)).status, 200U);
  event_when(kPods, [](const Answer& change) {
    return change.at("/type") == "DELETED" && change.at("/object/metadata/name") == "stays";
  });
}

TEST_P(NodeChecks, EndedPodsAboveTheThresholdAreCollected) {
  start_with_controllers({"--terminated-pod-gc-threshold=1"});
  create_node("n1");
  create_pod("runs", {.ip = "10.0.0.1"});
  create_pod("a", {.phase = "Succeeded"});
  const std::string before = get(kPods).revision();
  create_pod("b", {.phase = "Failed"});
  // One of the two, the older one or, of the same second, the first by name.
  event_when(fmt::format("{}?resourceVersion={}", kPods, before), [](const Answer& change) {
    EXPECT_TRUE(change.at("/type") != "DELETED" || change.at("/object/metadata/name") == "a");
    return change.at("/type") == "DELETED";
  });
  EXPECT_EQ(get(fmt::format("{}/b", kPods)).status, 200U);
  EXPECT_EQ(get(fmt::format("{}/runs", kPods)).status, 200U);
}

TEST_P(NodeChecks, APodDeletedBeforeAnyNodeHadItHasFailed) {
  start_with_controllers();
  ASSERT_EQ(call("POST", kPods,
                 R"({"metadata":{"name":"held","finalizers":["example.com/held"]},
                     "spec":{"containers":[{"name":"c","image":"i"}]}})")
                .status,
            201U);
  ASSERT_EQ(call("DELETE", fmt::format("{}/held", kPods)).status, 200U);
  event_when(kPods,
             [](const Answer& change) { return change.at("/object/status/phase") == "Failed"; });
  patch(fmt::format("{}/held", kPods), R"({"metadata":{"finalizers":null}})");
  EXPECT_EQ(get(fmt::format("{}/held", kPods)).status, 404U);
}

TEST_P(NodeChecks, NoServiceLeadsToANodeThatHasFallenSilent) {
  start_with_controllers({"--node-monitor-grace-period=3s", "--node-monitor-period=100ms"});
  for (const char* node : {"n1", "n2", "no-lease"}) create_node(node, "z", "1");
  create_pod("p1", {.ip = "10.0.0.1", .node = "n1"});
  create_pod("p2", {.ip = "10.0.0.2", .node = "n2"});
  create_pod("p3", {.ip = "10.0.0.3", .node = "no-lease"});
  ASSERT_EQ(create_service("web", R"({"selector":{"app":"web"},"ports":[{"port":80}]})").status,
            201U);
  const auto ready = [](const Slices& all) {
    std::set<std::string> out;
    for (const auto& [name, slice] : all) {
      for (const auto& endpoint : slice.at("endpoints").as_array()) {
        const Answer read{.body = endpoint};
        if (read.at("/conditions/ready") == "true") out.insert(read.at("/addresses/0"));
      }
    }
    return fmt::format("{}", fmt::join(out, " "));
  };
  EXPECT_FALSE(slices_when("web", [&](const Slices& all) {
                 return ready(all) == "10.0.0.1 10.0.0.2 10.0.0.3";
               }).empty());

  for (const char* node : {"n1", "n2"})
    ASSERT_EQ(call("POST", kLeases, lease_of(node)).status, 201U);
  const auto client = connect();
  io::TaskGroup kubelets(loop_.executor(), "kubelets");
  kubelets.spawn(beat(client.get(), "n2"));  // of n1 there is one heartbeat only
  event_when(fmt::format("{}?fieldSelector=metadata.name%3Dn1", kNodes), [](const Answer& change) {
    return change.at("/object/status/conditions/0/reason") == "NodeStatusUnknown";
  });
  EXPECT_EQ(status_of("n1") + " " + status_of("n2") + " " + status_of("no-lease"),
            "Unknown True True");
  EXPECT_FALSE(slices_when("web", [&](const Slices& all) {
                 return ready(all) == "10.0.0.2 10.0.0.3";
               }).empty());
  EXPECT_EQ(event_note("n1", "NodeNotReady"), "Node n1 is not ready: its heartbeat has stopped");
  loop_.run(kubelets.close());
}

TEST_P(NodeChecks, WhenNoNodeIsHeardNoneIsCalledSilent) {
  start();
  for (const char* node : {"n1", "n2"}) {
    create_node(node, "z", "1");
    ASSERT_EQ(call("POST", kLeases, lease_of(node)).status, 201U);
  }
  // It hears of both at once.
  start_controllers({"--node-monitor-grace-period=1s", "--node-monitor-period=100ms"});
  const auto is_said = [this](std::string_view text) {
    return eventually(folder_, [&] { return controller_log().find(text) != std::string::npos; });
  };
  ASSERT_TRUE(is_said("No node is heard")) << controller_log();
  EXPECT_EQ(patch(fmt::format("{}/n1", kLeases), lease_of("n1")).status, 200U);
  ASSERT_TRUE(is_said("Nodes are heard again")) << controller_log();
  EXPECT_EQ(status_of("n1") + " " + status_of("n2"), "True True");
}

struct BadFlag {
  std::string flag, said;
};

TEST(ControllerFlags, BadValuesAreRefusedByAClearLine) {
  const BadFlag cases[] = {
      {"--max-endpoints-per-slice=0", "--max-endpoints-per-slice=0: must be 1 to 1000"},
      {"--max-endpoints-per-slice=1001", "--max-endpoints-per-slice=1001: must be 1 to 1000"},
      {"--mirroring-max-endpoints-per-subset=0",
       "--mirroring-max-endpoints-per-subset=0: must be 1 to 1000"},
      {"--concurrent-service-endpoint-syncs=0",
       "--concurrent-service-endpoint-syncs=0: must be 1 to 50"},
      {"--endpointslice-updates-batch-period=-1s",
       "--endpointslice-updates-batch-period=-1s: must not be negative"},
      {"--endpoint-updates-batch-period=soon", "--endpoint-updates-batch-period: "},
      {"--node-monitor-grace-period=5s",
       "--node-monitor-grace-period=5s: must be longer than the monitor period"},
      {"--node-monitor-period=1ms", "--node-monitor-period=1ms: must be 100ms at least"},
      {"--missing-node-period=-1s", "--missing-node-period=-1s: must not be negative"},
      {"--kube-api-qps=0", "--kube-api-qps=0 --kube-api-burst=30: both must be above 0"},
      {"--controllers=*,-deployment", "--controllers: \"-deployment\" is none of "},
      {"--leader-elect-renew-deadline=20s",
       "--leader-elect-renew-deadline=20s: must be shorter than the lease duration"},
  };
  for (const BadFlag& row : cases) {
    io::Command command;
    command.argv = {std::string(FAIRLEAD_BINARY_DIR) + "/src/cli/fairlead-controller", row.flag,
                    "--master=http://127.0.0.1:1"};
    const auto output = io::run_blocking(command, "", 10s);
    ASSERT_TRUE(output) << row.flag;
    EXPECT_EQ(output->status.code, 1) << row.flag;
    EXPECT_THAT(output->err, testing::StartsWith("fairlead-controller: " + row.said));
    EXPECT_EQ(std::ranges::count(output->err, '\n'), 1) << output->err;
  }
}

}  // namespace
}  // namespace fairlead::api_test
