// The reviews of authentication.k8s.io and authorization.k8s.io: resources that can only be created
// and are never stored. What discovery, OpenAPI and routing must know of them; how they are
// answered is reviews.hpp's. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

struct ReviewKind {
  enum class Asks {
    Token,        // TokenReview: whose is this token
    Self,         // SelfSubjectReview: who am I
    Access,       // SubjectAccessReview: may that user do this
    LocalAccess,  // LocalSubjectAccessReview: the same in one namespace
    SelfAccess,   // SelfSubjectAccessReview: may I
    SelfRules,    // SelfSubjectRulesReview: what may I
  };
  Asks asks;
  ResourceInfo info;
  std::string schema;  // its body as Schema takes it, without what every kind has
};

// By group, then resource.
const std::vector<ReviewKind>& review_kinds();
const ReviewKind* find_review(std::string_view group, std::string_view version,
                              std::string_view resource);
bool is_review_group(std::string_view group, std::string_view version);

}  // namespace fairlead::apiserver
