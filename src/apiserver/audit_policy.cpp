#include "apiserver/audit_policy.hpp"

#include <algorithm>

#include "apiserver/body.hpp"
#include "apiserver/schema.hpp"
#include "kube/codec.hpp"

namespace fairlead::apiserver {
namespace {

using Texts = std::vector<std::string>;

constexpr std::string_view kPolicy =
    "{kind:s apiVersion:s metadata:any omitStages:[]s omitManagedFields:b "
    "rules:[]{level:s users:[]s userGroups:[]s verbs:[]s namespaces:[]s nonResourceURLs:[]s "
    "resources:[]{group:s resources:[]s resourceNames:[]s} omitStages:[]s omitManagedFields:b}}";

bool has(const Texts& texts, std::string_view text) {
  return std::ranges::find(texts, text) != texts.end();
}

// No texts are no condition.
bool fits(const Texts& texts, std::string_view text) { return texts.empty() || has(texts, text); }

template <class... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::Invalid, format, std::forward<Args>(args)...);
}

std::optional<AuditLevel> level_of(std::string_view text) {
  for (const AuditLevel level :
       {AuditLevel::None, AuditLevel::Metadata, AuditLevel::Request, AuditLevel::RequestResponse}) {
    if (text == to_string(level)) return level;
  }
  return std::nullopt;
}

Result<AuditStages> without(AuditStages stages, const Texts& omitted, std::string_view path) {
  for (const std::string& stage : omitted) {
    if (stage == "RequestReceived") {
      stages.received = false;
    } else if (stage == "ResponseStarted") {
      stages.started = false;
    } else if (stage == "ResponseComplete") {
      stages.complete = false;
    } else if (stage != "Panic") {  // ours has none
      return wrong(
          "{}: \"{}\" is none of RequestReceived, ResponseStarted, ResponseComplete, Panic", path,
          stage);
    }
  }
  return stages;
}

Result<Document> policy_document(std::string_view text) {
  FAIRLEAD_TRY(documents, kube::manifest_documents(text));
  if (documents.size() != 1) return wrong("{} documents instead of one", documents.size());
  auto parsed = parse_json(documents.front());
  if (!parsed) return wrong("{}", parsed.error().message);
  if (!parsed->value.is_object()) return wrong("it is no object");
  Document policy = std::move(parsed->value.get_object());
  const auto unknown = Schema::parse(kPolicy).conform(policy);
  if (!unknown) return wrong("{}", unknown.error().message);
  // A condition that is mistyped would have a rule match more than it says.
  if (!unknown->empty()) return wrong("{}: unknown field", unknown->front());
  if (string_at(policy, "kind") != "Policy" ||
      string_at(policy, "apiVersion") != "audit.k8s.io/v1") {
    return wrong("it is {} of {}, not Policy of audit.k8s.io/v1", string_at(policy, "kind"),
                 string_at(policy, "apiVersion"));
  }
  return policy;
}

bool path_matches(const Texts& patterns, std::string_view path) {
  return std::ranges::any_of(patterns, [path](std::string_view pattern) {
    if (!pattern.ends_with('*')) return pattern == path;
    pattern.remove_suffix(1);
    return path.starts_with(pattern);
  });
}

// "pods", "pods/status", "*/status", "pods/*" or "*", which is all of a group.
bool resource_matches(std::string_view pattern, const Attributes& asked) {
  if (pattern == "*") return true;
  const std::size_t slash = pattern.find('/');
  const std::string_view resource = pattern.substr(0, slash);
  if (slash == std::string_view::npos)
    return asked.subresource.empty() && resource == asked.resource;
  const std::string_view subresource = pattern.substr(slash + 1);
  if (subresource == "*") return resource == asked.resource;
  return !asked.subresource.empty() && subresource == asked.subresource &&
         (resource == "*" || resource == asked.resource);
}

}  // namespace

std::string_view to_string(AuditLevel level) {
  switch (level) {
    case AuditLevel::None:
      return "None";
    case AuditLevel::Metadata:
      return "Metadata";
    case AuditLevel::Request:
      return "Request";
    case AuditLevel::RequestResponse:
      return "RequestResponse";
  }
  return "None";
}

bool AuditPolicy::Resources::matches(const Attributes& asked) const {
  if (group != asked.group) return false;
  if (resources.empty()) return true;
  return fits(names, asked.name) &&
         std::ranges::any_of(resources, [&asked](const std::string& pattern) {
           return resource_matches(pattern, asked);
         });
}

bool AuditPolicy::Rule::matches(const User& user, const Attributes& asked) const {
  if (!fits(users, user.name) || !fits(verbs, asked.verb)) return false;
  const bool member = groups.empty() || std::ranges::any_of(groups, [&user](const auto& group) {
                        return user.in_group(group);
                      });
  if (!member) return false;
  const bool of_resource = asked.path.empty();
  if (!namespaces.empty() || !resources.empty()) {
    return of_resource && fits(namespaces, asked.ns) &&
           (resources.empty() || std::ranges::any_of(resources, [&asked](const Resources& some) {
              return some.matches(asked);
            }));
  }
  return paths.empty() || (!of_resource && path_matches(paths, asked.path));
}

Result<AuditPolicy::Rule> AuditPolicy::parse_rule(const Document& rule, const AuditDecision& usual,
                                                  std::string_view path) {
  Rule out{.decision = {},
           .users = texts_at(rule, "users"),
           .groups = texts_at(rule, "userGroups"),
           .verbs = texts_at(rule, "verbs"),
           .namespaces = texts_at(rule, "namespaces"),
           .paths = texts_at(rule, "nonResourceURLs"),
           .resources = {}};
  for (const Document* some : objects_at(rule, "resources")) {
    out.resources.push_back({.group = std::string(string_at(*some, "group")),
                             .resources = texts_at(*some, "resources"),
                             .names = texts_at(*some, "resourceNames")});
    if (!out.resources.back().names.empty() && out.resources.back().resources.empty())
      return wrong("{}.resources: resourceNames without resources", path);
  }
  if (!out.paths.empty() && (!out.resources.empty() || !out.namespaces.empty()))
    return wrong("{}: a rule is about resources or about nonResourceURLs, not both", path);
  const std::string_view text = string_at(rule, "level");
  const auto level = level_of(text);
  if (!level) {
    return wrong("{}.level: \"{}\" is none of None, Metadata, Request, RequestResponse", path,
                 text);
  }
  if (*level == AuditLevel::None) return out;
  FAIRLEAD_TRY(stages, without(usual.stages, texts_at(rule, "omitStages"),
                               fmt::format("{}.omitStages", path)));
  out.decision = {.level = *level,
                  .stages = stages,
                  .omit_managed_fields =
                      bool_at(rule, "omitManagedFields").value_or(usual.omit_managed_fields)};
  return out;
}

Result<AuditPolicy> AuditPolicy::parse(std::string_view text) {
  FAIRLEAD_TRY(document, policy_document(text));
  FAIRLEAD_TRY(left, without({.received = true, .started = true, .complete = true},
                             texts_at(document, "omitStages"), "omitStages"));
  const AuditDecision usual{
      .stages = left,
      .omit_managed_fields = bool_at(document, "omitManagedFields").value_or(false)};
  AuditPolicy out;
  out.rules_.clear();
  for (const Document* rule : objects_at(document, "rules")) {
    FAIRLEAD_TRY(parsed, parse_rule(*rule, usual, indexed("rules", out.rules_.size())));
    out.rules_.push_back(std::move(parsed));
  }
  if (out.rules_.empty()) return wrong("rules: there is none");
  return out;
}

AuditDecision AuditPolicy::decide(const User& user, const Attributes& asked) const {
  const auto rule = std::ranges::find_if(
      rules_, [&](const Rule& candidate) { return candidate.matches(user, asked); });
  return rule == rules_.end() ? AuditDecision() : rule->decision;
}

}  // namespace fairlead::apiserver
