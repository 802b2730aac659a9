#include "apiserver/reviews.hpp"

#include "apiserver/body.hpp"
#include "apiserver/metadata.hpp"
#include "apiserver/schema.hpp"

namespace fairlead::apiserver {
namespace {

ResourceInfo token_request_info() {
  return {.group = "authentication.k8s.io", .version = "v1", .kind = "TokenRequest"};
}

// The body as an object of that kind; unknown fields are dropped.
ApiResult<Document> body_of(const ResourceCall& call, const ResourceInfo& info) {
  const auto type = io::find_header(call.request->headers, "Content-Type");
  FAIRLEAD_TRY(document,
               decode_object_body(type.value_or(""), call.request->body,
                                  {.api_version = info.api_version(), .kind = info.kind}));
  FAIRLEAD_CHECK(conform_type_and_metadata(info, document));
  const Schema* schema = schema_of_kind(info.group, info.kind);
  check(schema != nullptr, "every kind served has a schema");
  FAIRLEAD_TRY(unknown, schema->conform(document));
  static_cast<void>(unknown);
  return document;
}

}  // namespace

bool Reviews::covers(const ResourceCall& call) {
  return call.verb == Verb::Create && call.path.subresource == "token";
}

ApiResult<Document> Reviews::answer(const ResourceCall& call) const {
  FAIRLEAD_TRY(options, parse_write_options(*call.url, "CreateOptions"));
  FAIRLEAD_TRY(request, body_of(call, token_request_info()));
  return tokens_.issue(call.path.ns, call.path.name, std::move(request), options.dry_run);
}

}  // namespace fairlead::apiserver
