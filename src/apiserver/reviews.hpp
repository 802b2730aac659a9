// What is asked by POSTing an object that is answered and never stored: a token for a
// ServiceAccount, whose token this is, who I am, who may do what. Owned by the ApiHandler; loop
// thread only. Whether the asker may ask was decided before.
#pragma once

#include <string>
#include <vector>

#include "apiserver/auth.hpp"
#include "apiserver/authorizer.hpp"
#include "apiserver/resource_handler.hpp"
#include "apiserver/review_kinds.hpp"
#include "apiserver/service_account_tokens.hpp"
#include "apiserver/user.hpp"

namespace fairlead::apiserver {

class Reviews {
 public:
  // All must outlive the reviews.
  Reviews(const ServiceAccountTokens& tokens, const Authenticator& authenticator,
          const Authorizer& authorizer)
      : tokens_(tokens), authenticator_(authenticator), authorizer_(authorizer) {}

  struct Call {
    std::string_view ns;  // of the path
    const io::HttpRequest* request = nullptr;
    const io::Url* url = nullptr;
    const User* user = nullptr;  // who asks
  };
  // The answer's object, for 201, and what is to be said in Warning headers.
  struct Answer {
    Document object;
    std::vector<std::string> warnings = {};
  };
  ApiResult<Answer> answer(const ReviewKind& kind, const Call& call) const;

  // Whether the call asks for a token of a ServiceAccount.
  static bool wants_token(const ResourceCall& call);
  ApiResult<Answer> issue_token(const ResourceCall& call) const;

 private:
  ApiResult<Document> token_status(const Document& spec) const;
  Document access_status(const User& user, const Document& spec) const;
  ApiResult<Document> rules_status(const User& user, const Document& spec) const;

  const ServiceAccountTokens& tokens_;
  const Authenticator& authenticator_;
  const Authorizer& authorizer_;
};

}  // namespace fairlead::apiserver
