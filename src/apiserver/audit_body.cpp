#include "apiserver/audit_body.hpp"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>

#include "apiserver/body.hpp"

namespace fairlead::apiserver {
namespace {

constexpr std::array<std::string_view, 5> kSending = {"create", "update", "patch", "delete",
                                                      "deletecollection"};

void remove_from_metadata(boost::json::value* object) {
  if (object == nullptr || !object->is_object()) return;
  boost::json::value* metadata = object->get_object().if_contains("metadata");
  if (metadata != nullptr && metadata->is_object()) metadata->get_object().erase("managedFields");
}

boost::json::array* list_in(Document& parent, std::string_view name) {
  boost::json::value* list = parent.if_contains(name);
  return list == nullptr ? nullptr : list->if_array();
}

}  // namespace

bool is_secret(const Attributes& asked) {
  return asked.resource == "secrets" || asked.resource == "tokenreviews" ||
         asked.subresource == "token";
}

bool sends_body(const Attributes& asked) {
  return asked.path.empty() && std::ranges::find(kSending, asked.verb) != kSending.end();
}

std::optional<boost::json::value> readable_body(std::string_view content_type,
                                                const std::string& body) {
  std::string type = media_type(content_type);
  if (type.ends_with("+json")) type = "application/json";
  if (type.ends_with("+yaml")) type = "application/yaml";
  auto decoded = decode_body(type, body);
  if (!decoded) return std::nullopt;
  return std::move(decoded->value);
}

void remove_managed_fields(boost::json::value& body) {
  Document* object = body.if_object();
  if (object == nullptr) return;
  remove_from_metadata(&body);
  if (boost::json::array* items = list_in(*object, "items")) {
    for (boost::json::value& item : *items) remove_from_metadata(&item);
  }
  if (boost::json::array* rows = list_in(*object, "rows")) {
    for (boost::json::value& row : *rows) {
      if (row.is_object()) remove_from_metadata(row.get_object().if_contains("object"));
    }
  }
}

}  // namespace fairlead::apiserver
