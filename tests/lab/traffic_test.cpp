// Every way to a Service in a lab of three nodes, over both families.
#include "lab/lab_fixture.hpp"

namespace fairlead::lab_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kCluster[] = R"(
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec:
  containers:
  - name: main
    image: none
    command: [fairlead, echo, --tcp, "8080", --udp, "8080"]
    readinessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec:
  containers:
  - name: main
    image: none
    command: [fairlead, echo, --tcp, "8080", --udp, "8080"]
    readinessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  containers:
  - {name: main, image: none, command: [sleep, "1000"]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  externalIPs: [203.0.113.10]
  ports:
  - {name: tcp, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: udp, port: 80, targetPort: 8080, protocol: UDP, nodePort: 30080}
)";

class LabTraffic : public LabTest {};

TEST_F(LabTraffic, ReachesPodsServicesAndTheApiServerFromEverywhere) {
  const RunningLab lab({"--nodes=3"});
  lab.apply(kCluster);
  for (const char* pod : {"web-0", "web-1", "asker"}) lab.wait_until_ready(pod);
  const std::string v4 = lab.get("service/web", ".spec.clusterIPs[0]");
  const std::string v6 = lab.get("service/web", ".spec.clusterIPs[1]");
  const std::string pod = lab.get("pod/web-0", ".status.podIP");
  EXPECT_THAT(lab.who_answers("asker", pod + ":8080"), ElementsAre("web-0"));
  // Ten connections over two pods: all on one side happens once in five hundred tries, so only
  // what must hold is asked for.
  for (const char* place : {"asker", "web-0", "node/node1", "node/node3"}) {
    EXPECT_THAT(lab.who_answers(place, v4 + ":80"), testing::IsSubsetOf({"web-0", "web-1"}));
    EXPECT_THAT(lab.who_answers(place, fmt::format("[{}]:80", v6)),
                testing::IsSubsetOf({"web-0", "web-1"}));
    EXPECT_THAT(lab.who_answers(place, v4 + ":80", "udp"), testing::IsSubsetOf({"web-0", "web-1"}));
  }
  for (const char* target :
       {"192.168.50.11:30080", "192.168.50.13:30080", "[fd00:50::12]:30080", "203.0.113.10:80"})
    EXPECT_THAT(lab.who_answers("client", target), testing::IsSubsetOf({"web-0", "web-1"}));
  const std::string api = lab.get("service/kubernetes", ".spec.clusterIP");
  EXPECT_THAT(
      lab.exec("asker", {kubectl_program(), "--kubeconfig", lab.folder() + "/node.kubeconfig",
                         "--server", "https://" + api, "get", "--raw", "/version"}),
      HasSubstr("gitVersion"));
}

}  // namespace
}  // namespace fairlead::lab_test
