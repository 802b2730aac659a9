#include "apiserver/policy_rule.hpp"

#include <algorithm>
#include <boost/json/array.hpp>

namespace fairlead::apiserver {
namespace {

using Texts = std::vector<std::string>;

bool has(const Texts& texts, std::string_view text) {
  return std::ranges::find(texts, text) != texts.end();
}

bool has_or_all(const Texts& texts, std::string_view text) {
  return has(texts, "*") || has(texts, text);
}

// `resource` may name a subresource: "pods/status".
bool names_resource(const Texts& resources, std::string_view resource) {
  if (has_or_all(resources, resource)) return true;
  const std::size_t slash = resource.find('/');
  return slash != std::string_view::npos &&
         has(resources, fmt::format("*{}", resource.substr(slash)));
}

bool names_path(const Texts& paths, std::string_view path) {
  return std::ranges::any_of(paths, [path](std::string_view pattern) {
    if (pattern == path) return true;
    if (!pattern.ends_with('*')) return false;
    pattern.remove_suffix(1);
    return path.starts_with(pattern);
  });
}

boost::json::array strings(const Texts& texts) {
  boost::json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

bool covers(const PolicyRule& held, const PolicyRule& wanted) {
  if (!has_or_all(held.verbs, wanted.verbs.front())) return false;
  if (!wanted.paths.empty()) return names_path(held.paths, wanted.paths.front());
  return has_or_all(held.groups, wanted.groups.front()) &&
         names_resource(held.resources, wanted.resources.front()) &&
         (held.names.empty() || (!wanted.names.empty() && has(held.names, wanted.names.front())));
}

// The rule as rules of one verb on one thing each.
std::vector<PolicyRule> taken_apart(const PolicyRule& rule) {
  std::vector<PolicyRule> out;
  for (const std::string& verb : rule.verbs) {
    for (const std::string& path : rule.paths) out.push_back({.verbs = {verb}, .paths = {path}});
    for (const std::string& group : rule.groups) {
      for (const std::string& resource : rule.resources) {
        const PolicyRule whole{.verbs = {verb}, .groups = {group}, .resources = {resource}};
        if (rule.names.empty()) out.push_back(whole);
        for (const std::string& name : rule.names) {
          out.push_back(whole);
          out.back().names = {name};
        }
      }
    }
  }
  return out;
}

}  // namespace

bool PolicyRule::allows(const Attributes& asked) const {
  if (!has_or_all(verbs, asked.verb)) return false;
  if (!asked.path.empty()) return names_path(paths, asked.path);
  const std::string resource =
      asked.subresource.empty() ? asked.resource : asked.resource + "/" + asked.subresource;
  return has_or_all(groups, asked.group) && names_resource(resources, resource) &&
         (names.empty() || has(names, asked.name));
}

std::vector<PolicyRule> rules_of(const Document& role) {
  std::vector<PolicyRule> out;
  for (const Document* rule : objects_at(role, "rules")) {
    out.push_back({.verbs = texts_at(*rule, "verbs"),
                   .groups = texts_at(*rule, "apiGroups"),
                   .resources = texts_at(*rule, "resources"),
                   .names = texts_at(*rule, "resourceNames"),
                   .paths = texts_at(*rule, "nonResourceURLs")});
  }
  return out;
}

boost::json::array to_json(const std::vector<PolicyRule>& rules) {
  boost::json::array out;
  for (const PolicyRule& rule : rules) {
    Document document{{"verbs", strings(rule.verbs)}};
    if (!rule.groups.empty()) document["apiGroups"] = strings(rule.groups);
    if (!rule.resources.empty()) document["resources"] = strings(rule.resources);
    if (!rule.names.empty()) document["resourceNames"] = strings(rule.names);
    if (!rule.paths.empty()) document["nonResourceURLs"] = strings(rule.paths);
    out.emplace_back(std::move(document));
  }
  return out;
}

std::string to_string(const PolicyRule& rule) {
  std::string out;
  const auto add = [&out](std::string_view name, const Texts& texts) {
    if (texts.empty()) return;
    out += fmt::format("{}{}:[\"{}\"]", out.empty() ? "" : ", ", name, fmt::join(texts, "\" \""));
  };
  add("APIGroups", rule.groups);
  add("Resources", rule.resources);
  add("ResourceNames", rule.names);
  add("NonResourceURLs", rule.paths);
  add("Verbs", rule.verbs);
  return "{" + out + "}";
}

std::vector<PolicyRule> missing(const std::vector<PolicyRule>& held,
                                const std::vector<PolicyRule>& wanted) {
  std::vector<PolicyRule> out;
  for (const PolicyRule& rule : wanted) {
    for (PolicyRule& part : taken_apart(rule)) {
      const bool covered =
          std::ranges::any_of(held, [&part](const PolicyRule& mine) { return covers(mine, part); });
      if (!covered) out.push_back(std::move(part));
    }
  }
  return out;
}

}  // namespace fairlead::apiserver
