// Who asks. Immutable after start; tokens stay inside and are compared in constant time. Whether
// they may is authorizer.hpp's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/service_account_tokens.hpp"
#include "apiserver/status.hpp"
#include "apiserver/user.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

struct TokenEntry {
  std::string token;
  User user;
};
// Lines of `token,user,uid[,"group1,group2"]`; '#' starts a comment. Errors name the line, never
// its content.
Result<std::vector<TokenEntry>> parse_token_file(std::string_view text);

// Where who shows no credentials is system:anonymous instead of being refused (401).
enum class Anonymous {
  Health,      // /healthz, /livez and /readyz alone
  Everywhere,  // and roles say what that user may
};

class Authenticator {
 public:
  // Without `accounts`, tokens of ServiceAccounts are not known; they must outlive this.
  explicit Authenticator(std::vector<TokenEntry> tokens,
                         const ServiceAccountTokens* accounts = nullptr,
                         Anonymous anonymous = Anonymous::Health,
                         const Clock& clock = Clock::real())
      : tokens_(std::move(tokens)), accounts_(accounts), anonymous_(anonymous), clock_(clock) {}

  // Client certificate first, then bearer token. Without either: the administrator on a `trusted`
  // listener (plain HTTP on loopback), else system:anonymous. A wrong token is 401 everywhere,
  // and so is a certificate that is not or no longer good beside no token.
  ApiResult<User> authenticate(const io::HttpRequest& request, const io::Peer& peer,
                               bool trusted) const;
  // Whose token it is, if it is meant for one of these audiences; none = for this server. Errors
  // (Unauthorized) say what is wrong without quoting the token.
  using Verified = ServiceAccountTokens::Verified;
  Result<Verified> verify(std::string_view token, std::vector<std::string> audiences = {}) const;

 private:
  const User* find(std::string_view token) const;

  std::vector<TokenEntry> tokens_;
  const ServiceAccountTokens* accounts_;
  Anonymous anonymous_;
  const Clock& clock_;
};

}  // namespace fairlead::apiserver
