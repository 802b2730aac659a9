// One rule of a role: what it allows, and what of it somebody does not hold.
#include "apiserver/policy_rule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::apiserver {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PolicyRule, AllowsWhatItNames) {
  const PolicyRule services{
      .verbs = {"get", "list"}, .groups = {""}, .resources = {"services", "pods/status"}};
  const PolicyRule one{
      .verbs = {"*"}, .groups = {"*"}, .resources = {"*/status"}, .names = {"web"}};
  const PolicyRule paths{.verbs = {"get"}, .paths = {"/api", "/api/*", "/logs*"}};
  const PolicyRule all{.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}};
  struct Row {
    std::string_view name;
    const PolicyRule& rule;
    Attributes asked;
    bool allowed;
  };
  for (const Row& row : {
           Row{"named", services, {.verb = "get", .resource = "services", .name = "a"}, true},
           Row{"verb", services, {.verb = "create", .resource = "services"}, false},
           Row{"group", services, {.verb = "get", .group = "x", .resource = "services"}, false},
           Row{"no subresource",
               services,
               {.verb = "get", .resource = "services", .subresource = "status"},
               false},
           Row{"its subresource",
               services,
               {.verb = "get", .resource = "pods", .subresource = "status"},
               true},
           Row{"not the whole", services, {.verb = "get", .resource = "pods"}, false},
           Row{"any status, by name",
               one,
               {.verb = "patch",
                .group = "g",
                .resource = "x",
                .subresource = "status",
                .name = "web"},
               true},
           Row{"another name",
               one,
               {.verb = "patch", .resource = "x", .subresource = "status", .name = "db"},
               false},
           Row{"no name", one, {.verb = "list", .resource = "x", .subresource = "status"}, false},
           Row{"path", paths, {.verb = "get", .path = "/api"}, true},
           Row{"path below", paths, {.verb = "get", .path = "/api/v1"}, true},
           Row{"path beside", paths, {.verb = "get", .path = "/apis"}, false},
           Row{"prefix", paths, {.verb = "get", .path = "/logs/x"}, true},
           Row{"other method", paths, {.verb = "post", .path = "/api"}, false},
           Row{"resource of a path rule", paths, {.verb = "get", .resource = "api"}, false},
           Row{"all", all, {.verb = "x", .group = "y", .resource = "z", .subresource = "s"}, true},
           Row{"path of a resource rule", all, {.verb = "get", .path = "/api"}, false},
       }) {
    EXPECT_EQ(row.rule.allows(row.asked), row.allowed) << row.name;
  }
}

TEST(PolicyRule, MissingIsWhatIsNotHeld) {
  const std::vector<PolicyRule> held{
      {.verbs = {"get", "list"}, .groups = {""}, .resources = {"pods", "*/status"}},
      {.verbs = {"update"}, .groups = {""}, .resources = {"configmaps"}, .names = {"a"}},
      {.verbs = {"get"}, .paths = {"/api/*"}}};
  const auto lacks = [&held](const PolicyRule& wanted) {
    std::vector<std::string> out;
    for (const PolicyRule& rule : missing(held, {wanted})) out.push_back(to_string(rule));
    return out;
  };
  EXPECT_THAT(lacks({.verbs = {"get"}, .groups = {""}, .resources = {"pods", "services/status"}}),
              IsEmpty());
  EXPECT_THAT(lacks({.verbs = {"get", "create"}, .groups = {""}, .resources = {"pods"}}),
              ElementsAre(R"({APIGroups:[""], Resources:["pods"], Verbs:["create"]})"));
  EXPECT_THAT(
      lacks(
          {.verbs = {"update"}, .groups = {""}, .resources = {"configmaps"}, .names = {"a", "b"}}),
      ElementsAre(
          R"({APIGroups:[""], Resources:["configmaps"], ResourceNames:["b"], Verbs:["update"]})"));
  EXPECT_THAT(lacks({.verbs = {"update"}, .groups = {""}, .resources = {"configmaps"}}),
              ElementsAre(R"({APIGroups:[""], Resources:["configmaps"], Verbs:["update"]})"));
  EXPECT_THAT(lacks({.verbs = {"*"}, .groups = {"*"}, .resources = {"*"}}),
              ElementsAre(R"({APIGroups:["*"], Resources:["*"], Verbs:["*"]})"));
  EXPECT_THAT(lacks({.verbs = {"get"}, .paths = {"/api/v1", "/x"}}),
              ElementsAre(R"({NonResourceURLs:["/x"], Verbs:["get"]})"));
}

}  // namespace
}  // namespace fairlead::apiserver
