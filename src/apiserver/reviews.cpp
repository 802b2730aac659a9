#include "apiserver/reviews.hpp"

#include <boost/json/array.hpp>

#include "apiserver/body.hpp"
#include "apiserver/metadata.hpp"
#include "apiserver/schema.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {
namespace {

using Asks = ReviewKind::Asks;
using boost::json::array;

ResourceInfo token_request_info() {
  return {.group = "authentication.k8s.io", .version = "v1", .kind = "TokenRequest"};
}

// The body as an object of that kind. Unknown fields are dropped, and told.
ApiResult<Reviews::Answer> body_of(const io::HttpRequest& request, const ResourceInfo& info,
                                   FieldValidation validation) {
  const auto type = io::find_header(request.headers, "Content-Type");
  const std::string version = info.api_version();
  const kube::KindName kind{.api_version = version, .kind = info.kind};
  FAIRLEAD_TRY(document, decode_object_body(type.value_or(""), request.body, kind));
  FAIRLEAD_CHECK(conform_type_and_metadata(info, document));
  const Schema* schema = schema_of_kind(info.group, info.kind);
  check(schema != nullptr, "every kind served has a schema");
  FAIRLEAD_TRY(unknown, schema->conform(document));
  if (const auto misfit = kube::protobuf_misfit(kind, document)) return bad_request(*misfit);
  Reviews::Answer out{.object = std::move(document)};
  if (validation == FieldValidation::Ignore) return out;
  for (const std::string& path : unknown)
    out.warnings.push_back(fmt::format("unknown field \"{}\"", path));
  if (validation == FieldValidation::Strict && !unknown.empty()) {
    return bad_request(fmt::format("strict decoding error: {}", fmt::join(out.warnings, ", ")));
  }
  return out;
}

array strings(const std::vector<std::string>& texts) {
  array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

// ---- who may do what

// The user a SubjectAccessReview asks about.
User user_of(const Document& spec) {
  User out{.name = std::string(string_at(spec, "user")),
           .uid = std::string(string_at(spec, "uid")),
           .groups = texts_at(spec, "groups")};
  const Document* extra = object_at(spec, "extra");
  if (extra == nullptr) return out;
  for (const auto& [key, values] : *extra) {
    std::vector<std::string>& texts = out.extra[std::string(key)];
    const array* list = values.if_array();
    if (list == nullptr) continue;
    for (const auto& value : *list) {
      if (const auto* text = value.if_string()) texts.emplace_back(*text);
    }
  }
  return out;
}

Attributes attributes_of(const Document& spec) {
  const auto text = [&spec](std::string_view path) { return std::string(string_at(spec, path)); };
  if (object_at(spec, "nonResourceAttributes") != nullptr) {
    Attributes out{.verb = text("nonResourceAttributes.verb"),
                   .path = text("nonResourceAttributes.path"),
                   .group = {},
                   .resource = {},
                   .subresource = {},
                   .ns = {},
                   .name = {}};
    if (out.path.empty()) out.path = "*";  // no path at all is of who may use every path
    return out;
  }
  return {.verb = text("resourceAttributes.verb"),
          .path = {},
          .group = text("resourceAttributes.group"),
          .resource = text("resourceAttributes.resource"),
          .subresource = text("resourceAttributes.subresource"),
          .ns = text("resourceAttributes.namespace"),
          .name = text("resourceAttributes.name")};
}

// What is asked must be one thing, of somebody (spec 7.3).
FieldErrors access_errors(const Document& review, Asks asks) {
  const Document* resource = object_at(review, "spec.resourceAttributes");
  const Document* path = object_at(review, "spec.nonResourceAttributes");
  FieldErrors out;
  if (resource != nullptr && path != nullptr) {
    out.push_back(invalid("spec.nonResourceAttributes", boost::json::value(*path),
                          "cannot be specified in combination with resourceAttributes"));
  }
  if (resource == nullptr && path == nullptr) {
    out.push_back(invalid("spec.resourceAttributes", boost::json::value(),
                          "exactly one of nonResourceAttributes or resourceAttributes must be "
                          "specified"));
  }
  if (asks != Asks::SelfAccess && string_at(review, "spec.user").empty() &&
      texts_at(review, "spec.groups").empty()) {
    out.push_back(
        invalid("spec.user", std::string(), "at least one of user or group must be specified"));
  }
  Document metadata;
  if (const Document* given = object_at(review, "metadata")) metadata = *given;
  metadata.erase("managedFields");
  if (asks == Asks::LocalAccess) metadata.erase("namespace");
  if (!metadata.empty()) {
    out.push_back(invalid(
        "metadata", boost::json::value(std::move(metadata)),
        asks == Asks::LocalAccess ? "must be empty except for namespace" : "must be empty"));
  }
  return out;
}

FieldErrors local_errors(const Document& review) {
  FieldErrors out;
  const std::string_view asked = string_at(review, "spec.resourceAttributes.namespace");
  if (object_at(review, "spec.resourceAttributes") != nullptr &&
      asked != string_at(review, "metadata.namespace")) {
    out.push_back(
        invalid("spec.resourceAttributes.namespace", asked, "must match metadata.namespace"));
  }
  if (const Document* path = object_at(review, "spec.nonResourceAttributes")) {
    out.push_back(invalid("spec.nonResourceAttributes", boost::json::value(*path),
                          "disallowed on this kind of request"));
  }
  return out;
}

ApiResult<void> check_access_review(const ReviewKind& kind, std::string_view ns, Document& review) {
  if (kind.asks == Asks::LocalAccess) {
    Document& metadata = ensure_object(review, "metadata");
    if (string_at(metadata, "namespace").empty()) metadata["namespace"] = text_value(ns);
    if (string_at(metadata, "namespace") != ns) {
      return bad_request(
          "the namespace of the provided object does not match the namespace sent on the request");
    }
  }
  FieldErrors errors = access_errors(review, kind.asks);
  if (kind.asks == Asks::LocalAccess) append(errors, local_errors(review));
  if (!errors.empty()) return invalid_status(kind.info.qualified_kind(), "", errors);
  return {};
}

}  // namespace

Document Reviews::access_status(const User& user, const Document& spec) const {
  const auto reason = authorizer_.reason(user, attributes_of(spec));
  Document out{{"allowed", reason.has_value()}};
  if (reason && !reason->empty()) out["reason"] = *reason;
  return out;
}

ApiResult<Document> Reviews::rules_status(const User& user, const Document& spec) const {
  const std::string_view ns = string_at(spec, "namespace");
  if (ns.empty()) return bad_request("no namespace on request");
  array resource_rules, path_rules;
  for (const PolicyRule& rule : authorizer_.rules_for(user, ns)) {
    Document out{{"verbs", strings(rule.verbs)}};
    if (!rule.paths.empty()) {
      path_rules.push_back(
          Document{{"verbs", strings(rule.verbs)}, {"nonResourceURLs", strings(rule.paths)}});
    }
    if (rule.resources.empty()) continue;
    out["apiGroups"] = strings(rule.groups);
    out["resources"] = strings(rule.resources);
    if (!rule.names.empty()) out["resourceNames"] = strings(rule.names);
    resource_rules.push_back(std::move(out));
  }
  return Document{{"resourceRules", std::move(resource_rules)},
                  {"nonResourceRules", std::move(path_rules)},
                  {"incomplete", false}};
}

ApiResult<Document> Reviews::token_status(const Document& spec) const {
  const std::string_view token = string_at(spec, "token");
  if (token.empty()) return bad_request("token is required for TokenReview in authentication");
  const auto verified = authenticator_.verify(token, texts_at(spec, "audiences"));
  if (!verified) {
    // Why is the asker's to know; the token is in none of these texts.
    return Document{{"user", Document{}}, {"error", verified.error().message}};
  }
  Document out{{"authenticated", true}, {"user", user_info(verified->user)}};
  if (!verified->audiences.empty()) out["audiences"] = strings(verified->audiences);
  return out;
}

ApiResult<Reviews::Answer> Reviews::answer(const ReviewKind& kind, const Call& call) const {
  FAIRLEAD_TRY(options, parse_write_options(*call.url, "CreateOptions"));
  FAIRLEAD_TRY(out, body_of(*call.request, kind.info, options.field_validation));
  Document& review = out.object;
  const Document spec = ensure_object(review, "spec");
  ApiResult<Document> status;
  switch (kind.asks) {
    case Asks::Token:
      status = token_status(spec);
      break;
    case Asks::Self:
      status = Document{{"userInfo", user_info(*call.user)}};
      review.erase("spec");
      break;
    case Asks::SelfRules:
      status = rules_status(*call.user, spec);
      break;
    case Asks::SelfAccess:
    case Asks::Access:
    case Asks::LocalAccess:
      FAIRLEAD_CHECK(check_access_review(kind, call.ns, review));
      status = access_status(kind.asks == Asks::SelfAccess ? *call.user : user_of(spec), spec);
      break;
  }
  if (!status) return std::move(status).error();
  review["status"] = *std::move(status);
  return out;
}

bool Reviews::wants_token(const ResourceCall& call) {
  return call.verb == Verb::Create && call.path.subresource == "token";
}

ApiResult<Reviews::Answer> Reviews::issue_token(const ResourceCall& call) const {
  FAIRLEAD_TRY(options, parse_write_options(*call.url, "CreateOptions"));
  FAIRLEAD_TRY(asked, body_of(*call.request, token_request_info(), options.field_validation));
  FAIRLEAD_TRY(issued, tokens_.issue(call.path.ns, call.path.name, std::move(asked.object),
                                     options.dry_run));
  asked.object = std::move(issued);
  return asked;
}

}  // namespace fairlead::apiserver
