// What kubectl does through typed clients, which ask for protobuf: its decoder is client-go's own.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ProtobufTest : public KubectlTest {
 protected:
  // Verbose: stderr shows the content types. 1.20 asks for JSON alone in all of these.
  std::string said_in_protobuf(std::vector<std::string> arguments) {
    arguments.emplace_back("-v=8");
    const io::Output output = kubectl(std::move(arguments));
    if (is_current())
      EXPECT_THAT(output.err, HasSubstr("Content-Type: application/vnd.kubernetes.protobuf"));
    return output.out;
  }
};

INSTANTIATE_TEST_SUITE_P(Kubectl, ProtobufTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

constexpr std::string_view kManifest = R"(
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.7], conditions: {ready: true}}]
---
apiVersion: v1
kind: Event
metadata: {name: web.1}
involvedObject: {kind: Service, name: web, namespace: default}
reason: Tested
message: seen in protobuf
type: Warning
count: 3
firstTimestamp: "2026-01-02T03:04:05Z"
lastTimestamp: "2026-01-02T03:04:05Z"
source: {component: test}
)";

TEST_P(ProtobufTest, WhatIsCreatedIsReadFromTheAnswer) {
  EXPECT_THAT(
      said_in_protobuf({"create", "service", "nodeport", "c1", "--tcp=80:8080", "-o", "yaml"}),
      AllOf(HasSubstr("clusterIP: 10.96."), HasSubstr("ipFamilyPolicy: SingleStack"),
            HasSubstr("targetPort: 8080"), HasSubstr("resourceVersion: \"")));
  EXPECT_THAT(said_in_protobuf({"create", "configmap", "c", "--from-literal=a=ü", "-o",
                                "jsonpath={.data.a} {.metadata.name}"}),
              "ü c");
}

TEST_P(ProtobufTest, AnErrorIsReadFromItsStatus) {
  ok({"create", "configmap", "c"});
  EXPECT_THAT(refused({"create", "configmap", "c"}), HasSubstr("configmaps \"c\" already exists"));
  EXPECT_THAT(refused({"create", "service", "clusterip", "BAD", "--tcp=1"}),
              HasSubstr("metadata.name"));
}

TEST_P(ProtobufTest, AServiceIsDescribedWithItsEndpointsAndEventsAreListed) {
  if (!is_current()) GTEST_SKIP() << "1.20 knows no EndpointSlice v1";
  ok({"apply", "-f", folder_.write("all.yaml", kManifest)});
  const std::string described = said_in_protobuf({"describe", "service", "web"});
  for (const char* line :
       {"NodePort:                 http  30080/TCP", "TargetPort:               web/TCP",
        "Endpoints:                10.0.0.7:8080"}) {
    EXPECT_THAT(described, HasSubstr(line));
  }
  EXPECT_THAT(said_in_protobuf({"events", "--types=Warning"}),
              AllOf(HasSubstr("(x3 over"), HasSubstr("Service/web"), HasSubstr("Tested"),
                    HasSubstr("seen in protobuf")));
}

}  // namespace
}  // namespace fairlead::api_test
