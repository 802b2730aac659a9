// Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519) signed by this server, bound to an account
// and perhaps to a Pod. A token is good as long as its time has not run out and everything it is
// bound to is still there with the uid it names: deleting the account, or the Pod, revokes it.
// Nothing is stored, so servers that share the signing key accept each other's tokens.
//
// Owned by the ApiServer; loop thread only. Reads the objects from the caches.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/registry.hpp"
#include "apiserver/user.hpp"
#include "base/clock.hpp"
#include "io/signature.hpp"

namespace fairlead::apiserver {

inline constexpr std::string_view kDefaultIssuer = "https://kubernetes.default.svc.cluster.local";

struct TokenTerms {
  std::vector<std::string> issuers = {std::string(kDefaultIssuer)};  // the first one is ours; all
                                                                     // are accepted
  // Whom tokens are meant for when nothing else is asked for, and as whom this server takes them.
  // Empty = the first issuer.
  std::vector<std::string> audiences = {};
  std::chrono::seconds longest{0};  // a longer lifetime is cut down to this; 0 = no limit
};

class ServiceAccountTokens {
 public:
  // `further` keys are accepted too: those of before a change of keys.
  ServiceAccountTokens(const Registry& registry, const Clock& clock, io::SigningKey key,
                       std::vector<io::VerificationKey> further, TokenTerms terms);

  // Answers the TokenRequest `request` (decoded and of the right shape) for the account NS/NAME:
  // the request with its status.
  ApiResult<Document> issue(const std::string& ns, const std::string& name, Document request,
                            bool dry_run) const;

  struct Verified {
    User user;
    std::vector<std::string> audiences;  // those of the token among the wanted ones
  };
  // Errors (Unauthorized) say what is wrong without quoting the token. `wanted` empty = ours.
  Result<Verified> verify(std::string_view token, std::vector<std::string> wanted = {}) const;

  const std::vector<std::string>& audiences() const { return terms_.audiences; }

  // For those who check tokens themselves (OpenID Connect Discovery 1.0; RFC 7517).
  std::string discovery_json() const;
  std::string key_set_json() const;

 private:
  // The claim "kubernetes.io": what the token is bound to.
  ApiResult<Document> binding(const std::string& ns, const std::string& name,
                              const Document& request) const;
  ApiResult<void> bind_to_pod(const std::string& account, const Document& reference,
                              Document& binding) const;
  Result<Document> claims_of(std::string_view token) const;  // signature, issuer and times are good
  Result<void> check_alive(std::string_view resource, std::string_view ns,
                           const Document* reference) const;
  std::optional<Document> find(std::string_view resource, std::string_view ns,
                               std::string_view name) const;

  const Registry& registry_;
  const Clock& clock_;
  io::SigningKey key_;
  std::vector<io::VerificationKey> keys_;
  TokenTerms terms_;
};

}  // namespace fairlead::apiserver
