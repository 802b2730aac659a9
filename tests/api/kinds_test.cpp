// The kinds around Services, each tried the way people use it: made, listed, described, watched,
// changed, refused, deleted. Both kubectls.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class KindsTest : public KubectlTest {
 protected:
  // Whether a kubectl started with output to `file` comes to print `text`.
  bool shows(const std::string& file, std::string_view text) {
    return eventually(folder_, [&] { return folder_.read(file).find(text) != std::string::npos; });
  }
};

INSTANTIATE_TEST_SUITE_P(Kubectl, KindsTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

constexpr std::string_view kEvents = R"(
apiVersion: v1
kind: Event
metadata: {name: web.old}
involvedObject: {kind: Service, namespace: default, name: web, uid: UID, apiVersion: v1}
reason: SyncFailed
message: it did not work
type: Warning
count: 3
source: {component: tester, host: node-1}
firstTimestamp: 2020-01-01T00:00:00Z
lastTimestamp: 2020-01-01T00:01:00Z
---
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: web.new}
regarding: {kind: Service, namespace: default, name: web, uid: UID, apiVersion: v1}
eventTime: 2020-01-01T00:02:00.000001Z
reportingController: kube-proxy
reportingInstance: kube-proxy-n1
action: Listen
reason: FailedToStart
note: port taken
type: Normal
)";

TEST_P(KindsTest, EventsAreSeenWhereverPeopleLook) {
  io::Child watching = start_kubectl({"get", "events", "--watch", "-o", "name"}, "watch.out");
  ok({"create", "service", "clusterip", "web", "--tcp=80:8080"});
  // kubectl describe asks for the events of this very object.
  std::string events(kEvents);
  const std::string uid = ok({"get", "service", "web", "-o", "jsonpath={.metadata.uid}"});
  for (std::size_t at; (at = events.find("UID")) != std::string::npos;) events.replace(at, 3, uid);
  EXPECT_THAT(ok({"create", "-f", "-"}, events), HasSubstr("web.old created"));
  EXPECT_TRUE(shows("watch.out", "event/web.new")) << folder_.read("watch.out");

  const std::string both = ok({"get", "events"});
  EXPECT_THAT(both, AllOf(ContainsRegex("LAST SEEN +TYPE +REASON +OBJECT +MESSAGE\n"),
                          ContainsRegex("Warning +SyncFailed +service/web +it did not work\n"),
                          ContainsRegex("Normal +FailedToStart +service/web +port taken\n")));
  EXPECT_THAT(ok({"get", "events", "-o", "wide"}),
              AllOf(ContainsRegex("tester, node-1 +it did not work +[^ ]+ +3 +web.old"),
                    ContainsRegex("kube-proxy, kube-proxy-n1 +port taken +[^ ]+ +1 +web.new")));
  EXPECT_THAT(
      ok({"get", "events.events.k8s.io", "web.old", "-o", "jsonpath={.note} {.regarding.name}"}),
      "it did not work web");
  EXPECT_THAT(ok({"describe", "service", "web"}),
              AllOf(ContainsRegex("Warning +SyncFailed .* tester +it did not work\n"),
                    ContainsRegex("Normal +FailedToStart .*port taken\n")));
  EXPECT_THAT(ok({"describe", "event", "web.old"}), ContainsRegex("Reason: +SyncFailed\n"));
  if (is_current()) {
    EXPECT_THAT(ok({"events", "--for", "service/web", "--types=Warning"}),
                AllOf(HasSubstr("it did not work"), Not(HasSubstr("port taken"))));
  }
  struct Case {
    std::string_view selector, names;
  };
  const Case cases[] = {
      {"involvedObject.kind=Service,involvedObject.name=web", "event/web.new\nevent/web.old\n"},
      {"involvedObject.name=other", ""},
      {"reason=SyncFailed", "event/web.old\n"},
      {"type!=Warning", "event/web.new\n"},
      {"source=tester", "event/web.old\n"},
      {"reportingComponent=kube-proxy", "event/web.new\n"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(ok({"get", "events", "--field-selector", std::string(c.selector), "-o", "name"}),
              c.names)
        << c.selector;
  }
  EXPECT_THAT(refused({"get", "events", "--field-selector", "message=x"}),
              HasSubstr("field label not supported: message"));
  EXPECT_THAT(refused({"patch", "events.events.k8s.io", "web.new", "--type=merge", "-p",
                       R"({"note":"other"})"}),
              AllOf(HasSubstr("message: Invalid value"), HasSubstr("field is immutable")));
  EXPECT_THAT(ok({"delete", "event", "web.old", "web.new"}),
              HasSubstr("event \"web.old\" deleted"));
  EXPECT_EQ(ok({"get", "events.events.k8s.io"}), "");
}

constexpr std::string_view kLease = R"(
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: leader}
spec: {holderIdentity: one, leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000001Z"}
)";

TEST_P(KindsTest, LeasesChangeHands) {
  io::Child watching = start_kubectl(
      {"get", "leases", "--watch", "-o", "jsonpath={.spec.holderIdentity};"}, "watch.out");
  EXPECT_THAT(ok({"apply", "-f", "-"}, kLease),
              HasSubstr("lease.coordination.k8s.io/leader created"));
  EXPECT_TRUE(shows("watch.out", "one;")) << folder_.read("watch.out");
  EXPECT_THAT(ok({"apply", "-f", "-"}, kLease), HasSubstr("leader unchanged"));
  const std::string held = ok({"get", "lease", "leader", "-o", "yaml"});
  ok({"patch", "lease", "leader", "--type=merge", "-p", R"({"spec":{"holderIdentity":"two"}})"});
  EXPECT_TRUE(shows("watch.out", "two;")) << folder_.read("watch.out");
  EXPECT_THAT(refused({"replace", "-f", "-"}, held), HasSubstr("the object has been modified"));
  EXPECT_THAT(ok({"get", "leases"}), ContainsRegex("^NAME +HOLDER +AGE\nleader +two +[0-9]+s\n$"));
  EXPECT_THAT(ok({"describe", "lease", "leader"}),
              ContainsRegex("Renew Time: +2026-01-01T00:00:00.000001Z\n"));
  EXPECT_THAT(refused({"patch", "lease", "leader", "--type=merge", "-p",
                       R"({"spec":{"leaseDurationSeconds":0}})"}),
              HasSubstr("spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"));
  EXPECT_THAT(ok({"delete", "lease", "leader"}), HasSubstr("\"leader\" deleted"));
}

TEST_P(KindsTest, ConfigMapsAreMadeChangedAndFrozen) {
  io::Child watching = start_kubectl({"get", "configmaps", "--watch"}, "watch.out");
  ok({"create", "configmap", "settings", "--from-literal=color=blue", "--from-literal=size=9"});
  EXPECT_TRUE(shows("watch.out", "settings   2 ")) << folder_.read("watch.out");
  EXPECT_THAT(ok({"get", "cm", "settings"}),
              ContainsRegex("^NAME +DATA +AGE\nsettings +2 +[0-9]+s\n$"));
  EXPECT_THAT(ok({"describe", "configmap", "settings"}), ContainsRegex("color:\n----\nblue\n"));
  EXPECT_THAT(refused({"create", "configmap", "bad", "--from-literal=color=blue", "-o", "name",
                       "--namespace", "nowhere"}),
              HasSubstr("namespaces \"nowhere\" not found"));
  EXPECT_THAT(refused({"patch", "configmap", "settings", "-p", R"({"data":{"a/b":"c"}})"}),
              HasSubstr("data[a/b]: Invalid value: \"a/b\": a valid config key"));
  ok({"patch", "configmap", "settings", "-p", R"({"immutable":true})"});
  EXPECT_THAT(refused({"patch", "configmap", "settings", "-p", R"({"data":{"color":"red"}})"}),
              HasSubstr("data: Forbidden: field is immutable when `immutable` is set"));
  EXPECT_THAT(ok({"delete", "configmap", "settings"}), HasSubstr("\"settings\" deleted"));
}

constexpr std::string_view kEndpoints = R"(
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets:
- addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]
  notReadyAddresses: [{ip: 10.0.0.3}]
  ports: [{name: sql, port: 5432, protocol: TCP}]
)";

TEST_P(KindsTest, EndpointsOfAServiceWithoutSelectorAreWrittenByHand) {
  io::Child watching = start_kubectl({"get", "endpoints", "--watch", "-o", "name"}, "watch.out");
  EXPECT_THAT(ok({"apply", "-f", "-"}, kEndpoints), HasSubstr("endpoints/db created"));
  EXPECT_TRUE(shows("watch.out", "endpoints/db")) << folder_.read("watch.out");
  EXPECT_THAT(ok({"apply", "-f", "-"}, kEndpoints), HasSubstr("endpoints/db unchanged"));
  EXPECT_THAT(ok({"get", "ep"}),
              AllOf(ContainsRegex("^NAME +ENDPOINTS +AGE\ndb +10.0.0.1:5432,10.0.0.2:5432 +"),
                    ContainsRegex("\nkubernetes +192.0.2.1:[0-9]+ +")));
  EXPECT_THAT(kubectl({"get", "ep", "db"}).err, HasSubstr("v1 Endpoints is deprecated in v1.33+"));
  EXPECT_THAT(ok({"describe", "endpoints", "db"}),
              AllOf(ContainsRegex("NotReadyAddresses: +10.0.0.3\n"), HasSubstr("sql   5432  TCP")));
  EXPECT_THAT(ok({"get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[0].ports[0].name}"}),
              "https");
  EXPECT_THAT(
      refused({"patch", "endpoints", "db", "--type=json", "-p",
               R"([{"op":"replace","path":"/subsets/0/addresses/1/ip","value":"127.0.0.1"}])"}),
      HasSubstr("subsets[0].addresses[1].ip: Invalid value: \"127.0.0.1\": may not be in "
                "the loopback range"));
  EXPECT_THAT(ok({"delete", "endpoints", "db"}), HasSubstr("endpoints \"db\" deleted"));
}

TEST_P(KindsTest, AddressesSayWhoseTheyAre) {
  io::Child watching = start_kubectl({"get", "ipaddresses", "--watch", "-o", "name"}, "watch.out");
  ok({"create", "service", "clusterip", "web", "--tcp=80:8080", "--clusterip=10.96.0.99"});
  EXPECT_TRUE(shows("watch.out", "ipaddress.networking.k8s.io/10.96.0.99"))
      << folder_.read("watch.out");
  EXPECT_THAT(ok({"get", "ipaddresses"}),
              AllOf(ContainsRegex("^NAME +PARENTREF +AGE\n"),
                    ContainsRegex("10.96.0.1 +services/default/kubernetes +[0-9]+s\n"),
                    ContainsRegex("10.96.0.99 +services/default/web +[0-9]+s\n")));
  EXPECT_THAT(ok({"describe", "ipaddress", "10.96.0.99"}), ContainsRegex("Resource: +services\n"));
  EXPECT_THAT(refused({"patch", "ipaddress", "10.96.0.99", "--type=merge", "-p",
                       R"({"spec":{"parentRef":{"name":"other"}}})"}),
              AllOf(HasSubstr("spec.parentRef: Invalid value"), HasSubstr("field is immutable")));
  ok({"delete", "service", "web"});
  EXPECT_THAT(refused({"get", "ipaddress", "10.96.0.99"}), HasSubstr("NotFound"));
  constexpr std::string_view kGateway = R"(
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: {name: 10.96.0.99}
spec: {parentRef: {group: gateway.networking.k8s.io, resource: gateways, name: edge}}
)";
  EXPECT_THAT(ok({"apply", "-f", "-"}, kGateway), HasSubstr("10.96.0.99 created"));
  EXPECT_THAT(
      refused({"create", "service", "clusterip", "web", "--tcp=80:8080", "--clusterip=10.96.0.99"}),
      HasSubstr("already allocated"));
  EXPECT_THAT(ok({"delete", "ipaddress", "10.96.0.99"}), HasSubstr("deleted"));
}

TEST_P(KindsTest, RangesOfAddressesAreListedAndGrowByOneFamily) {
  EXPECT_THAT(ok({"get", "servicecidrs"}),
              ContainsRegex("^NAME +CIDRS +AGE\nkubernetes +10.96.0.0/16 +[0-9]+s\n$"));
  io::Child watching = start_kubectl(
      {"get", "servicecidrs", "--watch", "-o", "jsonpath={.spec.cidrs};"}, "watch.out");
  constexpr std::string_view kRange = R"(
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.97.0.0/16]}
)";
  EXPECT_THAT(ok({"apply", "-f", "-"}, kRange), HasSubstr("more created"));
  EXPECT_TRUE(shows("watch.out", "[\"10.97.0.0/16\"]")) << folder_.read("watch.out");
  EXPECT_THAT(refused({"patch", "servicecidr", "more", "--type=merge", "-p",
                       R"({"spec":{"cidrs":["10.98.0.0/16"]}})"}),
              HasSubstr("spec.cidrs: Invalid value"));
  ok({"patch", "servicecidr", "more", "--type=merge", "-p",
      R"({"spec":{"cidrs":["10.97.0.0/16","fd00:97::/112"]}})"});
  EXPECT_THAT(ok({"describe", "servicecidr", "more"}), HasSubstr("fd00:97::/112"));
  EXPECT_THAT(refused({"create", "-f", "-"}, R"({"apiVersion":"networking.k8s.io/v1",
      "kind":"ServiceCIDR","metadata":{"name":"bad"},"spec":{"cidrs":["10.0.0.1/8"]}})"),
              HasSubstr("spec.cidrs[0]: Invalid value: \"10.0.0.1/8\""));
  EXPECT_THAT(ok({"delete", "servicecidr", "more"}), HasSubstr("deleted"));
}

TEST_P(KindsTest, AFurtherRangeGivesAddressesAndStaysWhileTheyAreInUse) {
  constexpr std::string_view kReady =
      R"(jsonpath={.status.conditions[?(@.type=="Ready")]['status','reason']})";
  const auto ready = [&](const std::string& name) {
    return ok({"get", "servicecidr", name, "-o", std::string(kReady)});
  };
  EXPECT_THAT(ready("kubernetes"), testing::StartsWith("True"));
  constexpr std::string_view kRange = R"(
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.200.0.0/24]}
)";
  ok({"apply", "-f", "-"}, kRange);
  ok({"create", "service", "clusterip", "web", "--tcp=80:8080", "--clusterip=10.200.0.9"});
  io::Child deleting =
      start_kubectl({"delete", "servicecidr", "more", "--timeout=60s"}, "delete.out");
  ok({"wait", "--for=condition=Ready=False", "servicecidr/more", "--timeout=30s"});
  EXPECT_EQ(ready("more"), "False Terminating");
  EXPECT_NE(ok({"get", "servicecidr", "more", "-o", "jsonpath={.metadata.deletionTimestamp}"}), "");
  EXPECT_THAT(
      refused({"create", "service", "clusterip", "web2", "--tcp=80", "--clusterip=10.200.0.10"}),
      HasSubstr("not in the valid range"));
  ok({"delete", "service", "web"});
  const auto deleted = deleting.wait_blocking();
  EXPECT_TRUE(deleted && deleted->ok()) << folder_.read("delete.out");
  EXPECT_THAT(refused({"get", "servicecidr", "more"}), HasSubstr("not found"));
}

TEST_P(KindsTest, SubresourcesDoWhatOnlyTheyMay) {
  ok({"run", "web", "--image=example/web:1"});
  const std::string binding = folder_.write("binding.json", R"({"apiVersion":"v1","kind":"Binding",
      "metadata":{"name":"web"},"target":{"kind":"Node","name":"node-1"}})");
  const std::string pod = "/api/v1/namespaces/default/pods/web";
  ok({"create", "--raw", pod + "/binding", "-f", binding});
  EXPECT_EQ(ok({"get", "pod", "web", "-o", "jsonpath={.spec.nodeName}"}), "node-1");
  EXPECT_THAT(refused({"create", "--raw", pod + "/binding", "-f", binding}),
              HasSubstr("already assigned to node"));

  ok({"create", "-f", "-"}, R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node-1"}})");
  const std::string status = folder_.write("status.json", R"({"apiVersion":"v1","kind":"Node",
      "metadata":{"name":"node-1"},"spec":{"unschedulable":true},
      "status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  ok({"replace", "--raw", "/api/v1/nodes/node-1/status", "-f", status});
  EXPECT_THAT(ok({"get", "node", "node-1"}), ContainsRegex("node-1 +Ready +<none>"))
      << "and not unschedulable: that is no status";

  ok({"create", "namespace", "shop"});
  ok({"patch", "namespace", "shop", "--type=merge", "-p", R"({"spec":{"finalizers":["a/b"]}})"});
  EXPECT_EQ(ok({"get", "namespace", "shop", "-o", "jsonpath={.spec.finalizers}"}),
            "[\"kubernetes\"]")
      << "only finalize changes these";
  const std::string held = folder_.write("held.json", R"({"apiVersion":"v1","kind":"Namespace",
      "metadata":{"name":"shop"},"spec":{"finalizers":["kubernetes","example.com/mine"]}})");
  ok({"replace", "--raw", "/api/v1/namespaces/shop/finalize", "-f", held});
  EXPECT_EQ(ok({"get", "namespace", "shop", "-o", "jsonpath={.spec.finalizers[1]}"}),
            "example.com/mine");
  // The server lets go of it when it is empty, the other one when it is told to.
  ok({"delete", "namespace", "shop", "--wait=false"});
  // Asked for again and again: of one object kubectl's watch leaves out what happened before it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string left;
  do {
    left = ok({"get", "namespace", "shop", "-o", "jsonpath={.spec.finalizers}"});
  } while (left != R"(["example.com/mine"])" && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(left, R"(["example.com/mine"])");
  const std::string free = folder_.write("free.json", R"({"apiVersion":"v1","kind":"Namespace",
      "metadata":{"name":"shop"},"spec":{"finalizers":[]}})");
  ok({"replace", "--raw", "/api/v1/namespaces/shop/finalize", "-f", free});
  EXPECT_THAT(refused({"get", "namespace", "shop"}), HasSubstr("NotFound"));
}

}  // namespace
}  // namespace fairlead::api_test
