// What people do with kubectl, done with a current one and with Debian's 1.20, on all five kinds.
#include <csignal>
#include <sstream>

#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

INSTANTIATE_TEST_SUITE_P(Kubectl, KubectlTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

constexpr std::string_view kManifest = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  containers: [{name: web, image: "example/web:1", ports: [{containerPort: 8080}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.7], conditions: {ready: true}}]
)";

TEST_P(KubectlTest, FiveKindsAreAppliedDescribedAndDeleted) {
  const std::string manifest = folder_.write("all.yaml", kManifest);
  const std::string applied = ok({"apply", "-f", manifest});
  for (const char* line : {"namespace/shop created", "node/node-1 created", "service/web created",
                           "pod/web-0 created", "endpointslice.discovery.k8s.io/web-x1 created"}) {
    EXPECT_THAT(applied, HasSubstr(line));
  }
  // kubectl 1.20 does not know EndpointSlice v1 and takes defaulted list elements for changes.
  const std::string again = ok({"apply", "-f", manifest});
  for (const char* line :
       {"namespace/shop unchanged", "node/node-1 unchanged", "service/web unchanged"}) {
    EXPECT_THAT(again, HasSubstr(line));
  }
  EXPECT_THAT(ok({"get", "-n", "shop", "all"}),
              testing::AllOf(HasSubstr("pod/web-0"), HasSubstr("service/web")));
  EXPECT_THAT(ok({"describe", "-n", "shop", "service", "web"}),
              testing::AllOf(HasSubstr("app=web"), ContainsRegex("TargetPort: +8080/TCP")));
  EXPECT_THAT(ok({"describe", "-n", "shop", "pod", "web-0"}), HasSubstr("example/web:1"));
  EXPECT_THAT(ok({"describe", "-n", "shop", "endpointslice", "web-x1"}), HasSubstr("10.0.0.7"));
  EXPECT_THAT(ok({"describe", "node", "node-1"}), ContainsRegex("Name: +node-1"));
  EXPECT_THAT(ok({"describe", "namespace", "shop"}), ContainsRegex("Status: +Active"));
  // The namespace, first in the file, takes its contents along before kubectl comes to them.
  const std::string deleted = ok({"delete", "-f", manifest, "--ignore-not-found", "--timeout=30s"});
  EXPECT_THAT(deleted, HasSubstr("namespace \"shop\" deleted"));
  EXPECT_THAT(ok({"get", "services,pods,endpointslices", "-n", "shop"}), "");
  EXPECT_THAT(refused({"get", "namespace", "shop"}),
              HasSubstr("(NotFound): namespaces \"shop\" not found"));
}

TEST_P(KubectlTest, CreateIsOnePostThatTheServerValidates) {
  if (!is_current()) GTEST_SKIP() << "1.20 validates by itself";
  const std::string manifest = folder_.write("all.yaml", kManifest);
  ok({"create", "namespace", "shop"});
  const io::Output output = kubectl({"create", "-f", manifest, "-l", "app=web", "-v=8"});
  EXPECT_THAT(output.out, HasSubstr("service/web created"));
  std::istringstream said(output.err);
  std::vector<std::string> posts;
  for (std::string line; std::getline(said, line);) {
    if (line.find("POST") != std::string::npos && line.find("/services") != std::string::npos)
      posts.push_back(line);
  }
  EXPECT_THAT(posts, testing::Contains(HasSubstr("fieldValidation=Strict"))) << output.err;
  EXPECT_THAT(posts, testing::Each(HasSubstr("/namespaces/shop/services?")));
}

TEST_P(KubectlTest, TablesHaveTheColumnsPeopleKnow) {
  ok({"apply", "-f", folder_.write("all.yaml", kManifest)});
  EXPECT_THAT(ok({"get", "-n", "shop", "services"}),
              ContainsRegex("^NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\\(S\\) +AGE\nweb "
                            "+ClusterIP +10\\.96\\.[0-9.]+ +<none> "
                            "+80/TCP +[0-9]+s\n$"));
  EXPECT_THAT(ok({"get", "-n", "shop", "services", "-o", "wide"}),
              ContainsRegex("SELECTOR\nweb .* app=web\n$"));
  EXPECT_THAT(
      ok({"get", "-n", "shop", "pods"}),
      ContainsRegex("^NAME +READY +STATUS +RESTARTS +AGE\nweb-0 +0/1 +Pending +0 +[0-9]+s\n$"));
  EXPECT_THAT(ok({"get", "nodes"}),
              ContainsRegex("^NAME +STATUS +ROLES +AGE +VERSION\nnode-1 +Unknown +<none> "));
  EXPECT_THAT(ok({"get", "namespaces"}),
              ContainsRegex("^NAME +STATUS +AGE\ndefault +Active +[0-9]+s\n"));
  EXPECT_THAT(
      ok({"get", "-n", "shop", "endpointslices"}),
      ContainsRegex(
          "^NAME +ADDRESSTYPE +PORTS +ENDPOINTS +AGE\nweb-x1 +IPv4 +8080 +10.0.0.7 +[0-9]+s\n$"));
  EXPECT_THAT(ok({"get", "services", "-A"}),
              ContainsRegex("NAMESPACE +NAME .*\n(.*\n)*shop +web "));
}

TEST_P(KubectlTest, ChangesOfEveryKindOfPatchLand) {
  ok({"apply", "-f", folder_.write("all.yaml", kManifest)});
  EXPECT_THAT(ok({"label", "-n", "shop", "service", "web", "tier=front"}), HasSubstr("labeled"));
  EXPECT_THAT(ok({"annotate", "-n", "shop", "service", "web", "note=hello"}),
              HasSubstr("annotated"));
  ok({"patch", "-n", "shop", "service", "web", "-p", R"({"spec":{"sessionAffinity":"ClientIP"}})"});
  ok({"patch", "-n", "shop", "service", "web", "--type=merge", "-p",
      R"({"spec":{"selector":{"app":"new"}}})"});
  ok({"patch", "-n", "shop", "service", "web", "--type=json", "-p",
      R"([{"op":"replace","path":"/spec/ports/0/port","value":81}])"});
  EXPECT_EQ(
      ok({"get", "-n", "shop", "service", "web", "-o",
          "jsonpath={.metadata.labels.tier} {.metadata.annotations.note} {.spec.sessionAffinity} "
          "{.spec.selector.app} {.spec.ports[0].port}"}),
      "front hello ClientIP new 81");
  EXPECT_THAT(ok({"patch", "-n", "shop", "service", "web", "-p",
                  R"({"spec":{"sessionAffinity":"ClientIP"}})"}),
              HasSubstr("no change"));
  folder_.write("editor", "#!/bin/sh\nsed -i 's/tier: front/tier: back/' \"$1\"\n", 0700);
  EXPECT_THAT(ok({"edit", "-n", "shop", "service", "web"}), HasSubstr("edited"));
  EXPECT_EQ(ok({"get", "-n", "shop", "service", "web", "-o", "jsonpath={.metadata.labels.tier}"}),
            "back");
  ok({"label", "-n", "shop", "service", "web", "tier-"});
  EXPECT_EQ(ok({"get", "-n", "shop", "service", "web", "-o", "jsonpath={.metadata.labels.tier}"}),
            "");
}

TEST_P(KubectlTest, ApplyOfAChangedManifestChangesOnlyThat) {
  const std::string manifest = folder_.write("all.yaml", kManifest);
  ok({"apply", "-f", manifest});
  const std::string ip =
      ok({"get", "-n", "shop", "service", "web", "-o", "jsonpath={.spec.clusterIP}"});
  EXPECT_THAT(ip, ContainsRegex("^10\\.96\\."));
  std::string changed(kManifest);
  changed.replace(changed.find("port: 80,"), 9, "port: 82,");
  EXPECT_THAT(ok({"apply", "-f", folder_.write("all.yaml", changed)}),
              HasSubstr("service/web configured"));
  EXPECT_EQ(ok({"get", "-n", "shop", "service", "web", "-o",
                "jsonpath={.spec.clusterIP} {.spec.ports[*].port}"}),
            ip + " 82");
  EXPECT_THAT(ok({"replace", "-f", manifest}), HasSubstr("service/web replaced"));
  EXPECT_EQ(ok({"get", "-n", "shop", "service", "web", "-o", "jsonpath={.spec.clusterIP}"}), ip);
}

TEST_P(KubectlTest, WatchPrintsWhatHappens) {
  io::Child watching = start_kubectl({"get", "services", "-w"}, "watch.out");
  ASSERT_TRUE(eventually(folder_, [this] {
    return folder_.read("watch.out").find("kubernetes ") != std::string::npos;
  })) << folder_.read("watch.out");
  ok({"create", "-f", "-"},
     R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"late"},"spec":{"ports":[{"port":1}]}})");
  EXPECT_TRUE(eventually(folder_, [this] {
    return folder_.read("watch.out").find("\nlate ") != std::string::npos;
  })) << folder_.read("watch.out");
  EXPECT_TRUE(watching.running());
}

// These post protobuf, without falling back to JSON.
TEST_P(KubectlTest, GeneratorsCreateThroughProtobuf) {
  ok({"create", "namespace", "made"});
  ok({"create", "service", "clusterip", "c1", "--tcp=80:8080", "-n", "made"});
  ok({"create", "service", "nodeport", "c2", "--tcp=81:8081", "-n", "made"});
  EXPECT_EQ(ok({"get", "services", "-n", "made", "-o",
                "jsonpath={range .items[*]}{.metadata.name} {.spec.type} "
                "{.spec.ports[0].port}-{.spec.ports[0].targetPort}"
                " {.spec.selector.app};{end}"}),
            "c1 ClusterIP 80-8080 c1;c2 NodePort 81-8081 c2;");
}

TEST_P(KubectlTest, AMalformedManifestIsRefusedByFieldAndChangesNothing) {
  const std::string said = refused({"create", "-f", "-"},
                                   "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\n"
                                   "spec: {ports: [{port: 99999}]}\n");
  EXPECT_THAT(said, HasSubstr("The Service \"bad\" is invalid"));
  EXPECT_THAT(said, HasSubstr("spec.ports[0].port"));
  EXPECT_THAT(said, HasSubstr("99999"));
  EXPECT_THAT(refused({"get", "service", "bad"}), HasSubstr("NotFound"));
}

TEST_P(KubectlTest, ListsAreSelectedAndChunked) {
  for (int i = 0; i < 5; ++i) {
    ok({"create", "-f", "-"},
       fmt::format(
           R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"n{}","labels":{{"odd":"{}"}}}}}})",
           i, i % 2));
  }
  EXPECT_EQ(ok({"get", "nodes", "--chunk-size=2", "-o", "name"}),
            "node/n0\nnode/n1\nnode/n2\nnode/n3\nnode/n4\n");
  EXPECT_EQ(ok({"get", "nodes", "-l", "odd=1", "-o", "name"}), "node/n1\nnode/n3\n");
  EXPECT_EQ(ok({"get", "nodes", "--field-selector", "metadata.name=n2", "-o", "name"}),
            "node/n2\n");
  ok({"delete", "nodes", "-l", "odd=0"});
  EXPECT_EQ(ok({"get", "nodes", "-o", "name"}), "node/n1\nnode/n3\n");
}

TEST_P(KubectlTest, ObjectsSurviveAKilledServer) {
  ok({"apply", "-f", folder_.write("all.yaml", kManifest)});
  const std::vector<std::string> look{"get", "service,pod,endpointslice", "-n", "shop", "-o",
                                      "yaml"};
  const std::string before = ok(look);
  server_->stop(SIGKILL);
  start_server();
  EXPECT_EQ(ok(look), before);
}

TEST_P(KubectlTest, TerminatedServerEndsCleanlyInTheMidstOfAWatch) {
  io::Child watching = start_kubectl({"get", "services", "-w"}, "watch.out");
  ASSERT_TRUE(eventually(folder_, [this] {
    return folder_.read("watch.out").find("kubernetes ") != std::string::npos;
  }));
  EXPECT_EQ(server_->stop(SIGTERM), io::ExitStatus{.code = 0});
}

TEST(ApiServerProgram, AWrongFlagIsOneClearLine) {
  struct Case {
    std::vector<std::string> flags;
    int code;
    std::string_view text;
  };
  const Case cases[] = {
      {{"--nope"}, 2, "--nope"},
      {{"--secure-port", "x"}, 2, "--secure-port"},
      {{"--service-cluster-ip-range", "banana"}, 1, "--service-cluster-ip-range: \"banana\""},
      {{"--service-cluster-ip-range", "10.0.0.0/16,10.1.0.0/16"}, 1, "same family"},
      {{"--service-node-port-range", "9-1"}, 1, "--service-node-port-range: \"9-1\""},
      {{"--bind-address", "localhost"}, 1, "--bind-address"},
      {{"--token-auth-file", "/nonexistent"}, 1, "--token-auth-file"},
      {{"--tls-san", "a b"}, 1, "--tls-san: \"a b\""},
      {{"--data-dir", "/proc/fairlead", "--secure-port", "0", "--bind-address", "127.0.0.1"},
       1,
       "/proc/fairlead"},
  };
  for (const Case& c : cases) {
    io::Command command{.argv = {server_program()}};
    command.argv.insert(command.argv.end(), c.flags.begin(), c.flags.end());
    const auto output = io::run_blocking(command, "", std::chrono::seconds(10));
    ASSERT_TRUE(output);
    EXPECT_EQ(output->status.code, c.code) << c.text;
    EXPECT_THAT(output->err, HasSubstr(c.text));
    EXPECT_EQ(std::count(output->err.begin(), output->err.end(), '\n'), 1) << output->err;
  }
}

}  // namespace
}  // namespace fairlead::api_test
