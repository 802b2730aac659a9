// What a client leaves out of an update, or sends empty, is neither lost nor given to it.
#include <gmock/gmock.h>

#include <boost/json/serialize.hpp>

#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

class LeftOutTest : public ServerTest {
 protected:
  static constexpr std::string_view kServices = "/api/v1/namespaces/default/services";

  void make(std::string_view spec) {
    start();
    const Answer made = call("POST", std::string(kServices),
                             fmt::format(R"({{"metadata":{{"name":"web"}},"spec":{}}})", spec));
    ASSERT_EQ(made.status, 201U) << boost::json::serialize(made.body);
    made_ = made.body;
  }
  std::string target() const { return fmt::format("{}/web", kServices); }
  Answer merge(std::string_view patch) {
    return call("PATCH", target(), std::string(patch), "application/merge-patch+json");
  }
  // The object as it was made, but for members of spec.
  Document without(std::vector<std::string_view> members, bool owners = true) const {
    Document out = made_;
    for (const std::string_view member : members) out["spec"].as_object().erase(member);
    if (!owners) out["metadata"].as_object().erase("managedFields");
    return out;
  }
  void expect_unchanged(const Answer& answer, std::string_view what) {
    EXPECT_EQ(answer.status, 200U) << what;
    EXPECT_EQ(boost::json::value(answer.body), boost::json::value(made_)) << what;
  }

  Document made_;
};

TEST_F(LeftOutTest, AClusterIpIsNotGivenUp) {
  make(R"({"ports":[{"port":80}]})");
  for (const char* patch :
       {R"({"spec":{"clusterIP":""}})", R"({"spec":{"clusterIP":null}})",
        R"({"spec":{"clusterIP":"","clusterIPs":[]}})",
        R"({"spec":{"clusterIP":null,"clusterIPs":null}})", R"({"spec":{"clusterIPs":[]}})",
        R"({"spec":{"externalName":"","healthCheckNodePort":0,"publishNotReadyAddresses":false}})",
        R"({"metadata":{"labels":{},"finalizers":[]},"spec":{"selector":{}}})"}) {
    expect_unchanged(merge(patch), patch);
  }
  for (const bool owners : {true, false}) {
    for (const std::vector<std::string_view>& members :
         {std::vector<std::string_view>{},
          {"clusterIP"},
          {"clusterIPs"},
          {"clusterIP", "clusterIPs"},
          {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}}) {
      expect_unchanged(call("PUT", target(), boost::json::serialize(without(members, owners))),
                       fmt::format("PUT without {}, {}", fmt::join(members, " "), owners));
    }
  }
  Document empty = without({});
  empty["spec"].as_object()["clusterIP"] = "";
  expect_unchanged(call("PUT", target(), boost::json::serialize(empty)), "PUT of an empty one");
}

// Who asked for the address keeps it as his own.
TEST_F(LeftOutTest, AChosenClusterIpKeepsItsOwner) {
  make(R"({"clusterIP":"10.96.3.3","ports":[{"port":80}]})");
  for (const char* patch : {R"({"spec":{"clusterIP":""}})", R"({"spec":{"clusterIP":null}})"})
    expect_unchanged(merge(patch), patch);
  expect_unchanged(
      call("PUT", target(), boost::json::serialize(without({"clusterIP", "clusterIPs"}))), "PUT");
}

TEST_F(LeftOutTest, ANodePortIsNotGivenUp) {
  make(R"({"type":"NodePort","ports":[{"name":"a","port":80}]})");
  const Answer zero = call("PATCH", target(), R"({"spec":{"ports":[{"port":80,"nodePort":0}]}})",
                           "application/strategic-merge-patch+json");
  expect_unchanged(zero, "a node port of 0");
  Document put = made_;
  put["spec"].as_object()["ports"].as_array()[0].as_object().erase("nodePort");
  expect_unchanged(call("PUT", target(), boost::json::serialize(put)), "PUT without");
}

TEST_F(LeftOutTest, WhatIsSentEmptyIsNobodys) {
  make(R"({"clusterIP":"","externalName":"","publishNotReadyAddresses":false,)"
       R"("externalIPs":[],"ports":[{"port":80,"name":"","nodePort":0}]})");
  const std::string text = boost::json::serialize(made_);
  for (const char* field : {"f:clusterIP\"", "externalName", "publishNotReadyAddresses",
                            "externalIPs", "f:name\"", "nodePort"})
    EXPECT_EQ(text.find(field), std::string::npos) << field << " in " << text;
}

}  // namespace
}  // namespace fairlead::apiserver
