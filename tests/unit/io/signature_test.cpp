#include "io/signature.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.hpp"
#include "io/tls.hpp"

namespace fairlead::io {
namespace {

using testing::HasSubstr;

SigningKey new_key() {
  auto key = SigningKey::generate();
  check(key.has_value(), "make a key");
  return *std::move(key);
}

// RFC 7515, appendix A.3: what others sign is understood.
constexpr std::string_view kRfcKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
    "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
    "-----END PUBLIC KEY-----\n";
constexpr std::string_view kRfcMessage =
    "eyJhbGciOiJFUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlf"
    "Q";
constexpr std::string_view kRfcSignature =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

TEST(Signature, OfTheRfcsExampleIsRight) {
  const auto keys = VerificationKey::parse_all(std::string(kRfcKey));
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_EQ(keys->size(), 1U);
  EXPECT_EQ(keys->front().algorithm(), "ES256");
  const auto signature = base64url_decode(kRfcSignature);
  ASSERT_TRUE(signature);
  EXPECT_TRUE(keys->front().verify(kRfcMessage, *signature));
  EXPECT_THAT(keys->front().to_jwk(),
              HasSubstr(R"("x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                        R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")"));
}

TEST(Signature, IsRightForItsMessageAndKeyOnly) {
  const SigningKey key = new_key();
  const auto signature = key.sign("message");
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->size(), 64U);
  EXPECT_TRUE(key.verification().verify("message", *signature));
  EXPECT_FALSE(key.verification().verify("massage", *signature));
  EXPECT_FALSE(new_key().verification().verify("message", *signature));
  for (std::size_t i = 0; i < signature->size(); ++i) {
    std::string changed = *signature;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(key.verification().verify("message", changed)) << i;
  }
  for (const std::string& wrong : {std::string(), std::string(64, '\0'), *signature + "x"})
    EXPECT_FALSE(key.verification().verify("message", wrong));
}

TEST(SigningKey, ComesBackFromItsPem) {
  const SigningKey key = new_key();
  const auto pem = key.to_pem();
  ASSERT_TRUE(pem);
  const auto again = SigningKey::parse(*pem);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->verification().id(), key.verification().id());
  EXPECT_TRUE(again->verification().verify("m", *key.sign("m")));
  EXPECT_NE(new_key().verification().id(), key.verification().id());
}

TEST(VerificationKey, IsReadFromCertificatesAndPrivateKeysToo) {
  const auto ca = make_ca("ca", Clock::real(), std::chrono::hours(1));
  ASSERT_TRUE(ca);
  const auto keys = VerificationKey::parse_all(ca->certificate_pem + ca->private_key_pem);
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_EQ(keys->size(), 2U);
  EXPECT_EQ((*keys)[0].id(), (*keys)[1].id());
}

TEST(VerificationKey, IsRefusedWhenItIsNoneOrTooWeak) {
  EXPECT_FALSE(VerificationKey::parse_all("no key"));
  EXPECT_FALSE(SigningKey::parse(std::string(kRfcKey)));  // the public half only
  // RSA of 1024 bits.
  const auto weak = VerificationKey::parse_all(
      "-----BEGIN PUBLIC KEY-----\n"
      "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugd\n"
      "UWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdbH6dvEOfou0/gCFQs\n"
      "HUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5D\n"
      "o2kQ+X5xK9cipRgEKwIDAQAB\n"
      "-----END PUBLIC KEY-----\n");
  ASSERT_FALSE(weak);
  EXPECT_THAT(weak.error().message, HasSubstr("2048"));
}

}  // namespace
}  // namespace fairlead::io
