// One rule of a Role or ClusterRole as a value, and what is asked of it (spec 7.3). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

// What somebody wants to do.
struct Attributes {
  std::string verb;  // "get", "list", ...; the method in lower case for non-resource paths
  std::string path;  // non-resource; empty for resources
  std::string group, resource, subresource, ns, name;
};

struct PolicyRule {
  std::vector<std::string> verbs = {};
  std::vector<std::string> groups = {};     // "" is core, "*" all
  std::vector<std::string> resources = {};  // "services", "services/status", "*", "*/status"
  std::vector<std::string> names = {};      // empty = every object
  std::vector<std::string> paths = {};      // "/healthz", "/api/*"

  bool allows(const Attributes& asked) const;
  bool operator==(const PolicyRule&) const = default;
};

std::vector<PolicyRule> rules_of(const Document& role);
boost::json::array to_json(const std::vector<PolicyRule>& rules);
// As people are told: {APIGroups:[""], Resources:["pods"], Verbs:["get"]}.
std::string to_string(const PolicyRule& rule);

// What of `wanted` the rules held do not cover, in the smallest rules; empty = all of it is held.
std::vector<PolicyRule> missing(const std::vector<PolicyRule>& held,
                                const std::vector<PolicyRule>& wanted);

}  // namespace fairlead::apiserver
