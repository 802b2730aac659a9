// Which requests are written to the audit log, and when: kube-apiserver's audit Policy
// (audit.k8s.io/v1). A value; deciding is pure.
//
// Rules are tried in order, the first that matches decides; a request that none matches is not
// written. Bodies are never recorded: levels Request and RequestResponse count as Metadata.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/policy_rule.hpp"
#include "apiserver/user.hpp"
#include "base/error.hpp"

namespace fairlead::apiserver {

// Each is an event of its own.
struct AuditStages {
  bool received = false;  // RequestReceived: before anything was done
  bool started = false;   // ResponseStarted: a watch's headers were sent
  bool complete = false;  // ResponseComplete
  bool operator==(const AuditStages&) const = default;
};

class AuditPolicy {
 public:
  // Every request, once: without stage RequestReceived.
  AuditPolicy() = default;

  struct Parsed;
  // YAML or JSON. Errors (Invalid) name the field.
  static Result<Parsed> parse(std::string_view text);

  AuditStages stages(const User& user, const Attributes& asked) const;

 private:
  struct Resources {
    std::string group;
    std::vector<std::string> resources, names;
    bool matches(const Attributes& asked) const;
  };
  struct Rule {
    AuditStages stages;  // all false: level None
    std::vector<std::string> users, groups, verbs, namespaces, paths;
    std::vector<Resources> resources;
    bool matches(const User& user, const Attributes& asked) const;
  };
  static Result<Rule> parse_rule(const Document& rule, const AuditStages& omitted,
                                 std::string_view path, std::vector<std::string>& warnings);

  std::vector<Rule> rules_{{.stages = {.started = true, .complete = true},
                            .users = {},
                            .groups = {},
                            .verbs = {},
                            .namespaces = {},
                            .paths = {},
                            .resources = {}}};
};

struct AuditPolicy::Parsed {
  AuditPolicy policy;
  std::vector<std::string> warnings;  // what of it is not done
};

}  // namespace fairlead::apiserver
