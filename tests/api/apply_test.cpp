// Server-side apply as people use it: several managers of one object, conflicts, what is taken
// back, objects that came from `kubectl apply`. Both kubectls.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ApplyTest : public KubectlTest {
 protected:
  std::string web(const std::string& jsonpath) {
    return ok({"get", "service", "web", "-o", "jsonpath={" + jsonpath + "}"});
  }
  // The object with its owners; kubectls before 1.21 know no other way to show it.
  std::string web_with_owners() {
    std::vector<std::string> arguments{"get", "service", "web", "-o", "yaml"};
    if (is_current()) arguments.emplace_back("--show-managed-fields");
    return ok(arguments);
  }
};

INSTANTIATE_TEST_SUITE_P(Kubectl, ApplyTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

constexpr std::string_view kWeb = R"(
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{port: 53, name: u, protocol: UDP}, {port: 53, name: t}]
)";
constexpr std::string_view kSticky = R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {sessionAffinity: ClientIP}
)";
constexpr std::string_view kOnePort = R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 53, name: u, protocol: UDP}]
)";

TEST_P(ApplyTest, AppliesMakeAndChangeAndTakeBackWhatTheyMade) {
  const std::vector<std::string> apply{"apply", "--server-side", "-f", "-"};
  EXPECT_EQ(ok(apply, kWeb), "service/web serverside-applied\n");
  EXPECT_THAT(web_with_owners(), AllOf(HasSubstr("manager: kubectl\n"), HasSubstr("Apply"),
                                       HasSubstr(R"(k:{"port":53,"protocol":"UDP"}:)"),
                                       Not(HasSubstr("f:clusterIP"))));
  const std::string revision = web(".metadata.resourceVersion");
  EXPECT_EQ(ok(apply, kWeb), "service/web serverside-applied\n");
  EXPECT_EQ(web(".metadata.resourceVersion"), revision);

  ok(apply, kOnePort);
  EXPECT_EQ(web(".spec.ports[*].name"), "u");
  EXPECT_EQ(web(".metadata.labels"), "");
}

TEST_P(ApplyTest, ManagersShareAnObjectAndAreToldOfTheirConflicts) {
  ok({"apply", "--server-side", "-f", "-"}, kWeb);
  ok({"apply", "--server-side", "--field-manager=other", "-f", "-"}, kSticky);
  ok({"patch", "service", "web", "-p", R"({"spec":{"sessionAffinity":"None"}})"});
  const std::vector<std::string> apply{"apply", "--server-side", "--field-manager=other"};
  std::vector<std::string> plain = apply, forced = apply;
  plain.insert(plain.end(), {"-f", "-"});
  forced.insert(forced.end(), {"--force-conflicts", "-f", "-"});
  EXPECT_THAT(
      refused(plain, kSticky),
      AllOf(HasSubstr("Apply failed with 1 conflict: conflict with"),
            HasSubstr(R"("kubectl-patch" using v1 at )"), HasSubstr(".spec.sessionAffinity")));
  EXPECT_EQ(web(".spec.sessionAffinity"), "None");
  ok(forced, kSticky);
  EXPECT_EQ(web(".spec.sessionAffinity"), "ClientIP");
  ok(plain, kSticky);
  EXPECT_EQ(web(".spec.ports[*].name"), "u t");
}

TEST_P(ApplyTest, DiffShowsWhatWouldBecomeAndChangesNothing) {
  if (!is_current()) return;  // looks into OpenAPI v2 for dry runs, which this server leaves empty
  ok({"apply", "--server-side", "-f", "-"}, kWeb);
  const std::string revision = web(".metadata.resourceVersion");
  EXPECT_EQ(kubectl({"diff", "--server-side", "-f", "-"}, kWeb).status.code, 0);
  const io::Output differs = kubectl({"diff", "--server-side", "-f", "-"}, kOnePort);
  EXPECT_EQ(differs.status.code, 1);
  EXPECT_THAT(differs.out, HasSubstr("-  - name: t\n"));
  EXPECT_EQ(web(".metadata.resourceVersion"), revision);
}

TEST_P(ApplyTest, WhatTheClientAppliedIsTakenOverByTheServer) {
  std::string two_ports(kWeb);
  two_ports.replace(two_ports.find("port: 53, name: t"), 8, "port: 80");
  ok({"apply", "-f", "-"}, two_ports);
  ok({"annotate", "service", "web", "kept=yes"});
  ok({"apply", "--server-side", "-f", "-"}, kOnePort);
  EXPECT_EQ(web(".metadata.annotations.kept"), "yes");
  // The other port was the client's, whose owner only a newer kubectl takes over.
  EXPECT_EQ(web(".spec.ports[*].name"), is_current() ? "u" : "u t");
  ok({"apply", "-f", "-"}, two_ports);
  EXPECT_EQ(web(".spec.ports[*].name"), "u t");
}

TEST_P(ApplyTest, AConfigurationWithFaultsIsRefusedAndMakesNothing) {
  EXPECT_THAT(refused({"apply", "--server-side", "--validate=false", "-f", "-"},
                      "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {foo: 1}\n"),
              HasSubstr(".spec.foo: field not declared in schema"));
  EXPECT_THAT(refused({"get", "service", "web"}), HasSubstr("not found"));
}

}  // namespace
}  // namespace fairlead::api_test
