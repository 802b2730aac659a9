// Signatures as JSON Web Tokens have them (RFC 7518): ES256 with P-256 keys, RS256 with RSA keys.
// Keys are values that share what OpenSSL holds; PEM in, PEM out. Pure but for making keys.
//
// A key's algorithm is decided by the key alone and never by a message that claims to be signed
// with it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

struct evp_pkey_st;

namespace fairlead::io {

// What can check signatures.
class VerificationKey {
 public:
  // Every key of a PEM text (public keys, or private ones and certificates, whose public half
  // counts), at least one. Invalid: nothing found, or a key that is neither P-256 nor RSA of 2048
  // bits and more.
  static Result<std::vector<VerificationKey>> parse_all(const std::string& pem);

  bool verify(std::string_view message, std::string_view signature) const;
  std::string_view algorithm() const;  // "ES256" or "RS256"
  // SHA-256 of the key's SubjectPublicKeyInfo in base64url: the same name wherever it is computed.
  const std::string& id() const { return id_; }
  // The key as a JSON Web Key (RFC 7517) for checking signatures.
  std::string to_jwk() const;

 private:
  friend class SigningKey;
  VerificationKey(std::shared_ptr<evp_pkey_st> key, std::string id)
      : key_(std::move(key)), id_(std::move(id)) {}
  static Result<VerificationKey> of(std::shared_ptr<evp_pkey_st> key);

  std::shared_ptr<evp_pkey_st> key_;
  std::string id_;
};

class SigningKey {
 public:
  static Result<SigningKey> generate();                     // P-256
  static Result<SigningKey> parse(const std::string& pem);  // Invalid: as above, or no private key
  Result<std::string> to_pem() const;

  Result<std::string> sign(std::string_view message) const;
  const VerificationKey& verification() const { return verification_; }

 private:
  explicit SigningKey(VerificationKey verification) : verification_(std::move(verification)) {}
  VerificationKey verification_;  // holds the private half too
};

}  // namespace fairlead::io
