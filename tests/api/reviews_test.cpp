// Who am I and what may I, as kubectl asks it; acting as somebody else; tokens as programs that
// are shown them have them reviewed.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ReviewsTest : public KubectlTest {};
INSTANTIATE_TEST_SUITE_P(Kubectl, ReviewsTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

TEST_P(ReviewsTest, CanIAnswersByRoles) {
  ok({"create", "role", "looker", "--verb=get,list", "--resource=services"});
  ok({"create", "rolebinding", "look", "--role=looker", "--user=alice"});
  EXPECT_EQ(ok({"auth", "can-i", "delete", "services"}), "yes\n");
  EXPECT_EQ(ok({"auth", "can-i", "list", "services", "--as", "alice"}), "yes\n");
  EXPECT_EQ(ok({"auth", "can-i", "get", "/version", "--as", "alice"}), "yes\n");
  EXPECT_EQ(ok({"auth", "can-i", "get", "nodes", "--as", "alice", "--as-group", "system:masters"}),
            "yes\n");
  const auto no = [this](std::vector<std::string> call) {
    call.insert(call.begin(), {"auth", "can-i"});
    const io::Output output = kubectl(std::move(call));
    EXPECT_EQ(output.status.code, 1);
    EXPECT_THAT(output.out, testing::StartsWith("no"));
  };
  no({"delete", "services", "--as", "alice"});
  no({"list", "services", "--as", "alice", "-n", "kube-system"});
  no({"get", "services", "--subresource=status", "--as", "alice"});
  no({"get", "/metrics", "--as", "alice"});
  no({"list", "services", "--as", "system:serviceaccount:default:default"});

  EXPECT_THAT(ok({"auth", "can-i", "--list", "--as", "alice"}),
              AllOf(HasSubstr("services "), HasSubstr("[get list]"),
                    HasSubstr("selfsubjectaccessreviews.authorization.k8s.io"),
                    HasSubstr("[/openapi/*]"), Not(HasSubstr("*.*"))));
  EXPECT_THAT(ok({"auth", "can-i", "--list"}), HasSubstr("*.*"));
}

TEST_P(ReviewsTest, WhoActsAsSomebodyElseMayWhatThatOneMay) {
  EXPECT_THAT(refused({"get", "services", "--as", "bob"}),
              HasSubstr("User \"bob\" cannot list resource \"services\""));
  ok({"create", "clusterrole", "actor", "--verb=impersonate", "--resource=users",
      "--resource-name=bob"});
  ok({"create", "clusterrolebinding", "acts", "--clusterrole=actor", "--user=alice"});
  ok({"create", "clusterrolebinding", "views", "--clusterrole=view", "--user=bob"});
  EXPECT_THAT(ok({"get", "services", "--as", "bob", "-o", "name"}),
              HasSubstr("service/kubernetes"));
  if (!is_current()) return;
  EXPECT_THAT(ok({"auth", "whoami", "--as", "bob", "--as-group", "dev", "-o", "json"}),
              AllOf(HasSubstr("\"username\": \"bob\""), HasSubstr("\"dev\""),
                    HasSubstr("\"system:authenticated\"")));
  EXPECT_THAT(ok({"auth", "whoami"}),
              AllOf(HasSubstr("fairlead-admin"), HasSubstr("system:masters")));
}

TEST_P(ReviewsTest, ReviewsOfOthersAreAnswered) {
  const auto review = [this](std::string_view kind, std::string_view version,
                             std::string_view spec) {
    return ok({"create", "-f", "-", "-o", "yaml"},
              fmt::format("kind: {}\napiVersion: {}\nspec: {}\n", kind, version, spec));
  };
  ok({"create", "serviceaccount", "builder"});
  std::string made =
      ok({"create", "--raw", "/api/v1/namespaces/default/serviceaccounts/builder/token", "-f", "-"},
         R"({"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}})");
  constexpr std::string_view kBefore = "\"token\":\"";
  made.erase(0, made.find(kBefore) + kBefore.size());
  const std::string token = made.substr(0, made.find('"'));
  const auto of_token = [&] {
    return review("TokenReview", "authentication.k8s.io/v1", fmt::format("{{token: {}}}", token));
  };
  EXPECT_THAT(of_token(), AllOf(HasSubstr("authenticated: true"),
                                HasSubstr("username: system:serviceaccount:default:builder")));
  ok({"delete", "serviceaccount", "builder"});
  EXPECT_THAT(of_token(), AllOf(HasSubstr("error: serviceaccounts default/builder is gone"),
                                Not(HasSubstr("authenticated: true"))));

  constexpr std::string_view kAccess =
      "{user: bob, groups: [system:masters], resourceAttributes: {verb: get, resource: nodes, "
      "namespace: default}}";
  EXPECT_THAT(review("SubjectAccessReview", "authorization.k8s.io/v1", kAccess),
              HasSubstr("allowed: true"));
  EXPECT_THAT(review("LocalSubjectAccessReview", "authorization.k8s.io/v1", kAccess),
              HasSubstr("allowed: true"));
  // Validating would need a list of CustomResourceDefinitions, which bob may not have.
  const std::string refusal = refused(
      {"create", "-f", "-", "--as", "bob", "--validate=false"},
      fmt::format("kind: SubjectAccessReview\napiVersion: authorization.k8s.io/v1\nspec: {}",
                  kAccess));
  EXPECT_THAT(refusal, HasSubstr("cannot create resource \"subjectaccessreviews\""));
}

}  // namespace
}  // namespace fairlead::api_test
