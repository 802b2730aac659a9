#include "kube/protobuf.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

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
  const auto json = protobuf_to_json(from_hex(kService));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(boost::json::parse(*json), boost::json::parse(R"({
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"name": "c1", "labels": {"app": "c1"}},
    "spec": {"ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
             "selector": {"app": "c1"}, "type": "ClusterIP"}})"));
}

TEST(Protobuf, TruncationsAreRefused) {
  const std::string whole = from_hex(kService);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto json = protobuf_to_json(std::string_view(whole).substr(0, size));
    if (json) continue;
    ++refused;
    EXPECT_TRUE(json.error().code == ErrorCode::BadRequest ||
                json.error().code == ErrorCode::Unsupported);
  }
  EXPECT_GE(refused, whole.size() - 4);  // only cuts within the empty trailer leave a whole object
}

TEST(Protobuf, OtherBodiesAreRefusedInWords) {
  EXPECT_THAT(protobuf_to_json("{}").error().message, HasSubstr("magic"));
  const auto gadget = protobuf_to_json(enveloped("0a0c0a0276311206", "Gadget", ""));
  ASSERT_FALSE(gadget);
  EXPECT_EQ(gadget.error().code, ErrorCode::Unsupported);
  EXPECT_THAT(gadget.error().message, HasSubstr("\"Gadget\""));
}

TEST(Protobuf, AFieldThatWouldBeLostIsAnError) {
  const auto pod =
      protobuf_to_json(enveloped("0a090a0276311203", "Pod", "120512030a0176"));  // spec.volumes
  ASSERT_FALSE(pod);
  EXPECT_EQ(pod.error().code, ErrorCode::Unsupported);
  EXPECT_THAT(pod.error().message, HasSubstr("volumes"));
}

TEST(Protobuf, ATimeTheClockCannotHoldIsAnError) {
  // metadata.creationTimestamp {1 seconds} = 10^11, the year 5138, and 1
  constexpr std::string_view kType = "0a090a0276311203";
  const auto far = protobuf_to_json(enveloped(kType, "Pod", "120b0a0942070880d0dbc3f402"));
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error(), make_error(ErrorCode::BadRequest,
                                    "protobuf: time of 100000000000 seconds is out of range"));
  const auto near = protobuf_to_json(enveloped(kType, "Pod", "12060a0442020801"));
  ASSERT_TRUE(near) << near.error().message;
  EXPECT_EQ(boost::json::parse(*near), boost::json::parse(
                                           R"({"apiVersion":"v1","kind":"Pod",
                    "metadata":{"creationTimestamp":"1970-01-01T00:00:01Z"}})"));
}

TEST(Protobuf, PresenceOfPointersIsKept) {
  const auto options =
      protobuf_to_json(enveloped("0a130a027631120d", "DeleteOptions", "120408001800"));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(
      boost::json::parse(*options),
      boost::json::parse(
          R"({"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"orphanDependents":false})"));
}

}  // namespace
}  // namespace fairlead::kube
