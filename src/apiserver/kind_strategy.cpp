#include "apiserver/kind_strategy.hpp"

#include "apiserver/schema.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {

ApiResult<std::vector<std::string>> KindStrategy::conform(Document& document) const {
  const Schema* schema = schema_of_kind(info().group, info().kind);
  check(schema != nullptr, "every kind served has a schema");
  auto unknown = schema->conform(document);
  if (!unknown) return unknown;
  // What the schema lets pass as anything, a Pod's volumes say, has its types too.
  const auto misfit =
      kube::protobuf_misfit({.api_version = info().api_version(), .kind = info().kind}, document);
  if (misfit) return bad_request(*misfit);
  return unknown;
}

void KindStrategy::prepare_update(const RequestContext&, const Document& old,
                                  Document& document) const {
  if (const auto* status = old.if_contains("status")) {
    document["status"] = *status;
  } else {
    document.erase("status");
  }
}

Subresource status_subresource() { return {.name = "status", .verbs = {"get", "patch", "update"}}; }

std::string joined_or_none(const std::vector<std::string>& texts) {
  if (texts.empty()) return "<none>";
  return fmt::format("{}", fmt::join(texts, ","));
}

boost::json::value name_cell(const Document& document) {
  return text_value(string_at(document, "metadata.name"));
}

boost::json::value age_cell(const Document& document, WallTime now) {
  return text_value(age_text(document, now));
}

}  // namespace fairlead::apiserver
