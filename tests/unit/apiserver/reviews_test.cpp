// What reviews answer, and as whom somebody may act: on the rules of a cluster in memory.
#include "apiserver/reviews.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/impersonation.hpp"
#include "apiserver/rbac_bootstrap.hpp"
#include "kube/protobuf.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kAuthenticationGroup = "authentication.k8s.io";
constexpr std::string_view kAuthorizationGroup = "authorization.k8s.io";

class ReviewsTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    registry_->on_change([this](const Resource& resource, const StoreEvent& event) {
      rbac_->changed(resource, event.key);
    });
    rbac_.emplace(*registry_);
    authorizer_.emplace(AuthorizationMode::Rbac, *rbac_);
    ASSERT_TRUE(run_task(loop_, make_standard_roles(registry_.get(), &clock_)));
    ASSERT_TRUE(create("serviceaccounts", R"({"metadata":{"name":"builder"}})"));
    ASSERT_TRUE(create("roles", R"({"metadata":{"name":"looker"},"rules":[
        {"verbs":["get","list"],"apiGroups":[""],"resources":["services"]},
        {"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["web"]}]})"));
    ASSERT_TRUE(create("rolebindings", R"({"metadata":{"name":"look"},
        "subjects":[{"kind":"User","name":"alice"}],"roleRef":{"kind":"Role","name":"looker"}})"));
    tokens_.emplace(*registry_, clock_, *io::SigningKey::generate(),
                    std::vector<io::VerificationKey>(), TokenTerms());
    authenticator_.emplace(std::vector<TokenEntry>{{.token = "alices-token", .user = alice_}},
                           &*tokens_);
    reviews_.emplace(*tokens_, *authenticator_, *authorizer_);
  }

  ApiResult<Reviews::Answer> ask(std::string_view group, std::string_view resource,
                                 std::string body, std::string_view query = "",
                                 std::string type = "application/json") {
    const ReviewKind* kind = find_review(group, "v1", resource);
    check(kind != nullptr, "the review is offered");
    const io::HttpRequest request{
        .method = "POST", .headers = {{"Content-Type", std::move(type)}}, .body = std::move(body)};
    const io::Url url = *io::parse_target(fmt::format("/x?{}", query));
    return reviews_->answer(*kind,
                            {.ns = "default", .request = &request, .url = &url, .user = &alice_});
  }
  // The status as JSON; the error's message when there is none.
  std::string status(std::string_view group, std::string_view resource, std::string body) {
    const auto answer = ask(group, resource, std::move(body));
    if (!answer) return fmt::format("{} {}", answer.error().code, answer.error().message);
    return boost::json::serialize(answer->object.at("status"));
  }
  std::string access(std::string_view resource, std::string_view spec,
                     std::string_view metadata = "{}") {
    return status(kAuthorizationGroup, resource,
                  fmt::format(R"({{"metadata":{},"spec":{}}})", metadata, spec));
  }
  std::string token_status(std::string_view token, std::string_view audiences = "[]") {
    return status(kAuthenticationGroup, "tokenreviews",
                  fmt::format(R"({{"spec":{{"token":"{}","audiences":{}}}}})", token, audiences));
  }
  std::string builders_token(std::string_view spec = R"({"expirationSeconds":600})") {
    const auto issued = tokens_->issue(
        "default", "builder", parse_document(fmt::format(R"({{"spec":{}}})", spec)), false);
    EXPECT_TRUE(issued);
    return issued ? std::string(string_at(*issued, "status.token")) : "";
  }

  const User alice_{.name = "alice",
                    .uid = "7",
                    .groups = {"dev", "system:authenticated"},
                    .extra = {{"k", {"v"}}}};
  std::optional<Rbac> rbac_;
  std::optional<Authorizer> authorizer_;
  std::optional<ServiceAccountTokens> tokens_;
  std::optional<Authenticator> authenticator_;
  std::optional<Reviews> reviews_;
};

// ---- who am I, whose token is this

TEST_F(ReviewsTest, SelfSubjectReviewSaysWhoAsks) {
  EXPECT_EQ(status(kAuthenticationGroup, "selfsubjectreviews", "{}"),
            R"({"userInfo":{"username":"alice","uid":"7","groups":["dev","system:authenticated"],)"
            R"("extra":{"k":["v"]}}})");
}

TEST_F(ReviewsTest, TokenReviewSaysWhoseTokenItIs) {
  EXPECT_EQ(token_status("alices-token"),
            R"({"authenticated":true,"user":{"username":"alice","uid":"7",)"
            R"("groups":["dev","system:authenticated"],"extra":{"k":["v"]}},)"
            R"("audiences":["https://kubernetes.default.svc.cluster.local"]})");
  const std::string answer = token_status(builders_token());
  EXPECT_THAT(answer, HasSubstr(R"("username":"system:serviceaccount:default:builder")"));
  EXPECT_THAT(answer, HasSubstr(R"("system:serviceaccounts:default","system:authenticated")"));
  EXPECT_THAT(answer, HasSubstr("authentication.kubernetes.io/credential-id"));
}

TEST_F(ReviewsTest, TokenReviewKnowsForWhomATokenIs) {
  const std::string token = builders_token(R"({"audiences":["vault","db"]})");
  EXPECT_THAT(token_status(token), HasSubstr("it is meant for others"));
  EXPECT_THAT(token_status(token, R"(["db","web"])"), HasSubstr(R"("audiences":["db"])"));
  EXPECT_THAT(token_status("alices-token", R"(["db"])"), HasSubstr("it is meant for others"));
}

TEST_F(ReviewsTest, TokenReviewRefusesWithoutQuoting) {
  const std::string token = builders_token();
  EXPECT_EQ(token_status("wrong"), R"({"user":{},"error":"it is no JSON Web Token"})");
  clock_.advance(11min + 1s);
  EXPECT_EQ(token_status(token), R"({"user":{},"error":"it has expired"})");
  EXPECT_EQ(status(kAuthenticationGroup, "tokenreviews", R"({"spec":{}})"),
            "400 token is required for TokenReview in authentication");
}

// ---- may I, may he

TEST_F(ReviewsTest, SelfSubjectAccessReviewTellsWhyOneMay) {
  EXPECT_EQ(
      access(
          "selfsubjectaccessreviews",
          R"({"resourceAttributes":{"namespace":"default","verb":"list","resource":"services"}})"),
      R"({"allowed":true,"reason":"RBAC: allowed by RoleBinding \"look/default\" of Role )"
      R"(\"looker\" to User \"alice\""})");
  struct Row {
    std::string_view name, spec;
    bool allowed;
  };
  for (
      const Row& row : {
          Row{"verb",
              R"({"resourceAttributes":{"namespace":"default","verb":"delete","resource":"services"}})",
              false},
          Row{"namespace",
              R"({"resourceAttributes":{"namespace":"x","verb":"list","resource":"services"}})",
              false},
          Row{"subresource",
              R"({"resourceAttributes":{"namespace":"default","verb":"get","resource":"services","subresource":"status"}})",
              false},
          Row{"named",
              R"({"resourceAttributes":{"namespace":"default","verb":"get","resource":"pods","name":"web"}})",
              true},
          Row{"another name",
              R"({"resourceAttributes":{"namespace":"default","verb":"get","resource":"pods","name":"db"}})",
              false},
          Row{"path", R"({"nonResourceAttributes":{"path":"/version","verb":"get"}})", true},
          Row{"other method", R"({"nonResourceAttributes":{"path":"/version","verb":"post"}})",
              false},
          Row{"no path", R"({"nonResourceAttributes":{"verb":"get"}})", false},
      }) {
    EXPECT_THAT(access("selfsubjectaccessreviews", row.spec),
                HasSubstr(row.allowed ? R"("allowed":true)" : R"("allowed":false)"))
        << row.name;
  }
}

TEST_F(ReviewsTest, SubjectAccessReviewIsAboutSomebodyElse) {
  const auto of = [](std::string_view who) {
    return fmt::format(R"({{{},"resourceAttributes":{{"namespace":"default","verb":"get",)"
                       R"("resource":"services"}}}})",
                       who);
  };
  EXPECT_THAT(access("subjectaccessreviews", of(R"("user":"alice")")), HasSubstr("true"));
  EXPECT_EQ(access("subjectaccessreviews", of(R"("user":"bob","extra":{"a":["b"]})")),
            R"({"allowed":false})");
  EXPECT_EQ(access("subjectaccessreviews", of(R"("groups":["system:masters"])")),
            R"({"allowed":true})");
  EXPECT_EQ(access("subjectaccessreviews", of(R"("user":"bob","extra":{"a":"b"})")),
            "400 spec.extra[a]: expected a list of strings");
}

TEST_F(ReviewsTest, AccessReviewsMustAskOneThing) {
  struct Row {
    std::string_view name, resource, spec, said, metadata = "{}";
  };
  for (const Row& row : {
           Row{"nothing", "selfsubjectaccessreviews", "{}",
               "spec.resourceAttributes: Invalid value: null: exactly one of"},
           Row{"both", "selfsubjectaccessreviews",
               R"({"resourceAttributes":{"verb":"get"},"nonResourceAttributes":{"verb":"get"}})",
               "cannot be specified in combination with resourceAttributes"},
           Row{"nobody", "subjectaccessreviews", R"({"resourceAttributes":{"verb":"get"}})",
               "spec.user: Invalid value: \"\": at least one of user or group"},
           Row{"a name", "selfsubjectaccessreviews", R"({"resourceAttributes":{"verb":"get"}})",
               "metadata: Invalid value", R"({"name":"x"})"},
           Row{"elsewhere", "localsubjectaccessreviews",
               R"({"user":"a","resourceAttributes":{"namespace":"x","verb":"get"}})",
               "spec.resourceAttributes.namespace: Invalid value: \"x\": must match"},
           Row{"a path", "localsubjectaccessreviews",
               R"({"user":"a","nonResourceAttributes":{"path":"/x","verb":"get"}})",
               "spec.nonResourceAttributes"},
           Row{"another namespace", "localsubjectaccessreviews",
               R"({"user":"a","resourceAttributes":{"namespace":"x","verb":"get"}})",
               "400 the namespace of the provided object", R"({"namespace":"x"})"},
       }) {
    EXPECT_THAT(access(row.resource, row.spec, row.metadata), HasSubstr(row.said)) << row.name;
  }
  EXPECT_THAT(access("localsubjectaccessreviews",
                     R"({"user":"alice","resourceAttributes":{"namespace":"default","verb":"get",)"
                     R"("resource":"services"}})"),
              HasSubstr(R"("allowed":true)"));
}

TEST_F(ReviewsTest, SelfSubjectRulesReviewListsWhatOneMay) {
  const std::string rules =
      status(kAuthorizationGroup, "selfsubjectrulesreviews", R"({"spec":{"namespace":"default"}})");
  EXPECT_THAT(rules,
              HasSubstr(R"({"verbs":["get","list"],"apiGroups":[""],"resources":["services"]})"));
  EXPECT_THAT(rules, HasSubstr(R"("resourceNames":["web"])"));
  EXPECT_THAT(rules, HasSubstr(R"("nonResourceURLs":["/api","/api/*")"));
  EXPECT_THAT(rules, HasSubstr(R"("incomplete":false)"));
  EXPECT_THAT(
      status(kAuthorizationGroup, "selfsubjectrulesreviews", R"({"spec":{"namespace":"x"}})"),
      testing::Not(HasSubstr("services\"]")));
  EXPECT_EQ(status(kAuthorizationGroup, "selfsubjectrulesreviews", R"({"spec":{}})"),
            "400 no namespace on request");
}

// ---- bodies

TEST_F(ReviewsTest, UnknownFieldsAreTold) {
  const std::string body = R"({"spec":{"nonResourceAttributes":{"path":"/x","method":"get"}}})";
  const auto answer = ask(kAuthorizationGroup, "selfsubjectaccessreviews", body);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_THAT(answer->warnings, ElementsAre("unknown field \"spec.nonResourceAttributes.method\""));
  const auto quiet =
      ask(kAuthorizationGroup, "selfsubjectaccessreviews", body, "fieldValidation=Ignore");
  ASSERT_TRUE(quiet);
  EXPECT_THAT(quiet->warnings, IsEmpty());
  const auto strict =
      ask(kAuthorizationGroup, "selfsubjectaccessreviews", body, "fieldValidation=Strict");
  ASSERT_FALSE(strict);
  EXPECT_EQ(strict.error().message,
            "strict decoding error: unknown field \"spec.nonResourceAttributes.method\"");
}

TEST_F(ReviewsTest, GoBothWaysInProtobuf) {
  const kube::KindName kind{.api_version = "authorization.k8s.io/v1",
                            .kind = "SelfSubjectAccessReview"};
  const std::string message = kube::protobuf_message(
      kind, parse_document(R"({"spec":{"nonResourceAttributes":{"path":"/api","verb":"get"}}})"));
  const std::string body = kube::protobuf_envelope(kind, message.size()) + message +
                           std::string(kube::kProtobufEnvelopeEnd);
  const auto answer = ask(kAuthorizationGroup, "selfsubjectaccessreviews", body, "",
                          std::string(kube::kProtobufMediaType));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(bool_at(answer->object, "status.allowed"), true);
  EXPECT_EQ(kube::protobuf_misfit(kind, answer->object), std::nullopt);
}

// ---- acting as somebody else

TEST_F(ReviewsTest, ImpersonationGivesWhatAuthenticationWould) {
  const User admin{.name = "root", .groups = {std::string(kMasters)}};
  const auto as = [&](const io::HttpHeaders& headers) {
    const auto user = impersonated(admin, headers, *authorizer_);
    EXPECT_TRUE(user) << (user ? "" : user.error().message);
    return user ? *user : std::optional<User>();
  };
  EXPECT_EQ(as({{"Accept", "x"}}), std::nullopt);
  EXPECT_EQ(as({{"Impersonate-User", "bob"}}),
            (User{.name = "bob", .groups = {"system:authenticated"}}));
  EXPECT_EQ(as({{"impersonate-user", "bob"},
                {"Impersonate-Group", "a"},
                {"Impersonate-Group", "b"},
                {"Impersonate-Uid", "5"},
                {"Impersonate-Extra-Example.com%2Fscope", "x"},
                {"Impersonate-Extra-example.com%2fscope", "y"}}),
            (User{.name = "bob",
                  .uid = "5",
                  .groups = {"a", "b", "system:authenticated"},
                  .extra = {{"example.com/scope", {"x", "y"}}}}));
  EXPECT_EQ(as({{"Impersonate-User", "system:serviceaccount:ns:sa"}}),
            (User{.name = "system:serviceaccount:ns:sa",
                  .groups = {"system:serviceaccounts", "system:serviceaccounts:ns",
                             "system:authenticated"}}));
  EXPECT_EQ(as({{"Impersonate-User", "system:anonymous"}}),
            (User{.name = "system:anonymous", .groups = {"system:unauthenticated"}}));
}

TEST_F(ReviewsTest, ImpersonationNeedsTheVerbForEachThingTakenOn) {
  ASSERT_TRUE(create("clusterroles", R"({"metadata":{"name":"actor"},"rules":[
      {"verbs":["impersonate"],"apiGroups":[""],"resources":["users"],"resourceNames":["bob"]},
      {"verbs":["impersonate"],"apiGroups":["authentication.k8s.io"],
       "resources":["userextras/scope"],"resourceNames":["x"]}]})"));
  ASSERT_TRUE(create("clusterrolebindings", R"({"metadata":{"name":"acts"},
      "subjects":[{"kind":"User","name":"alice"}],
      "roleRef":{"kind":"ClusterRole","name":"actor"}})"));
  const auto refusal = [this](io::HttpHeaders headers) {
    const auto user = impersonated(alice_, headers, *authorizer_);
    return user ? "" : fmt::format("{} {}", user.error().code, user.error().message);
  };
  const io::HttpHeader bob{"Impersonate-User", "bob"};
  EXPECT_EQ(refusal({bob}), "");
  EXPECT_EQ(refusal({bob, {"Impersonate-Extra-Scope", "x"}}), "");
  EXPECT_THAT(refusal({bob, {"Impersonate-Extra-Scope", "y"}}),
              HasSubstr("403 userextras.authentication.k8s.io \"y\" is forbidden: User \"alice\" "
                        "cannot impersonate resource \"userextras/scope\""));
  EXPECT_THAT(refusal({{"Impersonate-User", "eve"}}),
              HasSubstr("403 users \"eve\" is forbidden: User \"alice\" cannot impersonate "
                        "resource \"users\" in API group \"\" at the cluster scope"));
  EXPECT_THAT(refusal({bob, {"Impersonate-Group", "system:masters"}}),
              HasSubstr("403 groups \"system:masters\" is forbidden"));
  EXPECT_THAT(refusal({bob, {"Impersonate-Uid", "1"}}), HasSubstr("403 uids"));
  EXPECT_THAT(refusal({{"Impersonate-User", "system:serviceaccount:default:builder"}}),
              HasSubstr("403 serviceaccounts \"builder\" is forbidden"));
  EXPECT_THAT(refusal({{"Impersonate-Group", "dev"}}), HasSubstr("400 "));
  EXPECT_THAT(refusal({bob, {"Impersonate-Everything", "yes"}}), HasSubstr("400 "));
}

}  // namespace
}  // namespace fairlead::apiserver
