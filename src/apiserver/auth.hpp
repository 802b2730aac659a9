// Who asks (authentication) and whether they may (authorization). Immutable after start; tokens
// stay inside and are compared in constant time. Today's rule is one sentence: group system:masters
// may do everything, everyone may look at health and version, everybody authenticated may read
// discovery, and anything else is 403.
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

class Authenticator {
 public:
  // Without `accounts`, tokens of ServiceAccounts are not known; they must outlive this.
  explicit Authenticator(std::vector<TokenEntry> tokens,
                         const ServiceAccountTokens* accounts = nullptr)
      : tokens_(std::move(tokens)), accounts_(accounts) {}

  // Client certificate first, then bearer token. Without either: the administrator on a `trusted`
  // listener (plain HTTP on loopback), else system:anonymous. A wrong token is 401 everywhere.
  ApiResult<User> authenticate(const io::HttpRequest& request, const io::Peer& peer,
                               bool trusted) const;

 private:
  ApiResult<User> authenticate_token(std::string_view token) const;

  std::vector<TokenEntry> tokens_;
  const ServiceAccountTokens* accounts_;
};

// What is asked of whom.
struct Attributes {
  std::string verb;  // "get", "list", ...; lower-case method for non-resource paths
  std::string path;  // non-resource; empty for resources
  std::string group, resource, subresource, ns, name;
};
ApiResult<void> authorize(const User& user, const Attributes& attributes);

}  // namespace fairlead::apiserver
