// Who may do what, as kubectl sees it: ServiceAccounts and their tokens.
#include "api/api_fixture.hpp"

namespace fairlead::api_test {
namespace {

using testing::HasSubstr;

class SecurityTest : public KubectlTest {
 protected:
  std::string token_of(const std::string& account) {
    if (is_current()) return ok({"create", "token", account, "--duration=10m"});
    const std::string made =
        ok({"create", "--raw",
            fmt::format("/api/v1/namespaces/default/serviceaccounts/{}/token", account), "-f", "-"},
           R"({"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}})");
    constexpr std::string_view kBefore = "\"token\":\"";
    const std::size_t begin = made.find(kBefore) + kBefore.size();
    return made.substr(begin, made.find('"', begin) - begin);
  }
  // A call of somebody who has only this token.
  std::vector<std::string> with_token(const std::string& token, std::vector<std::string> call) {
    const auto cluster = [this](std::string_view field) {
      return ok({"config", "view", "--raw", "-o",
                 fmt::format("jsonpath={{.clusters[0].cluster.{}}}", field)});
    };
    const std::string config =
        folder_.write("token.kubeconfig",
                      fmt::format("apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n"
                                  "    server: {}\n    certificate-authority-data: {}\n"
                                  "users:\n- name: u\n  user: {{token: {}}}\n"
                                  "contexts:\n- name: c\n  context: {{cluster: c, user: u}}\n"
                                  "current-context: c\n",
                                  cluster("server"), cluster("certificate-authority-data"), token));
    call.insert(call.begin(), {"--kubeconfig", config});
    return call;
  }
};
INSTANTIATE_TEST_SUITE_P(Kubectl, SecurityTest, testing::ValuesIn(kubectls_under_test()),
                         [](const auto& param) { return param.param.name; });

TEST_P(SecurityTest, EveryNamespaceHasItsDefaultServiceAccount) {
  EXPECT_THAT(ok({"get", "serviceaccounts", "-A", "--no-headers", "-o",
                  "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}"}),
              "default/default kube-node-lease/default kube-public/default kube-system/default ");
  ok({"create", "namespace", "made"});
  io::Child watching = start_kubectl({"get", "sa", "-n", "made", "-w", "-o", "name"}, "watch.out");
  ASSERT_TRUE(eventually(folder_, [this] {
    return folder_.read("watch.out") == "serviceaccount/default\n";
  })) << folder_.read("watch.out");
  ok({"delete", "sa", "default", "-n", "made"});
  EXPECT_TRUE(eventually(
      folder_,
      [this] {
        return folder_.read("watch.out") ==
               "serviceaccount/default\nserviceaccount/default\nserviceaccount/default\n";
      }))
      << "deleted and made again: " << folder_.read("watch.out");
  ok({"delete", "namespace", "made"});
}

TEST_P(SecurityTest, TokensOfServiceAccountsAreAcceptedWhileTheyLast) {
  ok({"create", "serviceaccount", "builder"});
  const auto ask = with_token(token_of("builder"), {"get", "--raw", "/api"});
  EXPECT_THAT(ok(ask), HasSubstr("APIVersions"));
  ok({"delete", "serviceaccount", "builder"});
  EXPECT_THAT(refused(ask), HasSubstr("Unauthorized"));
}

TEST_P(SecurityTest, RolesSayWhoMayDoWhat) {
  ok({"create", "serviceaccount", "builder"});
  const std::string token = token_of("builder");
  const auto as_builder = [&](std::vector<std::string> call) { return with_token(token, call); };
  EXPECT_THAT(refused(as_builder({"get", "services"})),
              HasSubstr("services is forbidden: User \"system:serviceaccount:default:builder\" "
                        "cannot list resource \"services\" in API group \"\" in the namespace "
                        "\"default\""));
  ok({"create", "role", "looker", "--verb=get,list,watch", "--resource=services"});
  ok({"create", "rolebinding", "look", "--role=looker", "--serviceaccount=default:builder"});
  EXPECT_THAT(ok(as_builder({"get", "services", "-o", "name"})), HasSubstr("service/kubernetes"));
  EXPECT_THAT(refused(as_builder({"delete", "service", "kubernetes"})),
              HasSubstr("services \"kubernetes\" is forbidden"));
  ok({"delete", "rolebinding", "look"});
  EXPECT_THAT(refused(as_builder({"get", "services"})), HasSubstr("Forbidden"));

  ok({"create", "clusterrolebinding", "edits", "--clusterrole=edit",
      "--serviceaccount=default:builder"});
  EXPECT_THAT(ok(as_builder({"create", "configmap", "made", "-n", "kube-public"})),
              HasSubstr("created"));
  EXPECT_THAT(refused(as_builder({"create", "clusterrolebinding", "more", "--clusterrole=admin",
                                  "--serviceaccount=default:builder"})),
              HasSubstr("cannot create resource \"clusterrolebindings\""));
}

}  // namespace
}  // namespace fairlead::api_test
