// A bearer token, forged or signed by a key that is trusted and yet of any content: it is refused
// in words that do not quote it, or it is of an account there is.
#include <boost/json/serialize.hpp>
#include <chrono>
#include <string>

#include "apiserver/service_account_tokens.hpp"
#include "base/text.hpp"
#include "fuzz/input.hpp"
#include "fuzz/memory_server.hpp"

using namespace fairlead;
using namespace fairlead::apiserver;

namespace {

std::string encode(std::string_view bytes) {
  return base64url_encode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

class Server : fuzz::MemoryServer {
 public:
  void verify(std::string_view token) const {
    const auto verified = tokens_.verify(token);
    if (!verified) {
      const std::string& message = verified.error().message;
      check(verified.error().code == ErrorCode::Unauthorized, "a bad token is nobody's");
      check(message.find('\n') == std::string::npos, "an error is one line");
      const bool is_word = token.size() >= 20 && token.find(' ') == std::string_view::npos;
      check(!is_word || message.find(token) == std::string::npos, "it is not quoted");
      return;
    }
    check(verified->user.name == "system:serviceaccount:default:x", "there is one account");
    check(verified->audiences.size() == 1, "and one audience is ours");
  }

  // The claims of one who may sign: as they are, or put into those of a good token.
  void verify_claims(std::string_view claims) const { verify(signed_token(good_header(), claims)); }
  void verify_merged(std::string_view claims) const {
    boost::system::error_code failed;
    const auto parsed = boost::json::parse(claims, failed);
    if (failed || !parsed.is_object()) return;
    Document merged = good_claims_;
    for (const auto& [name, value] : parsed.get_object()) merged[name] = value;
    verify_claims(boost::json::serialize(merged));
  }
  void verify_header(std::string_view header) const {
    verify(signed_token(header, boost::json::serialize(good_claims_)));
  }

 private:
  std::string good_header() const {
    return fmt::format(R"({{"alg":"ES256","kid":"{}"}})", key_.verification().id());
  }
  std::string signed_token(std::string_view header, std::string_view claims) const {
    const std::string text = encode(header) + "." + encode(claims);
    const auto signature = key_.sign(text);
    check(signature.has_value(), "anything can be signed");
    return text + "." + encode(*signature);
  }

  const Document namespace_ = make("namespaces", R"({"metadata":{"name":"default"}})");
  const Document account_ = make("serviceaccounts", R"({"metadata":{"name":"x"}})");
  const io::SigningKey key_ = *io::SigningKey::generate();
  const ServiceAccountTokens tokens_{registry_, clock_, key_, {}, {}};
  const std::int64_t now_ =
      std::chrono::duration_cast<std::chrono::seconds>(clock_.wall().time_since_epoch()).count();
  const Document good_claims_{
      {"aud", kDefaultIssuer},
      {"exp", now_ + 3600},
      {"iat", now_},
      {"nbf", now_},
      {"iss", kDefaultIssuer},
      {"jti", "1"},
      {"sub", "system:serviceaccount:default:x"},
      {"kubernetes.io",
       Document{{"namespace", "default"},
                {"serviceaccount",
                 Document{{"name", "x"}, {"uid", account_.at("metadata").at("uid")}}}}}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Server server;
  const fuzz::Choice choice = fuzz::choice_of(fuzz::text_of(data, size));
  switch (choice.number % 4) {
    case 0:
      server.verify(choice.rest);
      break;
    case 1:
      server.verify_claims(choice.rest);
      break;
    case 2:
      server.verify_merged(choice.rest);
      break;
    default:
      server.verify_header(choice.rest);
  }
  return 0;
}
