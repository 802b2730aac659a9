#include "io/signature.hpp"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/sha.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/text.hpp"
#include "io/openssl.hpp"

namespace fairlead::io {
namespace {

using openssl::Owned;
using openssl::take_error;

constexpr int kCoordinate = 32;  // bytes of a P-256 number
constexpr int kLeastRsaBits = 2048;

struct FreeMore {
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(ECDSA_SIG* p) const { ECDSA_SIG_free(p); }
};
using Digest = std::unique_ptr<EVP_MD_CTX, FreeMore>;
using EcSignature = std::unique_ptr<ECDSA_SIG, FreeMore>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::span<const std::uint8_t> span_of(std::string_view text) {
  return {bytes_of(text), text.size()};
}

bool is_p256(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return false;
  std::array<char, 64> name{};
  std::size_t length = 0;
  return EVP_PKEY_get_group_name(key, name.data(), name.size(), &length) == 1 &&
         std::string_view(name.data(), length) == "prime256v1";
}

bool is_rsa(EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) >= kLeastRsaBits;
}

// A number of the key, big-endian, filled up to `width` bytes.
std::string number_of(EVP_PKEY* key, const char* name, int width) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return {};
  const Owned<BIGNUM> number(raw);
  const int length = std::max(width, BN_num_bytes(number.get()));
  std::string out(static_cast<std::size_t>(length), '\0');
  BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(out.data()), length);
  return out;
}

// ---- ES256 signatures are two numbers side by side; OpenSSL speaks DER.

std::string to_der(std::string_view plain) {
  if (plain.size() != 2 * kCoordinate) return {};
  const EcSignature pair(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(bytes_of(plain), kCoordinate, nullptr);
  BIGNUM* s = BN_bin2bn(bytes_of(plain.substr(kCoordinate)), kCoordinate, nullptr);
  check(ECDSA_SIG_set0(pair.get(), r, s) == 1, "both numbers of a signature are there");
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(pair.get(), &der);
  if (length <= 0) return {};
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(length));
  OPENSSL_free(der);
  return out;
}

Result<std::string> from_der(std::string_view der) {
  const unsigned char* at = bytes_of(der);
  const EcSignature pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!pair) return take_error(ErrorCode::Internal, "read a signature just made");
  std::string out(2 * kCoordinate, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), bytes, kCoordinate) != kCoordinate ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), bytes + kCoordinate, kCoordinate) != kCoordinate) {
    return take_error(ErrorCode::Internal, "read a signature just made");
  }
  return out;
}

std::shared_ptr<EVP_PKEY> shared(EVP_PKEY* key) { return {key, openssl::Free()}; }

int no_passphrase(char*, int, int, void*) { return -1; }

template <class Read>
void read_all(const std::string& pem, Read read, std::vector<std::shared_ptr<EVP_PKEY>>& out) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  while (EVP_PKEY* key = read(bio.get())) out.push_back(shared(key));
  ERR_clear_error();
}

EVP_PKEY* read_certificate_key(BIO* bio) {
  const Owned<X509> certificate(PEM_read_bio_X509(bio, nullptr, no_passphrase, nullptr));
  return certificate ? X509_get_pubkey(certificate.get()) : nullptr;
}

}  // namespace

// ---- VerificationKey

Result<VerificationKey> VerificationKey::of(std::shared_ptr<EVP_PKEY> key) {
  if (!is_p256(key.get()) && !is_rsa(key.get())) {
    return make_error(ErrorCode::Invalid,
                      "the key is neither an EC key of curve P-256 nor an RSA key of {} bits or "
                      "more",
                      kLeastRsaBits);
  }
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key.get(), &der);
  if (length <= 0) return take_error(ErrorCode::Internal, "encode a public key");
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(der, static_cast<std::size_t>(length), hash.data());
  OPENSSL_free(der);
  return VerificationKey(std::move(key), base64url_encode(hash));
}

Result<std::vector<VerificationKey>> VerificationKey::parse_all(const std::string& pem) {
  std::vector<std::shared_ptr<EVP_PKEY>> keys;
  read_all(
      pem, [](BIO* bio) { return PEM_read_bio_PUBKEY(bio, nullptr, no_passphrase, nullptr); },
      keys);
  read_all(
      pem, [](BIO* bio) { return PEM_read_bio_PrivateKey(bio, nullptr, no_passphrase, nullptr); },
      keys);
  read_all(pem, read_certificate_key, keys);
  if (keys.empty()) return make_error(ErrorCode::Invalid, "no PEM key found");
  std::vector<VerificationKey> out;
  for (auto& key : keys) {
    FAIRLEAD_TRY(made, of(std::move(key)));
    out.push_back(std::move(made));
  }
  return out;
}

std::string_view VerificationKey::algorithm() const {
  return EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_EC ? "ES256" : "RS256";
}

bool VerificationKey::verify(std::string_view message, std::string_view signature) const {
  const std::string der = algorithm() == "ES256" ? to_der(signature) : std::string(signature);
  const Digest digest(EVP_MD_CTX_new());
  const bool right =
      EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(digest.get(), bytes_of(der), der.size(), bytes_of(message),
                       message.size()) == 1;
  ERR_clear_error();
  return right;
}

std::string VerificationKey::to_jwk() const {
  const auto part = [this](const char* name, int width) {
    return base64url_encode(span_of(number_of(key_.get(), name, width)));
  };
  if (algorithm() == "RS256") {
    return fmt::format(R"({{"use":"sig","kty":"RSA","kid":"{}","alg":"RS256","n":"{}","e":"{}"}})",
                       id_, part(OSSL_PKEY_PARAM_RSA_N, 0), part(OSSL_PKEY_PARAM_RSA_E, 0));
  }
  return fmt::format(
      R"({{"use":"sig","kty":"EC","kid":"{}","crv":"P-256","alg":"ES256","x":"{}","y":"{}"}})", id_,
      part(OSSL_PKEY_PARAM_EC_PUB_X, kCoordinate), part(OSSL_PKEY_PARAM_EC_PUB_Y, kCoordinate));
}

// ---- SigningKey

Result<SigningKey> SigningKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return take_error(ErrorCode::Internal, "make an EC key");
  FAIRLEAD_TRY(made, VerificationKey::of(shared(key)));
  return SigningKey(std::move(made));
}

Result<SigningKey> SigningKey::parse(const std::string& pem) {
  FAIRLEAD_TRY(key, openssl::read_private_key(pem));
  FAIRLEAD_TRY(made, VerificationKey::of(shared(key.release())));
  return SigningKey(std::move(made));
}

Result<std::string> SigningKey::to_pem() const {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(out.get(), verification_.key_.get(), nullptr, nullptr, 0, nullptr,
                               nullptr) != 1) {
    return take_error(ErrorCode::Internal, "write PEM");
  }
  char* data = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

Result<std::string> SigningKey::sign(std::string_view message) const {
  const Digest digest(EVP_MD_CTX_new());
  std::size_t length = 0;
  std::string out;
  EVP_PKEY* key = verification_.key_.get();
  if (EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &length, bytes_of(message), message.size()) != 1) {
    return take_error(ErrorCode::Internal, "sign");
  }
  out.resize(length);
  if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(out.data()), &length,
                     bytes_of(message), message.size()) != 1) {
    return take_error(ErrorCode::Internal, "sign");
  }
  out.resize(length);
  if (verification_.algorithm() == "ES256") return from_der(out);
  return out;
}

}  // namespace fairlead::io
