#include "apiserver/service_account_tokens.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "apiserver/body.hpp"
#include "apiserver/metadata.hpp"
#include "base/text.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;
using boost::json::array;

constexpr std::int64_t kUsualSeconds = 3600, kLeastSeconds = 600, kMostSeconds = 1LL << 32;
constexpr auto kLeeway = 60s;  // clocks of servers that sign and check may differ
constexpr std::string_view kUserPrefix = "system:serviceaccount:";
constexpr std::string_view kBinding = "kubernetes.io";  // a claim with a dot in its name

std::int64_t seconds_of(WallTime time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::string encode_part(const Document& part) {
  const std::string json = boost::json::serialize(part);
  return base64url_encode({reinterpret_cast<const std::uint8_t*>(json.data()), json.size()});
}

std::optional<Document> decode_part(std::string_view text) {
  const auto json = base64url_decode(text);
  if (!json) return std::nullopt;
  auto parsed = parse_json(*json);
  if (!parsed || !parsed->value.is_object()) return std::nullopt;
  return std::move(parsed->value.get_object());
}

template <class... Args>
Error refused(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::Unauthorized, format, std::forward<Args>(args)...);
}

array strings(const std::vector<std::string>& texts) {
  array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

// "aud" is a list, or one text (RFC 7519, 4.1.3).
std::vector<std::string> audiences_of(const Document& claims) {
  const std::string_view one = string_at(claims, "aud");
  return one.empty() ? texts_at(claims, "aud") : std::vector<std::string>{std::string(one)};
}

const Document* binding_of(const Document& claims) {
  const auto* member = claims.if_contains(kBinding);
  return member == nullptr ? nullptr : member->if_object();
}

Document reference_to(const Document& object) {
  return {{"name", text_value(string_at(object, "metadata.name"))},
          {"uid", text_value(string_at(object, "metadata.uid"))}};
}

Document& status_of(Document& request) { return ensure_object(request, "status"); }

User user_of(const Document& claims, const Document& binding) {
  const std::string ns(string_at(binding, "namespace"));
  User user{.name = std::string(string_at(claims, "sub")),
            .uid = std::string(string_at(binding, "serviceaccount.uid")),
            .groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns,
                       std::string(kAuthenticated)}};
  user.extra["authentication.kubernetes.io/credential-id"] = {
      fmt::format("JTI={}", string_at(claims, "jti"))};
  for (const std::string_view kind : {"pod", "node"}) {
    if (object_at(binding, kind) == nullptr) continue;
    for (const std::string_view field : {"name", "uid"}) {
      user.extra[fmt::format("authentication.kubernetes.io/{}-{}", kind, field)] = {
          std::string(string_at(binding, fmt::format("{}.{}", kind, field)))};
    }
  }
  return user;
}

}  // namespace

ServiceAccountTokens::ServiceAccountTokens(const Registry& registry, const Clock& clock,
                                           io::SigningKey key,
                                           std::vector<io::VerificationKey> further,
                                           TokenTerms terms)
    : registry_(registry),
      clock_(clock),
      key_(std::move(key)),
      keys_{key_.verification()},
      terms_(std::move(terms)) {
  for (io::VerificationKey& more : further) {
    if (std::ranges::find(keys_, more.id(), &io::VerificationKey::id) == keys_.end())
      keys_.push_back(std::move(more));
  }
  check(!terms_.issuers.empty(), "tokens have an issuer");
  if (terms_.audiences.empty()) terms_.audiences = {terms_.issuers.front()};
}

std::optional<Document> ServiceAccountTokens::find(std::string_view resource, std::string_view ns,
                                                   std::string_view name) const {
  const Resource* held = registry_.find("", "v1", resource);
  if (held == nullptr) return std::nullopt;
  const ObjectPtr object = held->cache.find(held->key(ns, name));
  if (object == nullptr) return std::nullopt;
  return object->document();
}

// ---- making

ApiResult<void> ServiceAccountTokens::bind_to_pod(const std::string& account,
                                                  const Document& reference,
                                                  Document& binding) const {
  const std::string_view name = string_at(reference, "name"), uid = string_at(reference, "uid");
  const auto pod = find("pods", string_at(binding, "namespace"), name);
  if (!pod) return not_found({.group = "", .resource = "pods"}, name);
  const std::string_view runs_as = string_at(*pod, "spec.serviceAccountName");
  if ((runs_as.empty() ? "default" : runs_as) != account) {
    return bad_request(
        fmt::format("cannot bind token for serviceaccount \"{}\" to pod running with different "
                    "serviceaccount name.",
                    account));
  }
  if (!uid.empty() && uid != string_at(*pod, "metadata.uid")) {
    return conflict({.group = "", .resource = "pods"}, name,
                    fmt::format("the UID in the bound object reference ({}) does not match the UID "
                                "in record. The object might have been deleted and then recreated",
                                uid));
  }
  binding["pod"] = reference_to(*pod);
  const std::string_view node_name = string_at(*pod, "spec.nodeName");
  if (node_name.empty()) return {};
  if (const auto node = find("nodes", {}, node_name)) binding["node"] = reference_to(*node);
  return {};
}

ApiResult<Document> ServiceAccountTokens::binding(const std::string& ns, const std::string& name,
                                                  const Document& request) const {
  const auto account = find("serviceaccounts", ns, name);
  if (!account) return not_found({.group = "", .resource = "serviceaccounts"}, name);
  Document out{{"namespace", ns}, {"serviceaccount", reference_to(*account)}};
  const Document* reference = object_at(request, "spec.boundObjectRef");
  if (reference == nullptr) return out;
  const std::string_view kind = string_at(*reference, "kind");
  if (kind != "Pod" || string_at(*reference, "apiVersion") != "v1") {
    return bad_request(fmt::format("cannot bind token to object of type {}, Kind={}",
                                   string_at(*reference, "apiVersion"), kind));
  }
  FAIRLEAD_CHECK(bind_to_pod(name, *reference, out));
  return out;
}

ApiResult<Document> ServiceAccountTokens::issue(const std::string& ns, const std::string& name,
                                                Document request, bool dry_run) const {
  std::int64_t seconds = int_at(request, "spec.expirationSeconds").value_or(kUsualSeconds);
  FieldErrors errors;
  if (seconds < kLeastSeconds) {
    errors.push_back(invalid("spec.expirationSeconds", seconds,
                             "may not specify a duration less than 10 minutes"));
  }
  if (seconds > kMostSeconds) {
    errors.push_back(invalid("spec.expirationSeconds", seconds,
                             "may not specify a duration larger than 2^32 seconds"));
  }
  if (!errors.empty()) {
    return invalid_status({.group = "authentication.k8s.io", .resource = "TokenRequest"}, name,
                          errors);
  }
  FAIRLEAD_TRY(bound, binding(ns, name, request));
  if (terms_.longest > 0s) seconds = std::min<std::int64_t>(seconds, terms_.longest.count());
  auto audiences = texts_at(request, "spec.audiences");
  if (audiences.empty()) audiences = terms_.audiences;

  const std::int64_t now = seconds_of(clock_.wall());
  const WallTime expires = WallTime(std::chrono::seconds(now + seconds));
  Document& metadata = ensure_object(request, "metadata");
  metadata = {
      {"name", name}, {"namespace", ns}, {"creationTimestamp", format_rfc3339(clock_.wall())}};
  Document& spec = ensure_object(request, "spec");
  spec["audiences"] = strings(audiences);
  spec["expirationSeconds"] = seconds;
  status_of(request) = {{"expirationTimestamp", format_rfc3339(expires)}};
  if (dry_run) return request;

  const Document header{{"alg", text_value(key_.verification().algorithm())},
                        {"kid", key_.verification().id()}};
  const Document claims{{"aud", strings(audiences)},
                        {"exp", now + seconds},
                        {"iat", now},
                        {"iss", terms_.issuers.front()},
                        {"jti", new_uid()},
                        {kBinding, std::move(bound)},
                        {"nbf", now},
                        {"sub", fmt::format("{}{}:{}", kUserPrefix, ns, name)}};
  std::string token = encode_part(header) + "." + encode_part(claims);
  const auto signature = key_.sign(token);
  if (!signature) return to_status(signature.error());
  token += "." + base64url_encode(
                     {reinterpret_cast<const std::uint8_t*>(signature->data()), signature->size()});
  status_of(request)["token"] = token;
  return request;
}

// ---- checking

Result<Document> ServiceAccountTokens::claims_of(std::string_view token) const {
  const auto parts = split(token, '.');
  if (parts.size() != 3) return refused("it is no JSON Web Token");
  const auto header = decode_part(parts[0]);
  auto claims = decode_part(parts[1]);
  const auto signature = base64url_decode(parts[2]);
  if (!header || !claims || !signature) return refused("it is no JSON Web Token");
  if (std::ranges::find(terms_.issuers, string_at(*claims, "iss")) == terms_.issuers.end())
    return refused("it is of another issuer");
  const std::string_view signed_text = token.substr(0, token.rfind('.'));
  const bool genuine = std::ranges::any_of(keys_, [&](const io::VerificationKey& key) {
    const std::string_view id = string_at(*header, "kid");
    return (id.empty() || id == key.id()) && string_at(*header, "alg") == key.algorithm() &&
           key.verify(signed_text, *signature);
  });
  if (!genuine) return refused("its signature is of none of the keys");
  // A token without an end is none of ours.
  const auto expires = int_at(*claims, "exp"), not_before = int_at(*claims, "nbf");
  const std::int64_t now = seconds_of(clock_.wall());
  if (!expires || *expires < now - kLeeway.count()) return refused("it has expired");
  if (not_before && now + kLeeway.count() < *not_before) return refused("it is not valid yet");
  return std::move(*claims);
}

Result<void> ServiceAccountTokens::check_alive(std::string_view resource, std::string_view ns,
                                               const Document* reference) const {
  const std::string_view name = reference == nullptr ? "" : string_at(*reference, "name");
  if (name.empty()) return refused("it names none of the {}", resource);
  const auto object = find(resource, ns, name);
  if (!object || string_at(*object, "metadata.uid") != string_at(*reference, "uid"))
    return refused("{} {}/{} is gone or another one", resource, ns, name);
  const auto deleted = parse_rfc3339(string_at(*object, "metadata.deletionTimestamp"));
  if (deleted && *deleted + kLeeway < clock_.wall())
    return refused("{} {}/{} is being deleted", resource, ns, name);
  return {};
}

Result<ServiceAccountTokens::Verified> ServiceAccountTokens::verify(
    std::string_view token, std::vector<std::string> wanted) const {
  FAIRLEAD_TRY(claims, claims_of(token));
  if (wanted.empty()) wanted = terms_.audiences;
  const auto meant_for = audiences_of(claims);
  std::erase_if(wanted, [&meant_for](const std::string& audience) {
    return std::ranges::find(meant_for, audience) == meant_for.end();
  });
  if (wanted.empty()) return refused("it is meant for others");
  const Document* binding = binding_of(claims);
  if (binding == nullptr) return refused("it is bound to nothing");
  const std::string_view ns = string_at(*binding, "namespace");
  const std::string subject =
      fmt::format("{}{}:{}", kUserPrefix, ns, string_at(*binding, "serviceaccount.name"));
  if (string_at(claims, "sub") != subject) return refused("its subject is not what it is bound to");
  FAIRLEAD_CHECK(check_alive("serviceaccounts", ns, object_at(*binding, "serviceaccount")));
  if (const Document* pod = object_at(*binding, "pod")) {
    FAIRLEAD_CHECK(check_alive("pods", ns, pod));
  }
  return Verified{.user = user_of(claims, *binding), .audiences = std::move(wanted)};
}

// ---- telling others

std::string ServiceAccountTokens::discovery_json() const {
  const std::string& issuer = terms_.issuers.front();
  array algorithms;
  for (const io::VerificationKey& key : keys_) {
    const boost::json::value name = text_value(key.algorithm());
    if (std::ranges::find(algorithms, name) == algorithms.end()) algorithms.push_back(name);
  }
  const bool slash = issuer.ends_with('/');
  return boost::json::serialize(
      Document{{"issuer", issuer},
               {"jwks_uri", issuer + (slash ? "" : "/") + "openid/v1/jwks"},
               {"response_types_supported", array{"id_token"}},
               {"subject_types_supported", array{"public"}},
               {"id_token_signing_alg_values_supported", std::move(algorithms)}});
}

std::string ServiceAccountTokens::key_set_json() const {
  std::string keys;
  for (const io::VerificationKey& key : keys_) keys += (keys.empty() ? "" : ",") + key.to_jwk();
  return fmt::format(R"({{"keys":[{}]}})", keys);
}

}  // namespace fairlead::apiserver
