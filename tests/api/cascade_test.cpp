// What becomes of dependents under each of kubectl's cascades, with both kubectls.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

class CascadeTest : public KubectlTest {
 protected:
  void SetUp() override {
    KubectlTest::SetUp();
    if (IsSkipped()) return;
    ok({"create", "configmap", "owner"});
    const std::string uid = ok({"get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"});
    ok({"create", "-f",
        folder_.write("dependent.yaml", fmt::format(R"(
apiVersion: v1
kind: ConfigMap
metadata:
  name: dependent
  ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {}, blockOwnerDeletion: true}}]
)",
                                                    uid))});
  }
  std::string maps() {
    return ok({"get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"});
  }
};

INSTANTIATE_TEST_SUITE_P(Kubectl, CascadeTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

TEST_P(CascadeTest, BackgroundLeavesDependentsToTheCollector) {
  io::Child watching =
      start_kubectl({"wait", "--for=delete", "configmap/dependent", "--timeout=30s"}, "wait.out");
  ok({"delete", "configmap", "owner"});
  const auto ended = watching.wait_blocking();
  ASSERT_TRUE(ended);
  // It may have been gone before anybody waited.
  if (!ended->ok())
    EXPECT_THAT(folder_.read("wait.out"),
                testing::AnyOf(testing::HasSubstr("not found"), testing::HasSubstr("no matching")));
  EXPECT_EQ(maps(), "");
}

TEST_P(CascadeTest, ForegroundEndsWithTheOwner) {
  ok({"delete", "configmap", "owner", "--cascade=foreground", "--timeout=30s"});
  EXPECT_EQ(maps(), "");
}

TEST_P(CascadeTest, OrphansAreNobodysDependents) {
  ok({"delete", "configmap", "owner", "--cascade=orphan", "--timeout=30s"});
  EXPECT_EQ(maps(), "dependent");
  EXPECT_EQ(ok({"get", "configmap", "dependent", "-o", "jsonpath={.metadata.ownerReferences}"}),
            "");
}

}  // namespace
}  // namespace fairlead::api_test
