// A day's work with kubectl beyond creating and deleting: looking closely, waiting, exposing,
// and being told clearly what cannot be had. Both kubectls.
#include <csignal>
#include <set>
#include <sstream>

#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

class EverydayTest : public KubectlTest {
 protected:
  // Sets the condition Ready of a pod, as its node would.
  void make_ready(const std::string& pod) {
    const std::string status = folder_.write(
        "status.json",
        fmt::format(
            R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}","namespace":"default"}},)"
            R"("status":{{"phase":"Running","podIP":"10.0.0.7","podIPs":[{{"ip":"10.0.0.7"}}],)"
            R"("conditions":[{{"type":"Ready","status":"True"}}]}}}})",
            pod));
    ok({"replace", "--raw", "/api/v1/namespaces/default/pods/" + pod + "/status", "-f", status});
  }
};

INSTANTIATE_TEST_SUITE_P(Kubectl, EverydayTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

constexpr std::string_view kService = R"(
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
)";

TEST_P(EverydayTest, APodIsRunExposedAndWaitedFor) {
  ok({"run", "web", "--image=example/web:1", "--port=8080", "--labels=app=web"});
  EXPECT_THAT(ok({"expose", "pod", "web", "--port=80", "--target-port=8080"}),
              HasSubstr("service/web exposed"));
  EXPECT_EQ(ok({"get", "service", "web", "-o",
                "jsonpath={.spec.selector.app} {.spec.ports[0].port} {.spec.ports[0].targetPort}"}),
            "web 80 8080");
  EXPECT_THAT(refused({"wait", "--for=condition=Ready", "pod/web", "--timeout=1s"}),
              HasSubstr("timed out waiting for the condition"));
  io::Child waiting =
      start_kubectl({"wait", "--for=condition=Ready", "pod/web", "--timeout=30s"}, "wait.out");
  make_ready("web");
  const auto ended = waiting.wait_blocking();
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->ok()) << folder_.read("wait.out");
  EXPECT_EQ(folder_.read("wait.out"), "pod/web condition met\n");
  EXPECT_THAT(ok({"get", "pods", "-o", "wide"}),
              ContainsRegex("web +0/1 +Running +0 +[0-9]+s +10\\.0\\.0\\.7 +<none> "));
  EXPECT_THAT(ok({"get", "pods", "--field-selector", "status.phase=Running", "-o", "name"}),
              "pod/web\n");
  EXPECT_THAT(ok({"get", "pods", "--field-selector", "status.phase!=Running", "-o", "name"}), "");
  EXPECT_THAT(ok({"delete", "pod", "web", "--timeout=20s"}), HasSubstr("pod \"web\" deleted"));
}

TEST_P(EverydayTest, DescribeNeedsNoEventsToWork) {
  ok({"apply", "-f", "-"}, kService);
  ok({"run", "web", "--image=example/web:1"});
  for (const char* what : {"pod/web", "service/web"}) {
    EXPECT_THAT(ok({"describe", what}), ContainsRegex("Events: +<none>")) << what;
  }
  EXPECT_EQ(ok({"get", "events"}), "");
}

TEST_P(EverydayTest, DescribeOfAServiceShowsItsEndpoints) {
  ok({"apply", "-f", "-"}, kService);
  ok({"create", "-f", "-"}, R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
    "metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},
    "addressType":"IPv4","ports":[{"name":"","port":8080}],
    "endpoints":[{"addresses":["10.0.0.7"],"conditions":{"ready":true}}]})");
  // What kubectl 1.20 asks for; here no controller keeps either.
  ok({"create", "-f", "-"}, R"({"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"web"},
    "subsets":[{"addresses":[{"ip":"10.0.0.7"}],"ports":[{"port":8080}]}]})");
  EXPECT_THAT(ok({"describe", "service", "web"}), ContainsRegex("Endpoints: +10.0.0.7:8080\n"));
}

TEST_P(EverydayTest, YamlThatWasReadCanBeWrittenBack) {
  ok({"create", "-f", "-"}, kService);
  const std::string yaml = ok({"get", "service", "web", "-o", "yaml"});
  EXPECT_THAT(yaml, AllOf(HasSubstr("kind: Service"), HasSubstr("internalTrafficPolicy: Cluster")));
  EXPECT_THAT(ok({"replace", "-f", "-"}, yaml), HasSubstr("service/web replaced"));
  EXPECT_EQ(ok({"get", "service", "web", "-o", "yaml"}), yaml)
      << "nothing changed, nothing written";
  const std::string json = ok({"get", "services", "-o", "json"});
  EXPECT_THAT(json, AllOf(HasSubstr("\"kind\": \"List\""), HasSubstr("\"name\": \"web\"")));
  EXPECT_THAT(ok({"replace", "--force", "-f", "-"}, kService), HasSubstr("service/web replaced"));
}

TEST_P(EverydayTest, ADeletionIsWaitedFor) {
  ok({"create", "-f", "-"}, kService);
  EXPECT_THAT(ok({"delete", "service", "web", "--cascade=foreground", "--timeout=20s"}),
              HasSubstr("service \"web\" deleted"));
  EXPECT_THAT(refused({"get", "service", "web"}), HasSubstr("NotFound"));
}

TEST_P(EverydayTest, AWatchShowsEachChange) {
  ok({"apply", "-f", "-"}, kService);
  // As a list of one: of a single object kubectl leaves out what changes before its watch begins.
  io::Child watching =
      start_kubectl({"get", "services", "--field-selector=metadata.name=web", "--watch", "-o",
                     "jsonpath={.metadata.labels.step} {.spec.type};"},
                    "watch.out");
  const auto shows = [this](std::string_view text) {
    return eventually(folder_,
                      [&] { return folder_.read("watch.out").find(text) != std::string::npos; });
  };
  ASSERT_TRUE(shows(" ClusterIP;")) << folder_.read("watch.out");
  ok({"label", "service", "web", "step=one"});
  EXPECT_TRUE(shows("one ClusterIP;")) << folder_.read("watch.out");
  ok({"patch", "service", "web", "-p", R"({"spec":{"type":"NodePort"}})"});
  EXPECT_TRUE(shows("one NodePort;")) << folder_.read("watch.out");
  EXPECT_TRUE(watching.running());
}

TEST_P(EverydayTest, OtherTypesOfServiceAreMadeByName) {
  ok({"create", "service", "loadbalancer", "lb", "--tcp=80:8080"});
  ok({"create", "service", "externalname", "db", "--external-name=db.example.com"});
  EXPECT_THAT(
      ok({"get", "services", "lb", "db"}),
      AllOf(ContainsRegex("lb +LoadBalancer +10\\.96\\.[0-9.]+ +<pending> +80:3[0-9]+/TCP "),
            ContainsRegex("db +ExternalName +<none> +db\\.example\\.com +<none> ")));
}

TEST_P(EverydayTest, TheServerSaysWhatItIs) {
  EXPECT_THAT(ok({"version"}), HasSubstr("v1.36.0-fairlead"));
  EXPECT_THAT(ok({"cluster-info"}), HasSubstr("https://127.0.0.1:"));
  EXPECT_EQ(ok({"get", "--raw", "/readyz"}), "ok");
  const std::string resources = ok({"api-resources"});
  for (const char* line :
       {"services +svc +v1 +true +Service", "pods +po +v1 +true +Pod", "nodes +no +v1 +false +Node",
        "namespaces +ns +v1 +false +Namespace", "endpoints +ep +v1 +true +Endpoints",
        "events +ev +v1 +true +Event", "leases +coordination.k8s.io/v1 +true +Lease",
        "servicecidrs +networking.k8s.io/v1 +false +ServiceCIDR",
        "ipaddresses +ip +networking.k8s.io/v1 +false +IPAddress",
        "endpointslices +discovery.k8s.io/v1 +true +EndpointSlice"}) {
    EXPECT_THAT(resources, ContainsRegex(line));
  }
  EXPECT_THAT(ok({"api-versions"}), HasSubstr("discovery.k8s.io/v1\n"));
}

// By the server's schema: OpenAPI v3 for the current kubectl, v2 in protobuf for the old one.
TEST_P(EverydayTest, TheSchemaExplainsAndChecksManifests) {
  EXPECT_THAT(ok({"explain", "service.spec.ports"}), ContainsRegex("nodePort\t<integer>"));
  EXPECT_THAT(ok({"explain", "endpointslices.endpoints.conditions"}),
              ContainsRegex("serving\t<boolean>"));
  EXPECT_THAT(ok({"explain", "service.spec.externalTrafficPolicy"}),
              HasSubstr("the client's address may be hidden"));
  std::string faulty(kService);
  faulty.replace(faulty.find("selector"), 8, "selektor");
  EXPECT_THAT(refused({"create", "-f", "-"}, faulty), HasSubstr("unknown field \"s"));
  EXPECT_THAT(ok({"apply", "--dry-run=server", "-f", "-"}, kService),
              HasSubstr("created (server dry run)"));
  EXPECT_EQ(ok({"get", "services", "-o", "name"}), "service/kubernetes\n");
}

TEST_P(EverydayTest, WhatIsNotOfferedIsRefusedInWords) {
  EXPECT_THAT(refused({"get", "deployments"}), HasSubstr("doesn't have a resource type"));
}

TEST_P(EverydayTest, EveryFaultOfAManifestIsToldAtOnce) {
  const std::string said = refused({"create", "-f", "-"}, R"(
apiVersion: v1
kind: Service
metadata: {name: bad}
spec:
  sessionAffinity: Cookie
  ports: [{port: 0, targetPort: 80}, {port: 99999, targetPort: 80, protocol: ICMP}]
)");
  for (const char* field :
       {"spec.ports[0].name", "spec.ports[0].port", "spec.ports[1].name", "spec.ports[1].port",
        "spec.ports[1].protocol", "spec.sessionAffinity"}) {
    EXPECT_THAT(said, HasSubstr(field));
  }
  struct Case {
    std::string_view manifest, text;
  };
  const Case cases[] = {
      {"apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: eighty}]}\n",
       "spec.ports[0].port"},
      {"apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: [\n", "yaml"},
      {"apiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name}\nspec: {ports: [{port: 1}]}\n",
       "Bad_Name"},
      {"apiVersion: v9\nkind: Service\nmetadata: {name: bad}\n", "no matches for kind"},
      {"apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: nope}\n"
       "spec: {ports: [{port: 1}]}\n",
       "namespaces \"nope\" not found"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(refused({"create", "-f", "-"}, c.manifest), HasSubstr(c.text)) << c.manifest;
  EXPECT_EQ(ok({"get", "services", "-o", "name"}), "service/kubernetes\n");
}

TEST_P(EverydayTest, DeletingANamespaceTakesItsContentsAlong) {
  ok({"create", "namespace", "shop"});
  ok({"apply", "-n", "shop", "-f", "-"}, kService);
  ok({"run", "web", "-n", "shop", "--image=example/web:1"});
  EXPECT_THAT(ok({"delete", "namespace", "shop", "--timeout=20s"}), HasSubstr("deleted"));
  EXPECT_THAT(refused({"get", "namespace", "shop"}), HasSubstr("NotFound"));
  ok({"create", "namespace", "shop"});
  EXPECT_EQ(ok({"get", "services,pods", "-n", "shop", "-o", "name"}), "");
  EXPECT_THAT(refused({"delete", "namespace", "default"}), HasSubstr("may not be deleted"));
}

// kubectl prints a line when it has the server's answer, not before.
TEST_P(EverydayTest, WhatWasAcknowledgedSurvivesAKill) {
  std::string manifests;
  for (int i = 0; i < 400; ++i) {
    manifests += fmt::format(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{}}}\nspec: {{ports: [{{port: "
        "1}}]}}\n",
        i);
  }
  const std::string file = folder_.write("many.yaml", manifests);
  io::Child creating = start_kubectl({"create", "-f", file}, "create.out");
  ASSERT_TRUE(eventually(folder_, [this] {
    return folder_.read("create.out").find("service/s20 created") != std::string::npos;
  })) << folder_.read("create.out");
  server_->stop(SIGKILL);
  ASSERT_TRUE(creating.wait_blocking());
  start_server();
  std::istringstream said(folder_.read("create.out"));
  const std::string held = ok({"get", "services", "-o", "name"});
  std::size_t acknowledged = 0;
  for (std::string line; std::getline(said, line);) {
    const std::size_t end = line.find(" created");
    if (end == std::string::npos) continue;
    ++acknowledged;
    EXPECT_THAT(held, HasSubstr(line.substr(0, end) + "\n"));
  }
  EXPECT_GT(acknowledged, 20U);
  EXPECT_LT(acknowledged, 400U) << "the server was killed in the midst of it";
  std::string ips =
      ok({"get", "services", "-o", "jsonpath={range .items[*]}{.spec.clusterIP}{\"\\n\"}{end}"});
  std::istringstream lines(ips);
  std::set<std::string> distinct;
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) distinct.insert(line);
  EXPECT_EQ(distinct.size(), count) << "no address was given out twice";
}

}  // namespace
}  // namespace fairlead::api_test
