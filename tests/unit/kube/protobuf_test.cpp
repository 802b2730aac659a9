#include "kube/protobuf.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace fairlead::kube {
namespace {

using testing::HasSubstr;

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return out;
}

std::string enveloped(std::string_view hex_type, std::string_view kind,
                      std::string_view hex_object) {
  return std::string("k8s\0", 4) + from_hex(hex_type) + std::string(kind) + from_hex(hex_object);
}

// What `kubectl create service clusterip c1 --tcp=80:8080` sends.
constexpr std::string_view kService =
    "6b3873000a0d0a02763112075365727669636512660a1d0a02633112001a0022002a003200380042005a090a036170"
    "701202633112410a"
    "1b0a0738302d38303830120354435018502207080010903f1a00280012090a03617070120263311a002209436c7573"
    "74657249503a0042"
    "0052005a00600068001a020a001a002200";

TEST(Protobuf, ServiceOfKubectlBecomesItsJson) {
  const auto json = protobuf_to_object(from_hex(kService));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(boost::json::value(*json), boost::json::parse(R"({
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"name": "c1", "labels": {"app": "c1"}},
    "spec": {"ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
             "selector": {"app": "c1"}, "type": "ClusterIP"}})"));
}

TEST(Protobuf, TruncationsAreRefused) {
  const std::string whole = from_hex(kService);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto json = protobuf_to_object(std::string_view(whole).substr(0, size));
    if (json) continue;
    ++refused;
    EXPECT_TRUE(json.error().code == ErrorCode::BadRequest ||
                json.error().code == ErrorCode::Unsupported);
  }
  EXPECT_GE(refused, whole.size() - 4);  // only cuts within the empty trailer leave a whole object
}

TEST(Protobuf, OtherBodiesAreRefusedInWords) {
  EXPECT_THAT(protobuf_to_object("{}").error().message, HasSubstr("magic"));
  const auto gadget = protobuf_to_object(enveloped("0a0c0a0276311206", "Gadget", ""));
  ASSERT_FALSE(gadget);
  EXPECT_EQ(gadget.error().code, ErrorCode::Unsupported);
  EXPECT_THAT(gadget.error().message, HasSubstr("\"Gadget\""));
}

TEST(Protobuf, ATimeTheClockCannotHoldIsAnError) {
  // metadata.creationTimestamp {1 seconds} = 10^11, the year 5138, and 1
  constexpr std::string_view kType = "0a090a0276311203";
  const auto far = protobuf_to_object(enveloped(kType, "Pod", "120b0a0942070880d0dbc3f402"));
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error(), make_error(ErrorCode::BadRequest,
                                    "protobuf: time of 100000000000 seconds is out of range"));
  const auto near = protobuf_to_object(enveloped(kType, "Pod", "12060a0442020801"));
  ASSERT_TRUE(near) << near.error().message;
  EXPECT_EQ(boost::json::value(*near), boost::json::parse(
                                           R"({"apiVersion":"v1","kind":"Pod",
                    "metadata":{"creationTimestamp":"1970-01-01T00:00:01Z"}})"));
}

TEST(Protobuf, PresenceOfPointersIsKept) {
  const auto options =
      protobuf_to_object(enveloped("0a130a027631120d", "DeleteOptions", "120408001800"));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(
      boost::json::value(*options),
      boost::json::parse(
          R"({"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"orphanDependents":false})"));
}

// Made by hand from the field numbers of the API's generated.proto.
TEST(Protobuf, TheKindsAroundServicesBecomeTheirJson) {
  struct Case {
    std::string_view name, hex, json;
  };
  const Case cases[] = {
      {"ConfigMap",
       "6b3873000a0f0a0276311209436f6e6669674d617012180a030a017812060a01611201621a070a01"
       "63120200ff2000",
       R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"b"},
          "binaryData":{"c":"AP8="},"immutable":false})"},
      {"Lease",
       "6b3873000a1f0a16636f6f7264696e6174696f6e2e6b38732e696f2f763112054c6561736512180a"
       "030a017812110a00100f220b0880e2cfaa06108094ef3a",
       R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"x"},
          "spec":{"holderIdentity":"","leaseDurationSeconds":15,
          "renewTime":"2023-11-14T22:13:20.123456Z"}})"},
      {"Event of v1",
       "6b3873000a0b0a02763112054576656e7412300a030a017812080a03506f641a01701a017222016d"
       "2a030a016332060880e2cfaa063a0040024a064e6f726d616c5200",
       R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"x"},"reason":"r","message":"m",
          "involvedObject":{"kind":"Pod","name":"p"},"source":{"component":"c"},"count":2,
          "firstTimestamp":"2023-11-14T22:13:20Z","type":"Normal"})"},
      {"Event of events.k8s.io",
       "6b3873000a190a106576656e74732e6b38732e696f2f763112054576656e7412370a030a0178120b"
       "0880e2cfaa06108094ef3a220272632a0272693201613a017242080a03506f641a017052016e5a06"
       "4e6f726d616c6200",
       R"({"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"x"},
          "eventTime":"2023-11-14T22:13:20.123456Z","reportingController":"rc",
          "reportingInstance":"ri","action":"a","reason":"r","note":"n","type":"Normal",
          "regarding":{"kind":"Pod","name":"p"}})"},
      {"Endpoints",
       "6b3873000a0f0a0276311209456e64706f696e747312200a030a017812190a0c0a0831302e302e30"
       "2e311a001a090a0010501a03544350",
       R"({"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"x"},"subsets":[
          {"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80,"protocol":"TCP"}]}]})"},
  };
  for (const Case& c : cases) {
    const auto json = protobuf_to_object(from_hex(c.hex));
    ASSERT_TRUE(json) << c.name << ": " << json.error().message;
    EXPECT_EQ(boost::json::value(*json), boost::json::parse(c.json)) << c.name;
  }
}

std::string enveloped(const KindName& kind, const boost::json::object& object) {
  const std::string message = protobuf_message(kind, object);
  return protobuf_envelope(kind, message.size()) + message + std::string(kProtobufEnvelopeEnd);
}

TEST(Protobuf, WhatIsWrittenIsReadAgain) {
  const auto object = boost::json::parse(R"({
      "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "1", "b": ""},
        "managedFields": [{"manager": "m", "operation": "Apply", "fieldsType": "FieldsV1",
          "time": "2023-11-14T22:13:20Z", "fieldsV1": {"f:spec": {"f:nodeName": {}}}}]},
      "spec": {"volumes": [{"name": "v", "emptyDir": {}},
                           {"name": "w", "configMap": {"name": "c", "optional": false}}],
        "securityContext": {"supplementalGroups": [1, -2, 9007199254740993]},
        "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}},
          "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": -5}}]}})");
  const auto again = protobuf_to_object(enveloped({"v1", "Pod"}, object.as_object()));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(boost::json::value(*again), object);
}

TEST(Protobuf, AMisfitIsNamedByItsPath) {
  struct Case {
    std::string_view json, misfit;
  };
  const Case cases[] = {
      {R"({"spec":{"volumes":[{"name":"v","emptyDir":1}]}})",
       "spec.volumes[0].emptyDir: expected an object"},
      {R"({"spec":{"volumes":{}}})", "spec.volumes: expected a list"},
      {R"({"spec":{"containers":[{},{"env":[{"name":7}]}]}})",
       "spec.containers[1].env[0].name: expected a string"},
      {R"({"spec":{"containers":[{"stdin":"yes"}]}})",
       "spec.containers[0].stdin: expected true or false"},
      {R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"1.5.0"}}}]}})",
       "spec.containers[0].resources.limits[cpu]: expected a quantity"},
      {R"({"spec":{"containers":[{"resources":{"limits":7}}]}})",
       "spec.containers[0].resources.limits: expected an object"},
      {R"({"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":4294967296}}}]}})",
       "spec.containers[0].livenessProbe.httpGet.port: expected an integer or a string"},
      {R"({"spec":{"priority":2147483648}})", "spec.priority: expected an integer of 32 bits"},
      {R"({"spec":{"activeDeadlineSeconds":18446744073709551615}})",
       "spec.activeDeadlineSeconds: expected an integer"},
      {R"({"status":{"startTime":"noon"}})", "status.startTime: expected an RFC 3339 time"},
      {R"({"metadata":{"managedFields":[{"fieldsV1":[]}]}})",
       "metadata.managedFields[0].fieldsV1: expected an object"},
  };
  for (const Case& c : cases) {
    const auto pod = boost::json::parse(c.json);
    EXPECT_EQ(protobuf_misfit({"v1", "Pod"}, pod.as_object()),
              std::optional(std::string(c.misfit)));
  }
  const auto map = boost::json::parse(R"({"binaryData":{"a":"?"}})");
  EXPECT_EQ(protobuf_misfit({"v1", "ConfigMap"}, map.as_object()),
            std::optional(std::string("binaryData[a]: expected bytes in base64")));
}

TEST(Protobuf, QuantitiesOfEveryFormFit) {
  for (const char* quantity : {"0", "1", "-1.5", "+.5", "5.", "100m", "1k", "1Ki", "2Ei", "3E",
                               "1e3", "1E-3", "12345678901234567890n"}) {
    const boost::json::object node{
        {"status", boost::json::object{{"capacity", boost::json::object{{"x", quantity}}}}}};
    EXPECT_EQ(protobuf_misfit({"v1", "Node"}, node), std::nullopt) << quantity;
  }
  for (const char* quantity : {"", ".", "m", "1 k", "1kk", "1i", "1e", "1e+", "0x1", "--1", "1K"}) {
    const boost::json::object node{
        {"status", boost::json::object{{"capacity", boost::json::object{{"x", quantity}}}}}};
    EXPECT_NE(protobuf_misfit({"v1", "Node"}, node), std::nullopt) << quantity;
  }
}

TEST(Protobuf, MoreThanASecondOfNanosecondsIsAnError) {
  // renewTime {1 seconds, 2 nanos} = {1, 10^9}
  const auto lease =
      protobuf_to_object(from_hex("6b3873000a1f0a16636f6f7264696e6174696f6e2e6b38732e696f2f76311205"
                                  "4c65617365120c120a22080801108094ebdc03"));
  ASSERT_FALSE(lease);
  EXPECT_EQ(lease.error(),
            make_error(ErrorCode::BadRequest, "protobuf: time with 1000000000 nanoseconds"));
}

}  // namespace
}  // namespace fairlead::kube
