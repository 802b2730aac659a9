#include "apiserver/service_account_tokens.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apiserver/auth.hpp"
#include "base/text.hpp"
#include "unit/apiserver/kinds_fixture.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kPod =
    R"({"metadata":{"name":"web"},"spec":{"serviceAccountName":"builder","nodeName":"n1",)"
    R"("containers":[{"name":"c","image":"i"}]}})";

class TokensTest : public KindsTest {
 protected:
  void SetUp() override {
    KindsTest::SetUp();
    ASSERT_TRUE(create("serviceaccounts", R"({"metadata":{"name":"builder"}})"));
    ASSERT_TRUE(create("nodes", R"({"metadata":{"name":"n1"}})"));
    ASSERT_TRUE(create("pods", kPod));
    tokens_.emplace(make());
  }
  ServiceAccountTokens make(TokenTerms terms = {}) {
    return {*registry_, clock_, key_, {}, std::move(terms)};
  }
  ApiResult<Document> issue(std::string_view spec) {
    return tokens_->issue("default", "builder",
                          parse_document(fmt::format(R"({{"spec":{}}})", spec)), false);
  }
  std::string token(std::string_view spec = "{}") {
    const auto issued = issue(spec);
    EXPECT_TRUE(issued) << (issued ? "" : issued.error().message);
    return issued ? std::string(string_at(*issued, "status.token")) : "";
  }
  // "" when it is accepted.
  std::string refusal(std::string_view text, std::vector<std::string> wanted = {}) {
    const auto verified = tokens_->verify(text, std::move(wanted));
    return verified ? "" : verified.error().message;
  }
  std::string uid_of(std::string_view resource, std::string_view key) {
    const auto object =
        find(resource).cache.find(find(resource).info().storage_prefix + std::string(key));
    return std::string(string_at(object->document(), "metadata.uid"));
  }
  static Document part(const std::string& text, std::size_t index) {
    return parse_document(*base64url_decode(split(text, '.')[index]));
  }
  // A token with these parts, signed with the server's key.
  std::string forged(std::string_view header, std::string_view claims) {
    const auto encode = [](std::string_view bytes) {
      return base64url_encode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    };
    const std::string text = encode(header) + "." + encode(claims);
    return text + "." + encode(*key_.sign(text));
  }

  const io::SigningKey key_ = *io::SigningKey::generate();
  std::optional<ServiceAccountTokens> tokens_;
};

TEST_F(TokensTest, SayWhoForWhomAndUntilWhen) {
  const std::string text =
      token(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web"}})");
  EXPECT_EQ(part(text, 0), parse_document(fmt::format(R"({{"alg":"ES256","kid":"{}"}})",
                                                      key_.verification().id())));
  Document claims = part(text, 1);
  EXPECT_EQ(string_at(claims, "jti").size(), 36U);
  claims.erase("jti");
  EXPECT_EQ(boost::json::value(claims),
            boost::json::value(parse_document(fmt::format(
                R"({{"aud":["https://kubernetes.default.svc.cluster.local"],
      "exp":1700003600,"iat":1700000000,"nbf":1700000000,
      "iss":"https://kubernetes.default.svc.cluster.local",
      "kubernetes.io":{{"namespace":"default","serviceaccount":{{"name":"builder","uid":"{}"}},
                       "pod":{{"name":"web","uid":"{}"}},"node":{{"name":"n1","uid":"{}"}}}},
      "sub":"system:serviceaccount:default:builder"}})",
                uid_of("serviceaccounts", "default/builder"), uid_of("pods", "default/web"),
                uid_of("nodes", "n1")))));
}

TEST_F(TokensTest, MakeTheirBearerTheServiceAccount) {
  const std::string text =
      token(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web"}})");
  const Authenticator authenticator({}, &*tokens_);
  const auto user =
      authenticator.authenticate({.headers = {{"Authorization", "Bearer " + text}}}, {}, false);
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ(user->name, "system:serviceaccount:default:builder");
  EXPECT_EQ(user->uid, uid_of("serviceaccounts", "default/builder"));
  EXPECT_THAT(user->groups, ElementsAre("system:serviceaccounts", "system:serviceaccounts:default",
                                        "system:authenticated"));
  EXPECT_THAT(user->extra.at("authentication.kubernetes.io/pod-name"), ElementsAre("web"));
  EXPECT_THAT(user->extra.at("authentication.kubernetes.io/node-name"), ElementsAre("n1"));
}

TEST_F(TokensTest, EndWithTheirTimeAndAMinuteForOtherClocks) {
  const std::string text = token(R"({"expirationSeconds":600})");
  clock_.advance(10min + 60s);
  EXPECT_EQ(refusal(text), "");
  clock_.advance(1s);
  EXPECT_EQ(refusal(text), "it has expired");
  clock_.advance(-20min);
  EXPECT_EQ(refusal(text), "it is not valid yet");
}

TEST_F(TokensTest, EndWithTheirServiceAccount) {
  const std::string text = token();
  EXPECT_EQ(refusal(text), "");
  ASSERT_TRUE(remove("serviceaccounts", "builder"));
  EXPECT_THAT(refusal(text), HasSubstr("serviceaccounts default/builder is gone"));
  ASSERT_TRUE(create("serviceaccounts", R"({"metadata":{"name":"builder"}})"));
  EXPECT_THAT(refusal(text), HasSubstr("or another one"))
      << "the same name is not the same account";
}

TEST_F(TokensTest, EndWithTheirPod) {
  const std::string text =
      token(R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web"}})");
  EXPECT_EQ(refusal(text), "");
  ASSERT_TRUE(remove("pods", "web", {.grace_period_seconds = 0}));
  EXPECT_THAT(refusal(text), HasSubstr("pods default/web is gone"));
}

TEST_F(TokensTest, AreForTheirAudienceOnly) {
  const std::string vaults = token(R"({"audiences":["vault","db"]})");
  EXPECT_EQ(refusal(vaults), "it is meant for others");
  const auto verified = tokens_->verify(vaults, {"db", "other"});
  ASSERT_TRUE(verified);
  EXPECT_THAT(verified->audiences, ElementsAre("db"));
}

TEST_F(TokensTest, OfTheFormerKeyAreGoodWhileItIsNamed) {
  const std::string old = token();
  const auto changed = *io::SigningKey::generate();
  const ServiceAccountTokens without(*registry_, clock_, changed, {}, {});
  EXPECT_FALSE(without.verify(old));
  const ServiceAccountTokens with(*registry_, clock_, changed, {key_.verification()}, {});
  EXPECT_TRUE(with.verify(old));
}

TEST_F(TokensTest, ThatWereTamperedWithAreRefused) {
  const std::string good = token();
  const Document claims = part(good, 1);
  const std::string body = boost::json::serialize(claims);
  const std::string header =
      fmt::format(R"({{"alg":"ES256","kid":"{}"}})", key_.verification().id());
  ASSERT_EQ(refusal(forged(header, body)), "") << "the forger of this test works";
  EXPECT_EQ(refusal(forged(R"({"alg":"ES256"})", body)), "") << "a key needs no name";

  const auto with = [&claims](std::string_view key, boost::json::value value) {
    Document changed = claims;
    changed[key] = std::move(value);
    return boost::json::serialize(changed);
  };
  struct Row {
    std::string name, token, why;
  };
  const std::vector<std::string_view> parts = split(good, '.');
  const auto none = base64url_encode(std::vector<std::uint8_t>{'{', '"', 'a', 'l', 'g', '"', ':',
                                                               '"', 'n', 'o', 'n', 'e', '"', '}'});
  for (const Row& row : {
           Row{"empty", "", "it is no JSON Web Token"},
           Row{"two parts", "a.b", "it is no JSON Web Token"},
           Row{"no JSON", "eA.eA.eA", "it is no JSON Web Token"},
           Row{"no signature", fmt::format("{}.{}.", none, parts[1]), "signature"},
           Row{"algorithm none", forged(R"({"alg":"none"})", body), "signature"},
           Row{"algorithm HMAC", forged(R"({"alg":"HS256"})", body), "signature"},
           Row{"another key's name", forged(R"({"alg":"ES256","kid":"x"})", body), "signature"},
           Row{"changed claims",
               fmt::format("{}.{}.{}", parts[0], split(forged("{}", with("exp", 9e9)), '.')[1],
                           parts[2]),
               "signature"},
           Row{"issuer", forged(header, with("iss", "https://other")), "another issuer"},
           Row{"no end", forged(header, with("exp", nullptr)), "expired"},
           Row{"subject", forged(header, with("sub", "system:serviceaccount:default:admin")),
               "subject"},
           Row{"unbound", forged(header, with("kubernetes.io", nullptr)), "bound to nothing"},
       }) {
    EXPECT_THAT(refusal(row.token), HasSubstr(row.why)) << row.name;
    EXPECT_NE(refusal(row.token), "") << row.name;
  }
}

TEST_F(TokensTest, AreNotMadeForWhatCannotBe) {
  struct Row {
    std::string_view name, spec;
    unsigned code;
    std::string_view why;
  };
  for (const Row& row : {
           Row{"short", R"({"expirationSeconds":599})", 422, "less than 10 minutes"},
           Row{"long", R"({"expirationSeconds":4294967297})", 422, "larger than 2^32 seconds"},
           Row{"no such pod", R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"x"}})",
               404, "pods \"x\" not found"},
           Row{"other uid",
               R"({"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web","uid":"1"}})", 409,
               "does not match the UID"},
           Row{"other kind", R"({"boundObjectRef":{"kind":"Secret","apiVersion":"v1","name":"x"}})",
               400, "cannot bind token"},
       }) {
    const auto refused = issue(row.spec);
    ASSERT_FALSE(refused) << row.name;
    EXPECT_EQ(refused.error().code, row.code) << row.name;
    EXPECT_THAT(refused.error().message, HasSubstr(row.why)) << row.name;
  }
  const auto others = tokens_->issue("default", "nobody", parse_document("{}"), false);
  ASSERT_FALSE(others);
  EXPECT_EQ(others.error().message, "serviceaccounts \"nobody\" not found");
  ASSERT_TRUE(create("serviceaccounts", R"({"metadata":{"name":"other"}})"));
  const auto of_others_pod = tokens_->issue(
      "default", "other",
      parse_document(
          R"({"spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web"}}})"),
      false);
  ASSERT_FALSE(of_others_pod);
  EXPECT_THAT(of_others_pod.error().message, HasSubstr("different serviceaccount name"));
}

TEST_F(TokensTest, LiveNoLongerThanAllowed) {
  tokens_.emplace(make({.longest = 1h}));
  const auto issued = issue(R"({"expirationSeconds":86400})");
  ASSERT_TRUE(issued);
  EXPECT_EQ(int_at(*issued, "spec.expirationSeconds"), 3600);
  EXPECT_EQ(string_at(*issued, "status.expirationTimestamp"), "2023-11-14T23:13:20Z");
}

TEST_F(TokensTest, OfADryRunAreNotMade) {
  const auto issued = tokens_->issue("default", "builder", parse_document("{}"), true);
  ASSERT_TRUE(issued);
  EXPECT_EQ(find_path(*issued, "status.token"), nullptr);
}

TEST_F(TokensTest, CanBeCheckedByOthers) {
  const std::string issuer(kDefaultIssuer);
  EXPECT_EQ(
      parse_document(tokens_->discovery_json()),
      parse_document(fmt::format(
          R"({{"issuer":"{0}","jwks_uri":"{0}/openid/v1/jwks","response_types_supported":["id_token"],
                    "subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}})",
          issuer)));
  EXPECT_EQ(tokens_->key_set_json(),
            fmt::format(R"({{"keys":[{}]}})", key_.verification().to_jwk()));
}

}  // namespace
}  // namespace fairlead::apiserver
