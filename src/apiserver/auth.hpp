// Who asks (authentication) and whether they may (authorization). Immutable after start; tokens
// stay inside and are compared in constant time. Today's rule is one sentence: group system:masters
// may do everything, everyone may look at health and version, everybody authenticated may read
// discovery, and anything else is 403.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/status.hpp"
#include "io/http.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kMasters = "system:masters";

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  bool in_group(std::string_view group) const;
};

struct TokenEntry {
  std::string token;
  User user;
};
// Lines of `token,user,uid[,"group1,group2"]`; '#' starts a comment. Errors name the line, never
// its content.
Result<std::vector<TokenEntry>> parse_token_file(std::string_view text);

class Authenticator {
 public:
  explicit Authenticator(std::vector<TokenEntry> tokens) : tokens_(std::move(tokens)) {}

  // Client certificate first, then bearer token. Without either: the administrator on a `trusted`
  // listener (plain HTTP on loopback), else system:anonymous. A wrong token is 401 everywhere.
  ApiResult<User> authenticate(const io::HttpRequest& request, const io::Peer& peer,
                               bool trusted) const;

 private:
  std::vector<TokenEntry> tokens_;
};

// What is asked of whom.
struct Attributes {
  std::string verb;  // "get", "list", ...; lower-case method for non-resource paths
  std::string path;  // non-resource; empty for resources
  std::string group, resource, subresource, ns, name;
};
ApiResult<void> authorize(const User& user, const Attributes& attributes);

}  // namespace fairlead::apiserver
