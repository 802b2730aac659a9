// The kinds beside Service: their rules, one row each, and the tables people see of them
// (spec 2.11, 4.9).
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;

class Kinds : public KindsTest {};

TEST_F(Kinds, ManifestsAreRefusedByFieldAndReason) {
  struct Case {
    std::string_view name, resource, json;
    std::vector<std::string> causes;
  };
  const Case cases[] = {
      {"pod", "pods", R"({"spec":{"containers":[{"name":"a","image":"i"}]}})", {}},
      {"pod without containers", "pods", R"({"spec":{}})", {"FieldValueRequired spec.containers"}},
      {"container without name and image",
       "pods",
       R"({"spec":{"containers":[{}]}})",
       {"FieldValueRequired spec.containers[0].name",
        "FieldValueRequired spec.containers[0].image"}},
      {"container name",
       "pods",
       R"({"spec":{"containers":[{"name":"A_","image":"i"}]}})",
       {"FieldValueInvalid spec.containers[0].name"}},
      {"container name twice",
       "pods",
       R"({"spec":{"initContainers":[{"name":"a","image":"i"}],"containers":[{"name":"a","image":"i"}]}})",
       {"FieldValueDuplicate spec.containers[0].name"}},
      {"container ports",
       "pods",
       R"({"spec":{"containers":[{"name":"a","image":"i","ports":[
          {"containerPort":0},{"containerPort":1,"protocol":"X"},{"containerPort":2,"name":"n"},
          {"containerPort":3,"name":"n"},{"containerPort":4,"name":"sixteen-letters-"}]}]}})",
       {"FieldValueInvalid spec.containers[0].ports[0].containerPort",
        "FieldValueNotSupported spec.containers[0].ports[1].protocol",
        "FieldValueDuplicate spec.containers[0].ports[3].name",
        "FieldValueInvalid spec.containers[0].ports[4].name"}},
      {"probe without handler",
       "pods",
       R"({"spec":{"containers":[{"name":"a","image":"i","readinessProbe":{}}]}})",
       {"FieldValueRequired spec.containers[0].readinessProbe"}},
      {"probe with two handlers",
       "pods",
       R"({"spec":{"containers":[{"name":"a","image":"i","readinessProbe":{
          "tcpSocket":{"port":1},"httpGet":{"port":1}}}]}})",
       {"FieldValueForbidden spec.containers[0].readinessProbe"}},
      {"restart policy",
       "pods",
       R"({"spec":{"restartPolicy":"Maybe","containers":[{"name":"a","image":"i"}]}})",
       {"FieldValueNotSupported spec.restartPolicy"}},

      {"slice",
       "endpointslices",
       R"({"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":["10.0.0.1"]}]})",
       {}},
      {"slice without type", "endpointslices", "{}", {"FieldValueRequired addressType"}},
      {"slice of an unknown type",
       "endpointslices",
       R"({"addressType":"IPX"})",
       {"FieldValueNotSupported addressType"}},
      {"slice of names",
       "endpointslices",
       R"({"addressType":"FQDN","endpoints":[{"addresses":["a.example"]},{"addresses":["a_b"]}]})",
       {"FieldValueInvalid endpoints[1].addresses[0]"}},
      {"slice ports",
       "endpointslices",
       R"({"addressType":"IPv4","ports":[{"port":0,"name":"a"},{"name":"A_"},
          {"protocol":"X","name":"c"},{"port":1,"name":"a"}]})",
       {"FieldValueInvalid ports[0].port", "FieldValueInvalid ports[1].name",
        "FieldValueNotSupported ports[2].protocol", "FieldValueDuplicate ports[3].name"}},
      {"slice addresses",
       "endpointslices",
       R"({"addressType":"IPv4","endpoints":[{"addresses":[]},{"addresses":["fd00::1","10.0.0.1"]},
          {"addresses":["127.0.0.1","169.254.0.1","0.0.0.0","224.0.0.1","010.0.0.1"]}]})",
       {"FieldValueRequired endpoints[0].addresses", "FieldValueInvalid endpoints[1].addresses[0]",
        "FieldValueInvalid endpoints[2].addresses[0]",
        "FieldValueInvalid endpoints[2].addresses[1]",
        "FieldValueInvalid endpoints[2].addresses[2]",
        "FieldValueInvalid endpoints[2].addresses[3]",
        "FieldValueInvalid endpoints[2].addresses[4]"}},

      {"node", "nodes", R"({"spec":{"podCIDRs":["10.1.0.0/24","fd00:1::/64"]}})", {}},
      {"node CIDRs",
       "nodes",
       R"({"spec":{"podCIDRs":["10.1.0.0/24","x","y"]}})",
       {"FieldValueTooMany spec.podCIDRs", "FieldValueInvalid spec.podCIDRs[1]",
        "FieldValueInvalid spec.podCIDRs[2]"}},
      {"event of another namespace",
       "events",
       R"({"involvedObject":{"namespace":"other"}})",
       {"FieldValueInvalid involvedObject.namespace"}},
      {"event of the cluster", "events", R"({"involvedObject":{"kind":"Node","name":"n"}})", {}},
      {"endpoints",
       "endpoints",
       R"({"subsets":[{"addresses":[{"ip":"10.0.0.1","nodeName":"n.example"}],"ports":[{"port":80}]},
          {"notReadyAddresses":[{"ip":"fd00::1","hostname":"h"}]}]})",
       {}},
      {"empty subset", "endpoints", R"({"subsets":[{}]})", {"FieldValueRequired subsets[0]"}},
      {"endpoints' addresses",
       "endpoints",
       R"({"subsets":[{"addresses":[{},{"ip":"127.0.0.1"},{"ip":"169.254.0.1"},{"ip":"10.0.0.1",
          "hostname":"A_","nodeName":"N"}],"notReadyAddresses":[{"ip":"0.0.0.0"},{"ip":"224.0.0.1"}]}]})",
       {"FieldValueInvalid subsets[0].addresses[0].ip",
        "FieldValueInvalid subsets[0].addresses[1].ip",
        "FieldValueInvalid subsets[0].addresses[2].ip",
        "FieldValueInvalid subsets[0].addresses[3].hostname",
        "FieldValueInvalid subsets[0].addresses[3].nodeName",
        "FieldValueInvalid subsets[0].notReadyAddresses[0].ip",
        "FieldValueInvalid subsets[0].notReadyAddresses[1].ip"}},
      {"endpoints' ports",
       "endpoints",
       R"({"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":0},
          {"name":"A_","port":1,"protocol":"ICMP","appProtocol":"a b"}]}]})",
       {"FieldValueRequired subsets[0].ports[0].name", "FieldValueInvalid subsets[0].ports[0].port",
        "FieldValueInvalid subsets[0].ports[1].name",
        "FieldValueNotSupported subsets[0].ports[1].protocol",
        "FieldValueInvalid subsets[0].ports[1].appProtocol"}},
      {"lease",
       "leases",
       R"({"spec":{"holderIdentity":"a","leaseDurationSeconds":15,
          "renewTime":"2026-01-01T00:00:00.000001Z","leaseTransitions":0}})",
       {}},
      {"lease of no time",
       "leases",
       R"({"spec":{"leaseDurationSeconds":0,"leaseTransitions":-1}})",
       {"FieldValueInvalid spec.leaseDurationSeconds", "FieldValueInvalid spec.leaseTransitions"}},
      {"lease renewed on the second",
       "leases",
       R"({"spec":{"renewTime":"2026-01-01T00:00:00Z"}})",
       {"400 spec.renewTime: expected an RFC 3339 time with six digits after the second"}},
      {"map", "configmaps", R"({"data":{"a.b":"1","C_d-9":""},"binaryData":{"e":"AAE="}})", {}},
      {"map's keys",
       "configmaps",
       R"({"data":{"a/b":"","..x":"","e":""},"binaryData":{"e":""}})",
       {"FieldValueInvalid data[a/b]", "FieldValueInvalid data[..x]", "FieldValueInvalid data[e]"}},
      {"map of other bytes",
       "configmaps",
       R"({"binaryData":{"f":"#"}})",
       {"400 binaryData[f]: expected bytes in base64"}},
      {"pod whose volume is none",
       "pods",
       R"({"spec":{"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"v","emptyDir":[]}]}})",
       {"400 spec.volumes[0].emptyDir: expected an object"}},
      {"address without owner",
       "ipaddresses",
       R"({"metadata":{"name":"10.0.0.1"}})",
       {"FieldValueRequired spec.parentRef"}},
      {"address owned by nothing",
       "ipaddresses",
       R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{}}})",
       {"FieldValueRequired spec.parentRef.resource", "FieldValueRequired spec.parentRef.name"}},
      {"address not canonical",
       "ipaddresses",
       R"({"metadata":{"name":"fd00:0::1"},"spec":{"parentRef":{"resource":"services","name":"x"}}})",
       {"FieldValueInvalid metadata.name"}},
      {"range without CIDRs", "servicecidrs", "{}", {"FieldValueRequired spec.cidrs"}},
      {"range of three CIDRs",
       "servicecidrs",
       R"({"spec":{"cidrs":["a","b","c"]}})",
       {"FieldValueTooMany spec.cidrs"}},
      {"range of a wrong CIDR",
       "servicecidrs",
       R"({"spec":{"cidrs":["10.0.0.1/8"]}})",
       {"FieldValueInvalid spec.cidrs[0]"}},
      {"range of one family twice",
       "servicecidrs",
       R"({"spec":{"cidrs":["10.0.0.0/8","11.0.0.0/8"]}})",
       {"FieldValueInvalid spec.cidrs"}},
      {"namespace",
       "namespaces",
       R"({"metadata":{"name":"a.b"}})",
       {"FieldValueInvalid metadata.name"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Document body = parse_document(c.json);
    Document& metadata = ensure_object(body, "metadata");
    if (!metadata.contains("name")) metadata["name"] = "x";
    const auto made = create(c.resource, body);
    EXPECT_EQ(refusals(made), c.causes) << (made ? "" : made.error().message);
    if (made) EXPECT_TRUE(remove(c.resource, std::string(string_at(metadata, "name"))));
  }
}

TEST_F(Kinds, UpdatesLeaveAloneWhatIsFixed) {
  struct Case {
    std::string_view name, resource, json, change;
    std::vector<std::string> causes;
  };
  constexpr std::string_view kPod = R"({"spec":{"containers":[{"name":"a","image":"i:1"}]}})";
  const Case cases[] = {
      {"image", "pods", kPod, R"({"spec":{"containers":[{"name":"a","image":"i:2"}]}})", {}},
      {"command",
       "pods",
       kPod,
       R"({"spec":{"containers":[{"name":"a","image":"i:1","command":["x"]}]}})",
       {"FieldValueForbidden spec"}},
      {"node, once", "pods", kPod, R"({"spec":{"nodeName":"n"}})", {}},
      {"node, again",
       "pods",
       R"({"spec":{"nodeName":"n","containers":[{"name":"a","image":"i:1"}]}})",
       R"({"spec":{"nodeName":"m"}})",
       {"FieldValueForbidden spec"}},
      {"address type",
       "endpointslices",
       R"({"addressType":"IPv4"})",
       R"({"addressType":"IPv6"})",
       {"FieldValueInvalid addressType"}},
      {"frozen map",
       "configmaps",
       R"({"immutable":true,"data":{"a":"b"}})",
       R"({"data":{"a":"c"}})",
       {"FieldValueForbidden data"}},
      {"frozen map thawed",
       "configmaps",
       R"({"immutable":true,"binaryData":{"a":"AA=="}})",
       R"({"immutable":false,"binaryData":{"a":"AAA="}})",
       {"FieldValueForbidden immutable", "FieldValueForbidden binaryData"}},
      {"owner of an address",
       "ipaddresses",
       R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"resource":"services","name":"x"}}})",
       R"({"spec":{"parentRef":{"name":"y"}}})",
       {"FieldValueInvalid spec.parentRef"}},
      {"second CIDR",
       "servicecidrs",
       R"({"spec":{"cidrs":["10.0.0.0/8"]}})",
       R"({"spec":{"cidrs":["10.0.0.0/8","fd00::/112"]}})",
       {}},
      {"other CIDR",
       "servicecidrs",
       R"({"metadata":{"name":"other"},"spec":{"cidrs":["10.0.0.0/8"]}})",
       R"({"spec":{"cidrs":["11.0.0.0/8"]}})",
       {"FieldValueInvalid spec.cidrs"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Document body = parse_document(c.json);
    Document& metadata = ensure_object(body, "metadata");
    if (!metadata.contains("name")) metadata["name"] = "x";
    const std::string name(string_at(metadata, "name"));
    ASSERT_EQ(refusals(create(c.resource, body)), (std::vector<std::string>{}));
    EXPECT_EQ(refusals(patch(c.resource, name, c.change)), c.causes);
    ASSERT_TRUE(remove(c.resource, name, {.grace_period_seconds = 0}));
  }
}

TEST_F(Kinds, APodHasKubernetesDefaults) {
  const auto made = create("pods", R"({"metadata":{"name":"p"},"spec":{"hostNetwork":true,
    "containers":[{"name":"a","image":"reg:5000/i","ports":[{"containerPort":80}],
                   "readinessProbe":{"httpGet":{"port":80}}},
                  {"name":"b","image":"i:1"}]}})");
  ASSERT_TRUE(made) << testing::PrintToString(refusals(made));
  EXPECT_EQ(made->object.at("spec"), parse_document(R"({
    "hostNetwork": true, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
    "enableServiceLinks": true, "securityContext": {},
    "containers": [
      {"name": "a", "image": "reg:5000/i", "imagePullPolicy": "Always",
       "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
       "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
         "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
       "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
       "resources": {}},
      {"name": "b", "image": "i:1", "imagePullPolicy": "IfNotPresent",
       "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
       "resources": {}}]})"));
  EXPECT_EQ(made->object.at("status"),
            parse_document(R"({"phase": "Pending", "qosClass": "BestEffort"})"));
  EXPECT_EQ(int_at(made->object, "metadata.generation"), 1);
}

TEST_F(Kinds, APodOnANodeIsGivenTimeToEnd) {
  constexpr std::string_view kPod = R"({"metadata":{"name":"p"},"spec":{"nodeName":"n",
    "containers":[{"name":"a","image":"i"}]}})";
  ASSERT_TRUE(create("pods", kPod));
  const auto marked = remove("pods", "p");
  ASSERT_TRUE(marked);
  EXPECT_FALSE(marked->removed);
  EXPECT_EQ(int_at(marked->object, "metadata.deletionGracePeriodSeconds"), 30);
  const auto gone = remove("pods", "p", {.grace_period_seconds = 0});
  ASSERT_TRUE(gone);
  EXPECT_TRUE(gone->removed);
  ASSERT_TRUE(create("pods", kPod));
  ASSERT_TRUE(patch("pods", "p", R"({"status":{"phase":"Succeeded"}})", "status"));
  EXPECT_TRUE(remove("pods", "p")->removed) << "it has ended already";
}

TEST_F(Kinds, TheNamespacesOfTheSystemStay) {
  EXPECT_THAT(refusals(remove("namespaces", "default")),
              ElementsAre("403 namespaces \"default\" is forbidden: this namespace may not be "
                          "deleted"));
  EXPECT_THAT(names_of("namespaces"), ElementsAre("default"));
}

TEST_F(Kinds, SlicesOfOldClientsNameNodeAndZoneAsTopology) {
  Document slice = parse_document(R"({"addressType": "IPv4", "endpoints": [
    {"addresses": ["10.0.0.1"], "nodeName": "n", "zone": "z"}, {"addresses": ["10.0.0.2"]}]})");
  strategy("endpointslices").to_former_version(slice);
  EXPECT_EQ(slice, parse_document(R"({"addressType": "IPv4", "endpoints": [
    {"addresses": ["10.0.0.1"], "nodeName": "n",
     "topology": {"kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "z"}},
    {"addresses": ["10.0.0.2"]}]})"));
}

TEST_F(Kinds, WhoWritesALeaseHasReadIt) {
  constexpr std::string_view kLease = R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"a",
    "strategy":"OldestEmulationVersion","preferredHolder":"b"}})";
  const auto made = put("leases", "l", parse_document(kLease));
  ASSERT_TRUE(made) << "PUT creates";
  EXPECT_EQ(made->object.at("spec"), parse_document(R"({"holderIdentity":"a"})"));
  EXPECT_THAT(refusals(put("leases", "l", parse_document(kLease))),
              ElementsAre("FieldValueInvalid metadata.resourceVersion"));
  Document renewed = made->object;
  ensure_object(renewed, "metadata")["resourceVersion"] = std::to_string(made->revision);
  ensure_object(renewed, "spec")["holderIdentity"] = "";
  EXPECT_TRUE(put("leases", "l", renewed)) << "a leader that leaves says so";
  ensure_object(renewed, "spec")["holderIdentity"] = "b";
  const auto late = put("leases", "l", renewed);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, 409U);
}

TEST_F(Kinds, AMapIsNoLargerThanAMegabyte) {
  const std::string half(600 * 1024, 'a');
  const Document map{{"metadata", Document{{"name", "m"}}},
                     {"data", Document{{"a", half}, {"b", half}}}};
  EXPECT_THAT(refusals(create("configmaps", map)), ElementsAre(testing::HasSubstr("1048576")));
}

// Cells after the name; the age is that of an object made 90 s ago.
TEST_F(Kinds, TablesSayWhatPeopleLookFor) {
  struct Case {
    std::string_view resource, json, cells;
  };
  const Case cases[] = {
      {"services", R"({"spec":{"type":"ClusterIP","clusterIPs":["10.96.0.9"],
          "ports":[{"port":80,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"b":"2","a":"1"}}})",
       R"(["x","ClusterIP","10.96.0.9","<none>","80/TCP,53/UDP","90s","a=1,b=2"])"},
      {"services", R"({"spec":{"type":"LoadBalancer","clusterIPs":["10.96.0.9"],
          "ports":[{"port":80,"nodePort":30080,"protocol":"TCP"}]}})",
       R"(["x","LoadBalancer","10.96.0.9","<pending>","80:30080/TCP","90s","<none>"])"},
      {"services",
       R"({"spec":{"type":"LoadBalancer","clusterIPs":["10.96.0.9"],"externalIPs":["192.0.2.9"]},
          "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"},{"hostname":"lb.example"}]}}})",
       R"(["x","LoadBalancer","10.96.0.9","192.0.2.1,lb.example,192.0.2.9","<none>","90s","<none>"])"},
      {"services", R"({"spec":{"type":"ExternalName","externalName":"db.example"}})",
       R"(["x","ExternalName","<none>","db.example","<none>","90s","<none>"])"},
      {"pods",
       R"({"spec":{"nodeName":"n","containers":[{},{}]},"status":{"phase":"Running","podIP":"10.0.0.1",
          "containerStatuses":[{"ready":true,"restartCount":2},{"ready":false,"restartCount":1}]}})",
       R"(["x","1/2","Running","3","90s","10.0.0.1","n","<none>","<none>"])"},
      {"pods", R"({"spec":{"containers":[{}]},"status":{"phase":"Running",
          "containerStatuses":[{"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})",
       R"(["x","0/1","CrashLoopBackOff","0","90s","<none>","<none>","<none>","<none>"])"},
      {"pods",
       R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{}]},
          "status":{"phase":"Running"}})",
       R"(["x","0/1","Terminating","0","90s","<none>","<none>","<none>","<none>"])"},
      {"nodes",
       R"({"metadata":{"labels":{"node-role.kubernetes.io/worker":"","node-role.kubernetes.io/edge":""}},
          "spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],
          "addresses":[{"type":"InternalIP","address":"10.1.0.1"}],
          "nodeInfo":{"kubeletVersion":"v1","osImage":"Debian"}}})",
       R"(["x","Ready,SchedulingDisabled","edge,worker","90s","v1","10.1.0.1","<none>","Debian","<unknown>","<unknown>"])"},
      {"nodes", R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})",
       R"(["x","NotReady","<none>","90s","","<none>","<none>","<unknown>","<unknown>","<unknown>"])"},
      {"namespaces", R"({"status":{"phase":"Active"}})", R"(["x","Active","90s"])"},
      {"endpointslices", R"({"addressType":"IPv4","ports":[{"port":80},{}],"endpoints":[
          {"addresses":["10.0.0.1"]},{"addresses":["10.0.0.2"]},{"addresses":["10.0.0.3"]},{"addresses":["10.0.0.4"]}]})",
       R"(["x","IPv4","80,*","10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...","90s"])"},
      {"endpointslices", R"({"addressType":"IPv6"})", R"(["x","IPv6","<unset>","<unset>","90s"])"},
      {"configmaps", R"({"data":{"a":"1","b":"2"},"binaryData":{"c":""}})", R"(["x",3,"90s"])"},
      {"endpoints", R"({"subsets":[
          {"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}],"ports":[{"port":80},{"port":81}]},
          {"notReadyAddresses":[{"ip":"10.0.0.3"}],"ports":[{"port":80}]}]})",
       R"(["x","10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...","90s"])"},
      {"endpoints", R"({"subsets":[{"addresses":[{"ip":"fd00::1"}],"ports":[{"port":80}]},
          {"addresses":[{"ip":"fd00::2"}]}]})",
       R"(["x","[fd00::1]:80,fd00::2","90s"])"},
      {"endpoints", R"({"subsets":[{"notReadyAddresses":[{"ip":"10.0.0.3"}]}]})",
       R"(["x","<none>","90s"])"},
      {"leases", R"({"spec":{"holderIdentity":"a_1"}})", R"(["x","a_1","90s"])"},
      {"ipaddresses",
       R"({"spec":{"parentRef":{"resource":"services","namespace":"a","name":"b"}}})",
       R"(["x","services/a/b","90s"])"},
      {"ipaddresses",
       R"({"spec":{"parentRef":{"group":"gateway.networking.k8s.io","resource":"gateways","name":"b"}}})",
       R"(["x","gateways.gateway.networking.k8s.io/b","90s"])"},
      {"servicecidrs", R"({"spec":{"cidrs":["10.0.0.0/8","fd00::/112"]}})",
       R"(["x","10.0.0.0/8,fd00::/112","90s"])"},
      {"events",
       R"({"type":"Warning","reason":"Odd","message":"m","count":4,"source":{"component":"c"},
          "involvedObject":{"kind":"Pod","name":"p","fieldPath":"f"},
          "firstTimestamp":"2026-01-01T00:00:00Z","lastTimestamp":"2026-01-01T00:01:20Z"})",
       R"(["10s","Warning","Odd","pod/p","f","c","m","90s",4,"x"])"},
  };
  const WallTime now = *parse_rfc3339("2026-01-01T00:01:30Z");
  for (const Case& c : cases) {
    Document document = parse_document(c.json);
    Document& metadata = ensure_object(document, "metadata");
    metadata["name"] = "x";
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z";
    const auto cells = strategy(c.resource).table_cells(document, now);
    EXPECT_EQ(boost::json::serialize(cells), c.cells);
    EXPECT_EQ(cells.size(), strategy(c.resource).table_columns().size()) << c.resource;
  }
}

}  // namespace
}  // namespace fairlead::apiserver
