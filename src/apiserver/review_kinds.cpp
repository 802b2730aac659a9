#include "apiserver/review_kinds.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using Asks = ReviewKind::Asks;

constexpr std::string_view kAuthentication = "authentication.k8s.io";
constexpr std::string_view kAuthorization = "authorization.k8s.io";

// "any" is a map of lists, which the table of protobuf fields knows the types of.
constexpr std::string_view kUserInfo = "{username:s uid:s groups:[]s extra:any}";
constexpr std::string_view kResourceAttributes =
    "resourceAttributes:{namespace:s verb:s group:s version:s resource:s subresource:s name:s "
    "fieldSelector:{rawSelector:s requirements:[]{key:s operator:s values:[]s}} "
    "labelSelector:{rawSelector:s requirements:[]{key:s operator:s values:[]s}}}";
constexpr std::string_view kNonResourceAttributes = "nonResourceAttributes:{path:s verb:s}";
constexpr std::string_view kAccessStatus = "status:{allowed:b reason:s evaluationError:s denied:b}";

ReviewKind review(Asks asks, std::string_view group, std::string_view kind, std::string schema) {
  ResourceInfo info{.group = std::string(group),
                    .version = "v1",
                    .resource = to_lower_ascii(kind) + "s",
                    .singular = to_lower_ascii(kind),
                    .kind = std::string(kind)};
  info.namespaced = asks == Asks::LocalAccess;
  info.verbs = {"create"};
  return {.asks = asks, .info = std::move(info), .schema = std::move(schema)};
}

std::vector<ReviewKind> make_reviews() {
  const std::string subject_access =
      fmt::format("spec:{{{} {} user:s groups:[]s extra:any uid:s}} {}", kResourceAttributes,
                  kNonResourceAttributes, kAccessStatus);
  return {
      review(Asks::Self, kAuthentication, "SelfSubjectReview",
             fmt::format("status:{{userInfo:{}}}", kUserInfo)),
      review(Asks::Token, kAuthentication, "TokenReview",
             fmt::format("spec:{{token:s audiences:[]s}} "
                         "status:{{authenticated:b user:{} error:s audiences:[]s}}",
                         kUserInfo)),
      review(Asks::LocalAccess, kAuthorization, "LocalSubjectAccessReview", subject_access),
      review(Asks::SelfAccess, kAuthorization, "SelfSubjectAccessReview",
             fmt::format("spec:{{{} {}}} {}", kResourceAttributes, kNonResourceAttributes,
                         kAccessStatus)),
      review(Asks::SelfRules, kAuthorization, "SelfSubjectRulesReview",
             "spec:{namespace:s} status:{resourceRules:[]{verbs:[]s apiGroups:[]s resources:[]s "
             "resourceNames:[]s} nonResourceRules:[]{verbs:[]s nonResourceURLs:[]s} incomplete:b "
             "evaluationError:s}"),
      review(Asks::Access, kAuthorization, "SubjectAccessReview", subject_access),
  };
}

}  // namespace

const std::vector<ReviewKind>& review_kinds() {
  static const std::vector<ReviewKind> kinds = make_reviews();
  return kinds;
}

const ReviewKind* find_review(std::string_view group, std::string_view version,
                              std::string_view resource) {
  const auto found = std::ranges::find_if(review_kinds(), [&](const ReviewKind& kind) {
    return kind.info.group == group && kind.info.version == version &&
           kind.info.resource == resource;
  });
  return found == review_kinds().end() ? nullptr : &*found;
}

bool is_review_group(std::string_view group, std::string_view version) {
  return std::ranges::any_of(review_kinds(), [&](const ReviewKind& kind) {
    return kind.info.group == group && kind.info.version == version;
  });
}

}  // namespace fairlead::apiserver
