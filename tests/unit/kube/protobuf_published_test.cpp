// The codec beside libprotobuf, which knows the API from its published schema alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fstream>
#include <iterator>
#include <span>

#include "kube/codec.hpp"
#include "kube/protobuf.hpp"
#include "kube/protobuf_schema.hpp"
#include "support/published_api.hpp"

namespace fairlead::kube {
namespace {

struct Case {
  std::string_view message;
  KindName kind;
  std::string_view json;  // without apiVersion and kind
  std::string_view text;  // of the message
};

constexpr Case kCases[] = {
    {.message = "Service",
     .kind = {"v1", "Service"},
     .json = R"({"metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"7",
         "creationTimestamp":"2023-11-14T22:13:20Z","labels":{"a":"1","b":""},
         "ownerReferences":[{"kind":"Node","name":"n","uid":"u","apiVersion":"v1",
           "controller":false}],"finalizers":["x/y"],
         "managedFields":[{"manager":"kubectl","operation":"Update","apiVersion":"v1",
           "time":"1969-12-31T23:59:59Z","fieldsType":"FieldsV1",
           "fieldsV1":{"f:spec":{"f:type":{}}}}]},
       "spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":"web",
           "nodePort":30080,"appProtocol":""},{"port":81,"targetPort":8081}],
         "selector":{"app":"web"},"clusterIP":"10.96.0.10","type":"LoadBalancer",
         "externalIPs":["192.0.2.1"],"sessionAffinity":"ClientIP",
         "loadBalancerIP":"192.0.2.2","loadBalancerSourceRanges":["10.0.0.0/8"],
         "externalName":"example.org","externalTrafficPolicy":"Local",
         "healthCheckNodePort":30099,"publishNotReadyAddresses":true,
         "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},
         "ipFamilyPolicy":"PreferDualStack","clusterIPs":["10.96.0.10","fd00::10"],
         "ipFamilies":["IPv4","IPv6"],"allocateLoadBalancerNodePorts":false,
         "loadBalancerClass":"x/y","internalTrafficPolicy":"Cluster",
         "trafficDistribution":"PreferClose"},
       "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9","ipMode":"VIP",
           "ports":[{"port":80,"protocol":"TCP","error":"e"}]},{"hostname":"h"}]},
         "conditions":[{"type":"Ready","status":"True","observedGeneration":-3,
           "lastTransitionTime":"2023-11-14T22:13:20Z","reason":"","message":"m"}]}})",
     .text = R"(metadata{name:"web" namespace:"shop" uid:"u" resourceVersion:"7"
         creationTimestamp{seconds:1700000000 nanos:0}
         labels{key:"a" value:"1"} labels{key:"b" value:""}
         ownerReferences{kind:"Node" name:"n" uid:"u" apiVersion:"v1" controller:false}
         finalizers:"x/y"
         managedFields{manager:"kubectl" operation:"Update" apiVersion:"v1"
           time{seconds:-1 nanos:0} fieldsType:"FieldsV1"
           fieldsV1{Raw:"{\"f:spec\":{\"f:type\":{}}}"}}}
       spec{ports{name:"http" protocol:"TCP" port:80 targetPort{type:1 intVal:0 strVal:"web"}
           nodePort:30080 appProtocol:""}
         ports{port:81 targetPort{type:0 intVal:8081 strVal:""}}
         selector{key:"app" value:"web"} clusterIP:"10.96.0.10" type:"LoadBalancer"
         externalIPs:"192.0.2.1" sessionAffinity:"ClientIP" loadBalancerIP:"192.0.2.2"
         loadBalancerSourceRanges:"10.0.0.0/8" externalName:"example.org"
         externalTrafficPolicy:"Local" healthCheckNodePort:30099 publishNotReadyAddresses:true
         sessionAffinityConfig{clientIP{timeoutSeconds:10800}} ipFamilyPolicy:"PreferDualStack"
         clusterIPs:"10.96.0.10" clusterIPs:"fd00::10" ipFamilies:"IPv4" ipFamilies:"IPv6"
         allocateLoadBalancerNodePorts:false loadBalancerClass:"x/y"
         internalTrafficPolicy:"Cluster" trafficDistribution:"PreferClose"}
       status{loadBalancer{ingress{ip:"192.0.2.9" ipMode:"VIP"
           ports{port:80 protocol:"TCP" error:"e"}} ingress{hostname:"h"}}
         conditions{type:"Ready" status:"True" observedGeneration:-3
           lastTransitionTime{seconds:1700000000 nanos:0} reason:"" message:"m"}})"},
    {.message = "EndpointSlice",
     .kind = {"discovery.k8s.io/v1", "EndpointSlice"},
     .json = R"({"metadata":{"name":"web-1","generation":3},
       "endpoints":[{"addresses":["10.0.0.1"],
           "conditions":{"ready":false,"serving":true,"terminating":true},
           "hostname":"","targetRef":{"kind":"Pod","namespace":"shop","name":"p","uid":"u"},
           "deprecatedTopology":{"k":"v"},"nodeName":"n1","zone":"a",
           "hints":{"forZones":[{"name":"a"}],"forNodes":[{"name":"n1"}]}}],
       "ports":[{"name":"","protocol":"UDP","port":53,"appProtocol":"x"}],
       "addressType":"IPv4"})",
     .text = R"(metadata{name:"web-1" generation:3}
       endpoints{addresses:"10.0.0.1" conditions{ready:false serving:true terminating:true}
         hostname:"" targetRef{kind:"Pod" namespace:"shop" name:"p" uid:"u"}
         deprecatedTopology{key:"k" value:"v"} nodeName:"n1" zone:"a"
         hints{forZones{name:"a"} forNodes{name:"n1"}}}
       ports{name:"" protocol:"UDP" port:53 appProtocol:"x"} addressType:"IPv4")"},
    {.message = "Endpoints",
     .kind = {"v1", "Endpoints"},
     .json = R"({"metadata":{"name":"web"},"subsets":[{"addresses":[{"ip":"10.0.0.1",
         "targetRef":{"kind":"Pod"},"hostname":"h","nodeName":"n"}],
         "notReadyAddresses":[{"ip":"10.0.0.2"}],
         "ports":[{"name":"http","port":80,"protocol":"TCP","appProtocol":"x"}]}]})",
     .text = R"(metadata{name:"web"} subsets{addresses{ip:"10.0.0.1" targetRef{kind:"Pod"}
         hostname:"h" nodeName:"n"} notReadyAddresses{ip:"10.0.0.2"}
         ports{name:"http" port:80 protocol:"TCP" appProtocol:"x"}})"},
    {.message = "Pod",
     .kind = {"v1", "Pod"},
     .json = R"({"metadata":{"name":"p","deletionTimestamp":"2023-11-14T22:13:20Z",
         "deletionGracePeriodSeconds":0},
       "spec":{"volumes":[{"name":"v","emptyDir":{}},{"name":"s","emptyDir":{"sizeLimit":"1Gi"}},
           {"name":"c","configMap":{"name":"cm","optional":false}}],
         "containers":[{"name":"c","image":"i","command":["a","b"],
           "ports":[{"containerPort":8080}],
           "resources":{"limits":{"cpu":"500m","memory":"1Gi"}},
           "livenessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":5},
           "readinessProbe":{"httpGet":{"port":80}}}],
         "terminationGracePeriodSeconds":0,"nodeName":"n1","hostNetwork":true,
         "securityContext":{"runAsUser":0,"supplementalGroups":[1,-2,9007199254740993]}},
       "status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],
         "podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}],"startTime":"2023-11-14T22:13:20Z"}})",
     .text = R"(metadata{name:"p" deletionTimestamp{seconds:1700000000 nanos:0}
         deletionGracePeriodSeconds:0}
       spec{volumes{name:"v" volumeSource{emptyDir{}}}
         volumes{name:"s" volumeSource{emptyDir{sizeLimit{string:"1Gi"}}}}
         volumes{name:"c" volumeSource{configMap{localObjectReference{name:"cm"} optional:false}}}
         containers{name:"c" image:"i" command:"a" command:"b" ports{containerPort:8080}
           resources{limits{key:"cpu" value{string:"500m"}} limits{key:"memory"
             value{string:"1Gi"}}}
           livenessProbe{handler{httpGet{path:"/" port{type:1 intVal:0 strVal:"http"}}}
             periodSeconds:5}
           readinessProbe{handler{httpGet{port{type:0 intVal:80 strVal:""}}}}}
         terminationGracePeriodSeconds:0 nodeName:"n1" hostNetwork:true
         securityContext{runAsUser:0 supplementalGroups:1 supplementalGroups:-2
           supplementalGroups:9007199254740993}}
       status{phase:"Running" conditions{type:"Ready" status:"True"} podIP:"10.0.0.1"
         startTime{seconds:1700000000 nanos:0} podIPs{ip:"10.0.0.1"}})"},
    {.message = "Node",
     .kind = {"v1", "Node"},
     .json = R"({"metadata":{"name":"n1"},"spec":{"podCIDR":"10.1.0.0/24","providerID":"x",
         "unschedulable":true,"taints":[{"key":"k","effect":"NoSchedule",
           "timeAdded":"2023-11-14T22:13:20Z"}],"podCIDRs":["10.1.0.0/24"]},
       "status":{"capacity":{"cpu":"4"},"addresses":[{"type":"InternalIP","address":"10.0.0.1"}],
         "daemonEndpoints":{"kubeletEndpoint":{"Port":10250}}}})",
     .text = R"(metadata{name:"n1"} spec{podCIDR:"10.1.0.0/24" providerID:"x" unschedulable:true
         taints{key:"k" effect:"NoSchedule" timeAdded{seconds:1700000000 nanos:0}}
         podCIDRs:"10.1.0.0/24"}
       status{capacity{key:"cpu" value{string:"4"}}
         addresses{type:"InternalIP" address:"10.0.0.1"}
         daemonEndpoints{kubeletEndpoint{Port:10250}}})"},
    {.message = "ConfigMap",
     .kind = {"v1", "ConfigMap"},
     .json = R"({"metadata":{"name":"c"},"data":{"a":"ü","z":"1"},"binaryData":{"b":"AP8="},
       "immutable":false})",
     .text = R"(metadata{name:"c"} data{key:"a" value:"ü"} data{key:"z" value:"1"}
       binaryData{key:"b" value:"\000\377"} immutable:false)"},
    {.message = "Lease",
     .kind = {"coordination.k8s.io/v1", "Lease"},
     .json = R"({"metadata":{"name":"l"},"spec":{"holderIdentity":"","leaseDurationSeconds":15,
       "renewTime":"2023-11-14T22:13:20.123456Z","leaseTransitions":0}})",
     .text = R"(metadata{name:"l"} spec{holderIdentity:"" leaseDurationSeconds:15
       renewTime{seconds:1700000000 nanos:123456000} leaseTransitions:0})"},
    {.message = "Event",
     .kind = {"v1", "Event"},
     .json = R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p",
         "fieldPath":"spec"},"reason":"r","message":"m","source":{"component":"c"},
       "firstTimestamp":"2023-11-14T22:13:20Z","count":2,"type":"Normal",
       "series":{"count":3,"lastObservedTime":"2023-11-14T22:13:20.000001Z"},
       "reportingComponent":"rc","reportingInstance":""})",
     .text = R"(metadata{name:"e"} involvedObject{kind:"Pod" name:"p" fieldPath:"spec"}
       reason:"r" message:"m" source{component:"c"}
       firstTimestamp{seconds:1700000000 nanos:0} count:2 type:"Normal"
       series{count:3 lastObservedTime{seconds:1700000000 nanos:1000}}
       reportingComponent:"rc" reportingInstance:"")"},
    {.message = "Status",
     .kind = {"v1", "Status"},
     .json = R"({"metadata":{"continue":"c","remainingItemCount":5},"status":"Failure",
       "message":"m","reason":"Invalid","details":{"name":"n","group":"g","kind":"k",
         "causes":[{"reason":"r","message":"m","field":"spec.ports[0]"}],
         "retryAfterSeconds":1,"uid":"u"},"code":422})",
     .text = R"(metadata{continue:"c" remainingItemCount:5} status:"Failure" message:"m"
       reason:"Invalid" details{name:"n" group:"g" kind:"k"
         causes{reason:"r" message:"m" field:"spec.ports[0]"} retryAfterSeconds:1 uid:"u"}
       code:422)"},
    {.message = "DeleteOptions",
     .kind = {"apps/v1", "DeleteOptions"},
     .json = R"({"gracePeriodSeconds":0,"preconditions":{"uid":"u","resourceVersion":""},
       "orphanDependents":false,"propagationPolicy":"Background","dryRun":["All"]})",
     .text = R"(gracePeriodSeconds:0 preconditions{uid:"u" resourceVersion:""}
       orphanDependents:false propagationPolicy:"Background" dryRun:"All")"},
    {.message = "SelfSubjectReview",
     .kind = {"authentication.k8s.io/v1", "SelfSubjectReview"},
     .json = R"({"status":{"userInfo":{"username":"a","groups":["g","h"],
       "extra":{"k":["1","2"],"none":[]}}}})",
     .text = R"(status{userInfo{username:"a" groups:"g" groups:"h"
       extra{key:"k" value{items:"1" items:"2"}} extra{key:"none" value{}}}})"},
};

class ProtobufPublished : public testing::TestWithParam<Case> {
 protected:
  static boost::json::object whole() {
    boost::json::object out{{"apiVersion", GetParam().kind.api_version},
                            {"kind", GetParam().kind.kind}};
    const auto members = boost::json::parse(GetParam().json);
    for (const auto& member : members.as_object()) out.insert(member);
    return out;
  }
  static std::string enveloped(const std::string& message) {
    return protobuf_envelope(GetParam().kind, message.size()) + message +
           std::string(kProtobufEnvelopeEnd);
  }

  test::PublishedApi api_;
};

TEST_P(ProtobufPublished, IsWrittenAsTheSchemaSays) {
  const Case& c = GetParam();
  const std::string body = enveloped(protobuf_message(c.kind, whole()));
  ASSERT_EQ(body.substr(0, 4), std::string("k8s\0", 4));
  const std::string unknown = body.substr(4);
  EXPECT_EQ(api_.text("TypeMeta", api_.member("Unknown", unknown, "typeMeta")),
            fmt::format("apiVersion: \"{}\" kind: \"{}\" ", c.kind.api_version, c.kind.kind));
  EXPECT_EQ(api_.text(c.message, api_.member("Unknown", unknown, "raw")),
            api_.canonical(c.message, c.text));
}

TEST_P(ProtobufPublished, IsReadAsTheSchemaSays) {
  const Case& c = GetParam();
  const auto read = protobuf_to_object(enveloped(api_.bytes(c.message, c.text)));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, whole());
}

INSTANTIATE_TEST_SUITE_P(Kinds, ProtobufPublished, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.message); });

TEST(ProtobufFrame, IsAWatchEventAfterItsLength) {
  const test::PublishedApi api;
  const KindName kind{"v1", "ConfigMap"};
  for (const std::size_t size : {0UL, 100UL, 300UL, 70'000UL}) {
    boost::json::object object;
    object["data"] = boost::json::object{{"k", std::string(size, 'x')}};
    const std::string message = protobuf_message(kind, object);
    const std::string frame =
        protobuf_frame("ADDED", kind, message.size()) + message + std::string(kProtobufEnvelopeEnd);
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<std::uint8_t>(frame[i]);
    ASSERT_EQ(length, frame.size() - 4);
    const std::string event = frame.substr(4);
    EXPECT_EQ(api.member("WatchEvent", event, "type"), "ADDED");
    const std::string raw =
        api.member("RawExtension", api.member("WatchEvent", event, "object"), "raw");
    ASSERT_EQ(raw.substr(0, 4), std::string("k8s\0", 4));
    EXPECT_EQ(api.member("Unknown", raw.substr(4), "raw"), message);
  }
}

TEST(ProtobufList, HoldsItsItemsAndTheirMetadataAlone) {
  const test::PublishedApi api;
  const KindName kind{"v1", "Service"};
  const std::string a = protobuf_message(
      kind, boost::json::parse(R"({"metadata":{"name":"a"},"spec":{"type":"x"}})").as_object());
  const std::string b = protobuf_message(kind, boost::json::object{});
  const boost::json::object metadata{{"resourceVersion", "9"}, {"remainingItemCount", 2}};
  const std::array<std::string_view, 2> items{a, b};
  const std::string list = protobuf_list({"v1", "ServiceList"}, metadata, items);
  EXPECT_EQ(api.text("ServiceList", api.member("Unknown", list.substr(4), "raw")),
            api.canonical("ServiceList",
                          R"(metadata{resourceVersion:"9" remainingItemCount:2}
                             items{metadata{name:"a"} spec{type:"x"}} items{})"));
  EXPECT_EQ(api.text("PartialObjectMetadata", protobuf_metadata(a)),
            api.canonical("PartialObjectMetadata", R"(metadata{name:"a"})"));
  EXPECT_EQ(protobuf_metadata(b), "");
}

TEST(ProtobufReading, SampleObjectsComeBackAsTheyWere) {
  std::size_t seen = 0;
  for (const char* name : {"examples/web-services.yaml", "examples/web-pods.yaml",
                           "examples/web-more-pods.yaml", "tests/golden/inspect/cluster.yaml"}) {
    std::ifstream file(std::string(FAIRLEAD_SOURCE_DIR "/") + name);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto documents = manifest_documents(text);
    ASSERT_TRUE(documents) << name;
    for (const std::string& json : *documents) {
      const boost::json::value object = boost::json::parse(json);
      const KindName kind{.api_version = object.at("apiVersion").as_string(),
                          .kind = object.at("kind").as_string()};
      if (!has_protobuf(kind)) continue;
      const std::string message = protobuf_message(kind, object.as_object());
      const auto again = protobuf_to_object(protobuf_envelope(kind, message.size()) + message);
      ASSERT_TRUE(again) << json;
      EXPECT_EQ(boost::json::value(*again), object);
      ++seen;
    }
  }
  EXPECT_GE(seen, 10U);
}

// Go makes these of what it writes even when it is empty.
TEST(ProtobufReading, WhatIsEmptyAndNoPointerIsLeftOut) {
  const test::PublishedApi api;
  const std::string message =
      api.bytes("Service", R"(metadata{name:"a" generateName:"" generation:0 creationTimestamp{}}
                    spec{clusterIP:"" publishNotReadyAddresses:false healthCheckNodePort:0
                         sessionAffinityConfig{} ipFamilyPolicy:""}
                    status{loadBalancer{}})");
  const auto read =
      protobuf_to_object(protobuf_envelope({"v1", "Service"}, message.size()) + message);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(boost::json::value(*read), boost::json::parse(R"({"apiVersion":"v1","kind":"Service",
      "metadata":{"name":"a"},"spec":{"sessionAffinityConfig":{},"ipFamilyPolicy":""}})"));
}

}  // namespace
}  // namespace fairlead::kube
