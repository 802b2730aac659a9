// Which requests are written to the audit log, when and with what: kube-apiserver's audit Policy
// (audit.k8s.io/v1). A value; deciding is pure.
//
// Rules are tried in order, the first that matches decides; a request that none matches is not
// written. What is secret whatever a policy says is the audit log's own to know.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/policy_rule.hpp"
#include "apiserver/user.hpp"
#include "base/error.hpp"

namespace fairlead::apiserver {

inline constexpr std::size_t kLongestAuditEvent = 100 * 1024;  // bytes, unless told otherwise

// Each is an event of its own.
struct AuditStages {
  bool received = false;  // RequestReceived: before anything was done
  bool started = false;   // ResponseStarted: a watch's headers were sent
  bool complete = false;  // ResponseComplete
  bool operator==(const AuditStages&) const = default;
};

enum class AuditLevel { None, Metadata, Request, RequestResponse };  // each says more
std::string_view to_string(AuditLevel level);

// What is to be written of one request.
struct AuditDecision {
  AuditLevel level = AuditLevel::None;
  AuditStages stages = {};  // all false: level None
  bool omit_managed_fields = false;
  bool operator==(const AuditDecision&) const = default;
};

class AuditPolicy {
 public:
  // Every request, once and without bodies: without stage RequestReceived.
  AuditPolicy() = default;

  // YAML or JSON. Errors (Invalid) name the field.
  static Result<AuditPolicy> parse(std::string_view text);

  AuditDecision decide(const User& user, const Attributes& asked) const;

 private:
  struct Resources {
    std::string group;
    std::vector<std::string> resources, names;
    bool matches(const Attributes& asked) const;
  };
  struct Rule {
    AuditDecision decision;
    std::vector<std::string> users, groups, verbs, namespaces, paths;
    std::vector<Resources> resources;
    bool matches(const User& user, const Attributes& asked) const;
  };
  // `usual`: what of the decision holds for all rules that do not say otherwise.
  static Result<Rule> parse_rule(const Document& rule, const AuditDecision& usual,
                                 std::string_view path);

  std::vector<Rule> rules_{
      {.decision = {.level = AuditLevel::Metadata, .stages = {.started = true, .complete = true}},
       .users = {},
       .groups = {},
       .verbs = {},
       .namespaces = {},
       .paths = {},
       .resources = {}}};
};

}  // namespace fairlead::apiserver
