// What is asked by POSTing an object that is answered and never stored: a token for a
// ServiceAccount. Owned by the ApiHandler; loop thread only.
#pragma once

#include "apiserver/resource_handler.hpp"
#include "apiserver/service_account_tokens.hpp"
#include "apiserver/user.hpp"

namespace fairlead::apiserver {

class Reviews {
 public:
  // It must outlive the reviews.
  explicit Reviews(const ServiceAccountTokens& tokens) : tokens_(tokens) {}

  // Whether the call is one of these.
  static bool covers(const ResourceCall& call);
  // The answer's object, for 201.
  ApiResult<Document> answer(const ResourceCall& call) const;

 private:
  const ServiceAccountTokens& tokens_;
};

}  // namespace fairlead::apiserver
