#include "apiserver/rbac_bootstrap.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

#include "apiserver/own_writes.hpp"
#include "apiserver/rbac.hpp"
#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

constexpr std::string_view kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
constexpr auto kRetry = 5s;

const Texts kRead{"get", "list", "watch"};
const Texts kWrite{"create", "delete", "deletecollection", "patch", "update"};
const Texts kAll{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};

PolicyRule on(std::string group, Texts resources, Texts verbs) {
  return {
      .verbs = std::move(verbs), .groups = {std::move(group)}, .resources = std::move(resources)};
}
PolicyRule get(Texts paths) { return {.verbs = {"get"}, .paths = std::move(paths)}; }

struct StandardRole {
  std::string name;
  std::vector<PolicyRule> rules = {};
  std::string aggregated_to = {};  // "admin": labelled to become part of that role
  Texts made_of = {};              // "admin": holds the rules of all roles labelled so
};

std::vector<StandardRole> roles_of_people() {
  return {
      {.name = "cluster-admin", .rules = {on("*", {"*"}, {"*"}), {.verbs = {"*"}, .paths = {"*"}}}},
      {.name = "admin", .made_of = {"admin"}},
      {.name = "edit", .aggregated_to = "admin", .made_of = {"edit"}},
      {.name = "view", .aggregated_to = "edit", .made_of = {"view"}},
      {.name = "system:aggregate-to-admin",
       .rules = {on("authorization.k8s.io", {"localsubjectaccessreviews"}, {"create"}),
                 on(std::string(kRbacGroup), {"roles", "rolebindings"}, kAll)},
       .aggregated_to = "admin"},
      // Without endpoints and endpointslices: who writes those reaches Pods of other namespaces
      // (CVE-2021-25740).
      {.name = "system:aggregate-to-edit",
       .rules = {on("", {"configmaps", "events", "pods", "serviceaccounts", "services"}, kWrite),
                 on("", {"serviceaccounts/token"}, {"create"}),
                 on("", {"serviceaccounts"}, {"impersonate"}),
                 on("coordination.k8s.io", {"leases"}, kAll),
                 on("events.k8s.io", {"events"}, kWrite)},
       .aggregated_to = "edit"},
      {.name = "system:aggregate-to-view",
       .rules = {on("",
                    {"configmaps", "endpoints", "events", "namespaces", "namespaces/status", "pods",
                     "pods/status", "serviceaccounts", "services", "services/status"},
                    kRead),
                 on("discovery.k8s.io", {"endpointslices"}, kRead),
                 on("events.k8s.io", {"events"}, kRead)},
       .aggregated_to = "view"},
  };
}

std::vector<StandardRole> roles_of_everybody() {
  const Texts health{"/healthz", "/livez", "/readyz", "/version", "/version/"};
  Texts discovery{"/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"};
  discovery.insert(discovery.end(), health.begin(), health.end());
  return {
      {.name = "system:public-info-viewer", .rules = {get(health)}},
      {.name = "system:discovery", .rules = {get(discovery)}},
      {.name = "system:monitoring",
       .rules = {get(
           {"/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/metrics"})}},
      {.name = "system:basic-user",
       .rules = {on("authorization.k8s.io", {"selfsubjectaccessreviews", "selfsubjectrulesreviews"},
                    {"create"}),
                 on("authentication.k8s.io", {"selfsubjectreviews"}, {"create"})}},
      {.name = "system:service-account-issuer-discovery",
       .rules = {get({"/.well-known/openid-configuration", "/.well-known/openid-configuration/",
                      "/openid/v1/jwks", "/openid/v1/jwks/"})}},
      {.name = "system:auth-delegator",
       .rules = {on("authentication.k8s.io", {"tokenreviews"}, {"create"}),
                 on("authorization.k8s.io", {"subjectaccessreviews"}, {"create"})}},
  };
}

std::vector<StandardRole> roles_of_programs() {
  const Texts tell{"create", "patch", "update"};
  const Texts keep{"create", "delete", "get", "list", "update", "watch"};
  return {
      {.name = "system:node-proxier",
       .rules = {on("", {"endpoints", "services"}, {"list", "watch"}), on("", {"nodes"}, kRead),
                 on("", {"events"}, tell), on("events.k8s.io", {"events"}, tell),
                 on("discovery.k8s.io", {"endpointslices"}, {"list", "watch"}),
                 on("networking.k8s.io", {"servicecidrs"}, {"list", "watch"})}},
      {.name = std::string(kControllerUser),
       .rules = {on("", {"nodes", "pods", "services"}, kRead), on("", {"pods"}, {"delete"}),
                 on("", {"nodes/status", "pods/status", "services/status"}, {"patch"}),
                 on("", {"endpoints"}, keep), on("discovery.k8s.io", {"endpointslices"}, keep),
                 on("events.k8s.io", {"events"}, {"create", "patch"}),
                 on("coordination.k8s.io", {"leases"},
                    {"create", "get", "list", "update", "watch"})}},
  };
}

std::vector<StandardRole> standard_roles() {
  std::vector<StandardRole> out = roles_of_people();
  for (auto& more : {roles_of_everybody(), roles_of_programs()})
    out.insert(out.end(), more.begin(), more.end());
  return out;
}

struct StandardBinding {
  std::string role, kind;
  Texts subjects;
};

std::vector<StandardBinding> standard_bindings() {
  return {
      {.role = "cluster-admin", .kind = "Group", .subjects = {std::string(kMasters)}},
      {.role = "system:public-info-viewer",
       .kind = "Group",
       .subjects = {std::string(kAuthenticated), std::string(kUnauthenticated)}},
      {.role = "system:discovery", .kind = "Group", .subjects = {std::string(kAuthenticated)}},
      {.role = "system:monitoring", .kind = "Group", .subjects = {"system:monitoring"}},
      {.role = "system:basic-user", .kind = "Group", .subjects = {std::string(kAuthenticated)}},
      {.role = "system:service-account-issuer-discovery",
       .kind = "Group",
       .subjects = {"system:serviceaccounts"}},
      {.role = "system:node-proxier", .kind = "User", .subjects = {std::string(kProxyUser)}},
      {.role = std::string(kControllerUser),
       .kind = "User",
       .subjects = {std::string(kControllerUser)}},
  };
}

std::string aggregation_label(std::string_view role) {
  return fmt::format("rbac.authorization.k8s.io/aggregate-to-{}", role);
}

Document metadata_of(const std::string& name) {
  return {{"name", name},
          {"labels", Document{{"kubernetes.io/bootstrapping", "rbac-defaults"}}},
          {"annotations", Document{{kAutoUpdate, "true"}}}};
}

Document document_of(const StandardRole& role) {
  Document metadata = metadata_of(role.name);
  if (!role.aggregated_to.empty())
    ensure_object(metadata, "labels")[aggregation_label(role.aggregated_to)] = "true";
  Document out{{"metadata", std::move(metadata)}, {"rules", to_json(role.rules)}};
  if (role.made_of.empty()) return out;
  boost::json::array selectors;
  for (const std::string& name : role.made_of)
    selectors.push_back(Document{{"matchLabels", Document{{aggregation_label(name), "true"}}}});
  out["aggregationRule"] = Document{{"clusterRoleSelectors", std::move(selectors)}};
  return out;
}

Document document_of(const StandardBinding& binding) {
  boost::json::array subjects;
  for (const std::string& subject : binding.subjects) {
    subjects.push_back(
        Document{{"kind", binding.kind}, {"apiGroup", text_value(kRbacGroup)}, {"name", subject}});
  }
  return {{"metadata", metadata_of(binding.role)},
          {"subjects", std::move(subjects)},
          {"roleRef", Document{{"apiGroup", text_value(kRbacGroup)},
                               {"kind", "ClusterRole"},
                               {"name", binding.role}}}};
}

// What `current` is to become so that it has everything of `standard`.
Document reconciled(const Document& current, const Document& standard) {
  Document out = current;
  const Document* annotations = object_at(current, "metadata.annotations");
  const auto* keep = annotations == nullptr ? nullptr : annotations->if_contains(kAutoUpdate);
  if (keep != nullptr && *keep == "false") return out;
  if (object_at(standard, "aggregationRule") == nullptr && standard.contains("rules")) {
    auto rules = rules_of(current);
    for (PolicyRule& rule : missing(rules, rules_of(standard))) rules.push_back(std::move(rule));
    if (rules != rules_of(current)) out["rules"] = to_json(rules);
  }
  if (const auto* wanted = array_at(standard, "subjects")) {
    boost::json::array subjects;
    if (const auto* now = array_at(current, "subjects")) subjects = *now;
    for (const auto& subject : *wanted) {
      if (std::ranges::find(subjects, subject) == subjects.end()) subjects.push_back(subject);
    }
    if (!subjects.empty()) out["subjects"] = std::move(subjects);
  }
  return out;
}

io::Task<Result<void>> ensure(Registry* registry, const Clock* clock, std::string resource_name,
                              Document standard) {
  Resource* resource = registry->find(kRbacGroup, "v1", resource_name);
  check(resource != nullptr, "RBAC's kinds are among the kinds");
  const std::string name(string_at(standard, "metadata.name"));
  const ObjectPtr existing = resource->cache.find(resource->key({}, name));
  if (existing == nullptr) {  // or it cannot be read, and stays
    co_return co_await create_unless_there(registry, clock, resource, "", std::move(standard));
  }
  const Document current = existing->document();
  if (reconciled(current, standard) == current) co_return Result<void>();
  ObjectWriter writer(*registry);
  const auto written = co_await writer.update(
      *resource, own_request(*clock, "", name),
      [standard](const Document& now) -> ApiResult<Document> { return reconciled(now, standard); });
  if (!written && written.error().code != 404) {
    co_return to_error(written.error(), fmt::format("keep {} {}", resource->info().kind, name));
  }
  co_return Result<void>();
}

}  // namespace

io::Task<Result<void>> make_standard_roles(Registry* registry, const Clock* clock) {
  const auto roles = standard_roles();
  for (const StandardRole& role : roles) {
    FAIRLEAD_CO_CHECK(co_await ensure(registry, clock, "clusterroles", document_of(role)));
  }
  const auto bindings = standard_bindings();
  for (const StandardBinding& binding : bindings) {
    FAIRLEAD_CO_CHECK(
        co_await ensure(registry, clock, "clusterrolebindings", document_of(binding)));
  }
  co_return Result<void>();
}

// ---- aggregation

namespace {

Resource& cluster_roles_of(const Registry& registry) {
  Resource* found = registry.find(kRbacGroup, "v1", "clusterroles");
  check(found != nullptr, "ClusterRoles are among the kinds");
  return *found;
}

// As kube's metav1.LabelSelector; an operator that is none matches nothing.
bool matches(const Document& selector, const kube::StringMap& labels) {
  const auto value_of = [&labels](std::string_view key) -> std::optional<std::string_view> {
    const auto found = std::ranges::find(
        labels, key, [](const auto& label) { return std::string_view(label.first); });
    if (found == labels.end()) return std::nullopt;
    return std::string_view(found->second);
  };
  if (const Document* equal = object_at(selector, "matchLabels")) {
    for (const auto& [key, value] : *equal) {
      if (!value.is_string() || value_of(key) != std::string_view(value.get_string())) return false;
    }
  }
  return std::ranges::all_of(
      objects_at(selector, "matchExpressions"), [&value_of](const Document* wanted) {
        const auto value = value_of(string_at(*wanted, "key"));
        const auto values = texts_at(*wanted, "values");
        const bool listed = value && std::ranges::find(values, *value) != values.end();
        const std::string_view how = string_at(*wanted, "operator");
        if (how == "In") return listed;
        if (how == "NotIn") return !listed;
        if (how == "Exists") return value.has_value();
        return how == "DoesNotExist" && !value;
      });
}

// The rules of all roles the aggregation selects, each once, in the order of the roles' names.
std::vector<PolicyRule> aggregated_rules(const Resource& roles, const Document& role) {
  const auto selectors = objects_at(role, "aggregationRule.clusterRoleSelectors");
  std::vector<PolicyRule> out;
  for (const auto& [key, object] : roles.cache.objects()) {
    if (object->name == string_at(role, "metadata.name")) continue;
    const bool selected = std::ranges::any_of(selectors, [&object](const Document* selector) {
      return matches(*selector, object->labels);
    });
    if (!selected) continue;
    for (PolicyRule& rule : rules_of(object->document())) {
      if (std::ranges::find(out, rule) == out.end()) out.push_back(std::move(rule));
    }
  }
  return out;
}

}  // namespace

RoleAggregator::RoleAggregator(Registry& registry, const Clock& clock, io::Executor executor)
    : clock_(clock),
      roles_(cluster_roles_of(registry)),
      writer_(registry),
      changed_(std::move(executor)) {}

io::Task<Result<void>> RoleAggregator::aggregate() {
  std::vector<std::string> names;
  for (const auto& [key, object] : roles_.cache.objects()) {
    const Document role = object->document();
    if (object_at(role, "aggregationRule") != nullptr &&
        aggregated_rules(roles_, role) != rules_of(role)) {
      names.push_back(object->name);
    }
  }
  Result<void> outcome;
  for (const std::string& name : names) {
    const auto written =
        co_await writer_.update(roles_, own_request(clock_, "", name), [this](const Document& now) {
          Document next = now;
          next["rules"] = to_json(aggregated_rules(roles_, now));
          return ApiResult<Document>(std::move(next));
        });
    if (!written && written.error().code != 404)
      outcome = to_error(written.error(), fmt::format("aggregate ClusterRole {}", name));
  }
  co_return outcome;
}

io::Task<void> RoleAggregator::run() {
  while (!co_await io::cancelled()) {
    if (const auto done = co_await aggregate()) {
      co_await changed_.wait();
    } else {
      log::warning("A ClusterRole could not be aggregated, trying again in 5 s",
                   {{"err", done.error()}});
      co_await changed_.wait_until(std::chrono::steady_clock::now() + kRetry);
    }
  }
}

}  // namespace fairlead::apiserver
