// What is refused of a write that is valid and allowed.
#include "apiserver/admission.hpp"

#include <gmock/gmock.h>

#include "unit/apiserver/server_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::HasSubstr;

TEST(AdmissionPlugins, AreChosenByKubernetesNames) {
  const auto chosen = parse_admission_plugins({"NamespaceLifecycle", "DenyServiceExternalIPs"});
  ASSERT_TRUE(chosen) << chosen.error().message;
  EXPECT_TRUE(chosen->deny_external_ips);
  EXPECT_FALSE(parse_admission_plugins({})->deny_external_ips);
  const auto unknown = parse_admission_plugins({"DenyServiceExternalIPs", "PodSecurity"});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("\"PodSecurity\" is neither"));
}

class ExternalIpsTest : public ServerTest {
 protected:
  static constexpr std::string_view kServices = "/api/v1/namespaces/default/services";
  Answer create(std::string_view name, std::string_view ips) {
    return call("POST", std::string(kServices),
                fmt::format(R"({{"metadata":{{"name":"{}"}},)"
                            R"("spec":{{"ports":[{{"port":80}}],"externalIPs":{}}}}})",
                            name, ips));
  }
  Answer set(std::string_view name, std::string_view ips) {
    return call("PATCH", fmt::format("{}/{}", kServices, name),
                fmt::format(R"({{"spec":{{"externalIPs":{}}}}})", ips),
                "application/merge-patch+json");
  }
};

TEST_F(ExternalIpsTest, AreRefusedWhereTheyAreNewAndMayGo) {
  const std::string folder = temporary_folder();
  start(folder);
  ASSERT_EQ(create("old", R"(["192.0.2.1","192.0.2.2"])").status, 201U) << "unless it is asked for";
  admission_ = {.deny_external_ips = true};
  restart(folder);
  const Answer refused = create("new", R"(["192.0.2.1"])");
  EXPECT_EQ(refused.status, 403U);
  EXPECT_EQ(string_at(refused.body, "message"),
            "services \"new\" is forbidden: Use of external IPs is denied by admission control");
  EXPECT_EQ(create("new", "[]").status, 201U);
  EXPECT_EQ(set("new", R"(["192.0.2.1"])").status, 403U);
  EXPECT_EQ(set("old", R"(["192.0.2.1","192.0.2.9"])").status, 403U);
  EXPECT_EQ(call("PATCH", std::string(kServices) + "/old", R"({"spec":{"type":"NodePort"}})",
                 "application/merge-patch+json")
                .status,
            200U)
      << "what it has stays";
  EXPECT_EQ(set("old", R"(["192.0.2.2"])").status, 200U);
  EXPECT_EQ(set("old", R"(["192.0.2.1"])").status, 403U);
  EXPECT_EQ(set("old", "null").status, 200U);
}

}  // namespace
}  // namespace fairlead::apiserver
