#include "apiserver/kind_strategy.hpp"

#include <boost/json/array.hpp>

#include "apiserver/schema.hpp"

namespace fairlead::apiserver {

ApiResult<std::vector<std::string>> KindStrategy::conform(Document& document) const {
  const Schema* schema = schema_of_kind(info().kind);
  check(schema != nullptr, "every kind served has a schema");
  return schema->conform(document);
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

std::vector<std::string> texts_at(const Document& document, std::string_view path) {
  std::vector<std::string> out;
  if (const auto* list = array_at(document, path)) {
    for (const auto& item : *list) {
      if (item.is_string()) out.emplace_back(item.get_string());
    }
  }
  return out;
}

std::vector<const Document*> objects_at(const Document& document, std::string_view path) {
  std::vector<const Document*> out;
  if (const auto* list = array_at(document, path)) {
    for (const auto& item : *list) {
      if (item.is_object()) out.push_back(&item.get_object());
    }
  }
  return out;
}

}  // namespace fairlead::apiserver
