// The index of who has which rules, the roles every cluster has, and that nobody gives away more
// than he has.
#include "apiserver/rbac.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/rbac_bootstrap.hpp"
#include "apiserver/rbac_guard.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// ---- a cluster's

class RbacTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    registry_->on_change([this](const Resource& resource, const StoreEvent& event) {
      rbac_->changed(resource, event.key);
    });
    rbac_.emplace(*registry_);
    ASSERT_TRUE(run_task(loop_, make_standard_roles(registry_.get(), &clock_)));
    RoleAggregator aggregator(*registry_, clock_, loop_.get_executor());
    for (int round = 0; round < 3; ++round) ASSERT_TRUE(run_task(loop_, aggregator.aggregate()));
  }
  void bind(std::string_view name, std::string_view role, std::string_view subject,
            bool everywhere = false) {
    const auto made =
        create(everywhere ? "clusterrolebindings" : "rolebindings",
               parse_document(fmt::format(R"({{"metadata":{{"name":"{}"}},"subjects":[{}],
                                        "roleRef":{{"kind":"ClusterRole","name":"{}"}}}})",
                                          name, subject, role)));
    ASSERT_TRUE(made) << made.error().message;
  }
  static User user(std::string name, std::vector<std::string> groups = {}) {
    groups.emplace_back(kAuthenticated);
    return {.name = std::move(name), .groups = std::move(groups)};
  }
  bool may(const User& who, std::string verb, std::string resource, std::string ns,
           std::string group = {}) {
    return rbac_->allows(who, {.verb = std::move(verb),
                               .path = {},
                               .group = std::move(group),
                               .resource = std::move(resource),
                               .subresource = {},
                               .ns = std::move(ns),
                               .name = {}});
  }

  std::optional<Rbac> rbac_;
};

constexpr std::string_view kAlice = R"({"kind":"User","name":"alice"})";

TEST_F(RbacTest, BindingsHoldInTheirNamespaceOrEverywhere) {
  bind("look", "view", kAlice);
  EXPECT_TRUE(may(user("alice"), "list", "services", "default"));
  EXPECT_FALSE(may(user("alice"), "list", "services", "other"));
  EXPECT_FALSE(may(user("alice"), "list", "services", "")) << "of all namespaces";
  EXPECT_FALSE(may(user("alice"), "create", "services", "default"));
  EXPECT_FALSE(may(user("bob"), "list", "services", "default"));
  bind("look", "view", kAlice, true);
  EXPECT_TRUE(may(user("alice"), "list", "services", "other"));
  EXPECT_TRUE(may(user("alice"), "list", "services", ""));
}

TEST_F(RbacTest, SubjectsAreUsersGroupsAndServiceAccounts) {
  bind("g", "view", R"({"kind":"Group","name":"dev"})");
  bind("s", "edit", R"({"kind":"ServiceAccount","name":"builder","namespace":"ci"})");
  EXPECT_TRUE(may(user("bob", {"dev"}), "get", "pods", "default"));
  EXPECT_FALSE(may(user("dev"), "get", "pods", "default")) << "a user of the group's name";
  EXPECT_TRUE(may(user("system:serviceaccount:ci:builder"), "create", "pods", "default"));
  EXPECT_FALSE(may(user("system:serviceaccount:default:builder"), "create", "pods", "default"));
}

TEST_F(RbacTest, ChangesAreKnownAtOnce) {
  const auto allowed = [this] { return may(user("alice"), "get", "nodes", "", ""); };
  ASSERT_TRUE(create("clusterrolebindings",
                     R"({"metadata":{"name":"b"},"subjects":[{"kind":"User","name":"alice"}],
                         "roleRef":{"kind":"ClusterRole","name":"later"}})"));
  EXPECT_FALSE(allowed()) << "no such role yet";
  ASSERT_TRUE(create("clusterroles", R"({"metadata":{"name":"later"},
      "rules":[{"verbs":["get"],"apiGroups":[""],"resources":["nodes"]}]})"));
  EXPECT_TRUE(allowed());
  ASSERT_TRUE(patch("clusterroles", "later",
                    R"({"rules":[{"verbs":["list"],"apiGroups":[""],"resources":["nodes"]}]})"));
  EXPECT_FALSE(allowed());
  ASSERT_TRUE(patch("clusterroles", "later",
                    R"({"rules":[{"verbs":["*"],"apiGroups":[""],"resources":["nodes"]}]})"));
  EXPECT_TRUE(allowed());
  ASSERT_TRUE(patch("clusterrolebindings", "b", R"({"subjects":[{"kind":"User","name":"bob"}]})"));
  EXPECT_FALSE(allowed());
  EXPECT_TRUE(may(user("bob"), "get", "nodes", ""));
  ASSERT_TRUE(remove("clusterrolebindings", "b"));
  EXPECT_FALSE(may(user("bob"), "get", "nodes", ""));
}

TEST_F(RbacTest, ARestartedServerKnowsTheSame) {
  bind("look", "view", kAlice);
  Rbac again(*registry_);
  EXPECT_FALSE(again.allows(user("alice"), {.verb = "get", .resource = "pods", .ns = "default"}));
  again.load();
  EXPECT_TRUE(again.allows(user("alice"), {.verb = "get", .resource = "pods", .ns = "default"}));
}

TEST_F(RbacTest, MetricsAreForMonitoringAndAdministrators) {
  const Attributes metrics{.verb = "get", .path = "/metrics"};
  EXPECT_FALSE(rbac_->allows(user("alice"), metrics));
  EXPECT_TRUE(rbac_->allows({.name = "prometheus", .groups = {"system:monitoring"}}, metrics));
  EXPECT_TRUE(rbac_->allows({.name = "root", .groups = {"system:masters"}}, metrics));
}

TEST_F(RbacTest, SaysWhy) {
  bind("look", "view", kAlice);
  EXPECT_EQ(rbac_->reason(user("alice"), {.verb = "get", .resource = "pods", .ns = "default"}),
            "RBAC: allowed by RoleBinding \"look/default\" of ClusterRole \"view\" to User "
            "\"alice\"");
  EXPECT_EQ(rbac_->reason(user("alice"), {.verb = "get", .path = "/version"}),
            "RBAC: allowed by ClusterRoleBinding \"system:public-info-viewer\" of ClusterRole "
            "\"system:public-info-viewer\" to Group \"system:authenticated\"");
  EXPECT_EQ(rbac_->reason(user("bob"), {.verb = "get", .resource = "pods"}), std::nullopt);
}

TEST_F(RbacTest, ARoleBindingOpensNoPaths) {
  bind("all", "cluster-admin", kAlice);
  EXPECT_TRUE(may(user("alice"), "delete", "services", "default"));
  EXPECT_FALSE(rbac_->allows(user("alice"), {.verb = "get", .path = "/metrics"}));
}

TEST_F(RbacTest, StandardRolesGiveWhatTheirNamesSay) {
  bind("a", "admin", R"({"kind":"User","name":"adam"})");
  bind("e", "edit", R"({"kind":"User","name":"eve"})");
  bind("v", "view", R"({"kind":"User","name":"vic"})");
  const User nobody{.name = std::string(kAnonymous), .groups = {std::string(kUnauthenticated)}};
  const User adam = user("adam"), eve = user("eve"), vic = user("vic");
  const User proxy = user(std::string(kProxyUser)), controller = user(std::string(kControllerUser));
  struct Row {
    const User& who;
    std::string verb, group, resource, ns;
    bool allowed;
  };
  const std::string rbac(kRbacGroup), discovery = "discovery.k8s.io";
  for (const Row& row : {
           Row{adam, "create", rbac, "rolebindings", "default", true},
           Row{eve, "create", rbac, "rolebindings", "default", false},
           Row{adam, "delete", "", "services", "default", true},
           Row{eve, "delete", "", "services", "default", true},
           Row{vic, "delete", "", "services", "default", false},
           Row{vic, "watch", discovery, "endpointslices", "default", true},
           Row{eve, "update", discovery, "endpointslices", "default", false},
           Row{adam, "update", "", "endpoints", "default", false},
           Row{vic, "get", rbac, "roles", "default", false},
           Row{proxy, "watch", "", "services", "", true},
           Row{proxy, "list", discovery, "endpointslices", "", true},
           Row{proxy, "create", "events.k8s.io", "events", "default", true},
           Row{proxy, "update", "", "services", "default", false},
           Row{proxy, "list", "", "configmaps", "", false},
           Row{controller, "delete", discovery, "endpointslices", "default", true},
           Row{controller, "delete", "", "services", "default", false},
           Row{controller, "delete", "", "pods", "default", true},
           Row{controller, "watch", "coordination.k8s.io", "leases", "kube-node-lease", true},
           Row{controller, "delete", "", "nodes", "", false},
           Row{controller, "patch", "", "nodes", "", false},  // their status only
           Row{controller, "deletecollection", "", "pods", "default", false},
           Row{controller, "list", "", "configmaps", "default", false},
           Row{nobody, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", false},
           Row{vic, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", true},
       }) {
    EXPECT_EQ(may(row.who, row.verb, row.resource, row.ns, row.group), row.allowed)
        << row.who.name << " " << row.verb << " " << row.resource;
  }
  EXPECT_TRUE(rbac_->allows(nobody, {.verb = "get", .path = "/version"}));
  EXPECT_FALSE(rbac_->allows(nobody, {.verb = "get", .path = "/apis"}));
  EXPECT_TRUE(rbac_->allows(vic, {.verb = "get", .path = "/openapi/v3/api/v1"}));
  EXPECT_FALSE(rbac_->allows(vic, {.verb = "get", .path = "/metrics"}));
}

TEST_F(RbacTest, StandardRolesAreMendedUnlessToldNotTo) {
  const auto rules = [this](std::string_view role) {
    return rbac_->rules_of_role("ClusterRole", {}, role)->size();
  };
  const std::size_t before = rules("system:node-proxier");
  ASSERT_TRUE(patch("clusterroles", "system:node-proxier", R"({"rules":[]})"));
  ASSERT_TRUE(patch("clusterroles", "system:discovery",
                    R"({"rules":[],"metadata":{"annotations":
                        {"rbac.authorization.kubernetes.io/autoupdate":"false"}}})"));
  ASSERT_TRUE(patch("clusterrolebindings", "cluster-admin", R"({"subjects":null})"));
  ASSERT_TRUE(run_task(loop_, make_standard_roles(registry_.get(), &clock_)));
  EXPECT_GE(rules("system:node-proxier"), before);
  EXPECT_EQ(rules("system:discovery"), 0U);
  EXPECT_TRUE(may(user("root", {std::string(kMasters)}), "delete", "nodes", ""));
  const auto revision = registry_->store().current_revision();
  ASSERT_TRUE(run_task(loop_, make_standard_roles(registry_.get(), &clock_)));
  EXPECT_EQ(registry_->store().current_revision(), revision) << "nothing to mend, nothing written";
}

TEST_F(RbacTest, RolesAndBindingsAreValidated) {
  struct Row {
    std::string_view name, resource, body;
    std::vector<std::string> refused;
  };
  for (const Row& row : {
           Row{"no verb",
               "roles",
               R"({"metadata":{"name":"r"},"rules":[{"apiGroups":[""],
               "resources":["pods"]}]})",
               {"FieldValueRequired rules[0].verbs"}},
           Row{"neither",
               "clusterroles",
               R"({"metadata":{"name":"r"},"rules":[{"verbs":["get"]}]})",
               {"FieldValueRequired rules[0].apiGroups", "FieldValueRequired rules[0].resources"}},
           Row{"path in a namespace",
               "roles",
               R"({"metadata":{"name":"r"},"rules":[{"verbs":["get"],
               "nonResourceURLs":["/x"]}]})",
               {"FieldValueInvalid rules[0].nonResourceURLs"}},
           Row{"both",
               "clusterroles",
               R"({"metadata":{"name":"r"},"rules":[{"verbs":["get"],
               "apiGroups":[""],"resources":["pods"],"nonResourceURLs":["/x"]}]})",
               {"FieldValueInvalid rules[0].nonResourceURLs"}},
           Row{"name",
               "clusterroles",
               R"({"metadata":{"name":"a%b"}})",
               {"FieldValueInvalid metadata.name"}},
           Row{"no role",
               "rolebindings",
               R"({"metadata":{"name":"b"},"roleRef":{"kind":"Pod"}})",
               {"FieldValueNotSupported roleRef.kind", "FieldValueRequired roleRef.name"}},
           Row{"role of a namespace",
               "clusterrolebindings",
               R"({"metadata":{"name":"b"},"roleRef":{"kind":"Role","name":"r"}})",
               {"FieldValueNotSupported roleRef.kind"}},
           Row{"subjects",
               "rolebindings",
               R"({"metadata":{"name":"b"},
               "roleRef":{"kind":"ClusterRole","name":"view"},
               "subjects":[{"kind":"ServiceAccount","name":"x"},{"kind":"Robot","name":"x"},
                           {"kind":"User","name":"x","apiGroup":"y"}]})",
               {"FieldValueRequired subjects[0].namespace",
                "FieldValueNotSupported subjects[1].kind",
                "FieldValueNotSupported subjects[2].apiGroup"}},
       }) {
    EXPECT_EQ(refusals(create(row.resource, row.body)), row.refused) << row.name;
  }
  bind("look", "view", kAlice);
  EXPECT_THAT(refusals(patch("rolebindings", "look", R"({"roleRef":{"name":"edit"}})")),
              ElementsAre("FieldValueInvalid roleRef"));
}

// ---- giving away

class GuardTest : public RbacTest {
 protected:
  void SetUp() override {
    RbacTest::SetUp();
    authorizer_.emplace(AuthorizationMode::Rbac, *rbac_);
    guard_.emplace(*authorizer_);
    guarded_.emplace(*registry_, &*guard_);
  }
  WriteRequest write_request(const User& who) const {
    WriteRequest out;
    out.context = {.now = clock_.wall(),
                   .dry_run = false,
                   .user = who.name,
                   .field_manager = "test",
                   .asker = &who};
    return out;
  }
  ApiResult<Written> create_as(const User& who, std::string_view resource, std::string_view json) {
    WriteRequest request = write_request(who);
    request.ns = find(resource).info().namespaced ? "default" : "";
    return run_task(loop_, guarded_->create(find(resource), request, parse_document(json)));
  }
  ApiResult<Written> patch_as(const User& who, std::string_view resource, const std::string& name,
                              std::string_view change) {
    WriteRequest request = write_request(who);
    request.ns = "default";
    request.name = name;
    request.is_patch = true;
    return run_task(loop_, guarded_->update(find(resource), request,
                                            [parsed = boost::json::parse(change)](
                                                const Document& now) -> ApiResult<Document> {
                                              return apply_merge_patch(now, parsed);
                                            }));
  }

  std::optional<Authorizer> authorizer_;
  std::optional<RbacGuard> guard_;
  std::optional<ObjectWriter> guarded_;
};

constexpr std::string_view kReadPods = R"({"metadata":{"name":"r"},
    "rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})";
constexpr std::string_view kReadNodes = R"({"metadata":{"name":"n"},
    "rules":[{"verbs":["get"],"apiGroups":[""],"resources":["nodes"]}]})";

TEST_F(GuardTest, ARolesWriterHoldsWhatItAllows) {
  bind("a", "admin", kAlice);
  const User alice = user("alice", {"dev"});
  EXPECT_TRUE(create_as(alice, "roles", kReadPods));
  const auto refused = create_as(alice, "roles", kReadNodes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 403U);
  EXPECT_EQ(refused.error().message,
            "roles.rbac.authorization.k8s.io \"n\" is forbidden: user \"alice\" "
            "(groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions "
            "not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}");
  const auto grown = patch_as(alice, "roles", "r", R"({"rules":[{"verbs":["get"],
      "apiGroups":[""],"resources":["nodes"]}]})");
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().code, 403U);
  EXPECT_TRUE(patch_as(alice, "roles", "r", R"({"metadata":{"labels":{"a":"b"}}})"));
  EXPECT_TRUE(create_as(user("root", {std::string(kMasters)}), "roles", kReadNodes));
}

TEST_F(GuardTest, ABindingsWriterHoldsWhatItsRoleAllows) {
  bind("a", "edit", kAlice);
  const auto binding = [](std::string_view name, std::string_view role) {
    return fmt::format(R"({{"metadata":{{"name":"{}"}},"subjects":[{{"kind":"User","name":"eve"}}],
                           "roleRef":{{"kind":"ClusterRole","name":"{}"}}}})",
                       name, role);
  };
  const User alice = user("alice");
  EXPECT_TRUE(create_as(alice, "rolebindings", binding("v", "view")));
  const auto refused = create_as(alice, "rolebindings", binding("x", "admin"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("not currently held"));
  const auto everywhere = create_as(alice, "clusterrolebindings", binding("y", "view"));
  ASSERT_FALSE(everywhere) << "what is held in one namespace is not held in all";
  const auto nothing = create_as(alice, "rolebindings", binding("z", "nowhere"));
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, 404U);
  const auto more =
      patch_as(alice, "rolebindings", "v", R"({"subjects":[{"kind":"User","name":"x"}]})");
  EXPECT_TRUE(more) << more.error().message;
}

TEST_F(GuardTest, TheVerbsEscalateAndBindLiftIt) {
  ASSERT_TRUE(create("clusterroles", R"({"metadata":{"name":"giver"},"rules":[
      {"verbs":["escalate"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]},
      {"verbs":["bind"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],
       "resourceNames":["admin"]}]})"));
  bind("g", "giver", kAlice);
  const User alice = user("alice");
  EXPECT_TRUE(create_as(alice, "roles", kReadNodes));
  EXPECT_TRUE(
      create_as(alice, "rolebindings",
                R"({"metadata":{"name":"a"},"roleRef":{"kind":"ClusterRole","name":"admin"}})"));
  EXPECT_FALSE(
      create_as(alice, "rolebindings",
                R"({"metadata":{"name":"e"},"roleRef":{"kind":"ClusterRole","name":"edit"}})"));
}

TEST_F(GuardTest, AggregationIsForThoseWhoHoldEverything) {
  ASSERT_TRUE(create("clusterroles", R"({"metadata":{"name":"reader"},"rules":[
      {"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})"));
  bind("r", "reader", kAlice, true);
  constexpr std::string_view kAggregate = R"({"metadata":{"name":"agg"},
      "aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"x":"y"}}]}})";
  const auto refused = create_as(user("alice"), "clusterroles", kAggregate);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("must have cluster-admin privileges"));
  bind("c", "cluster-admin", kAlice, true);
  EXPECT_TRUE(create_as(user("alice"), "clusterroles", kAggregate));
}

TEST_F(GuardTest, APutThatCreatesNeedsTheVerbCreate) {
  ASSERT_TRUE(create("clusterroles", R"({"metadata":{"name":"updater"},"rules":[
      {"verbs":["update"],"apiGroups":["coordination.k8s.io"],"resources":["leases"]}]})"));
  bind("u", "updater", kAlice);
  const User alice = user("alice");
  WriteRequest request;
  request.context = {.now = clock_.wall(),
                     .dry_run = false,
                     .user = "alice",
                     .field_manager = "test",
                     .asker = &alice};
  request.ns = "default";
  request.name = "l";
  const auto refused = run_task(
      loop_, guarded_->update(find("leases"), request, [](const Document&) -> ApiResult<Document> {
        return parse_document(R"({"metadata":{"name":"l"},"spec":{}})");
      }));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("cannot create resource \"leases\""));
}

// ---- the decision

TEST_F(GuardTest, RefusalsAreInTheWordsOfKubernetes) {
  const User alice = user("alice");
  struct Row {
    Attributes asked;
    std::string_view message;
  };
  for (const Row& row : {
           Row{{.verb = "create", .resource = "services", .ns = "default"},
               "services is forbidden: User \"alice\" cannot create resource \"services\" in API "
               "group \"\" in the namespace \"default\""},
           Row{{.verb = "get",
                .group = "discovery.k8s.io",
                .resource = "endpointslices",
                .ns = "a",
                .name = "x"},
               "endpointslices.discovery.k8s.io \"x\" is forbidden: User \"alice\" cannot get "
               "resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace "
               "\"a\""},
           Row{{.verb = "patch", .resource = "nodes", .subresource = "status", .name = "n"},
               "nodes \"n\" is forbidden: User \"alice\" cannot patch resource \"nodes/status\" in "
               "API group \"\" at the cluster scope"},
           Row{{.verb = "get", .path = "/metrics"},
               "forbidden: User \"alice\" cannot get path \"/metrics\""},
       }) {
    const auto refused = authorizer_->authorize(alice, row.asked);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, 403U);
    EXPECT_EQ(refused.error().message, row.message);
  }
}

TEST_F(GuardTest, AlwaysAllowIsForTheAuthenticated) {
  const Authorizer always(AuthorizationMode::AlwaysAllow, *rbac_);
  EXPECT_TRUE(always.allows(user("alice"), {.verb = "delete", .resource = "nodes"}));
  const User nobody{.name = std::string(kAnonymous), .groups = {std::string(kUnauthenticated)}};
  EXPECT_FALSE(always.allows(nobody, {.verb = "get", .resource = "nodes"}));
}

}  // namespace
}  // namespace fairlead::apiserver
