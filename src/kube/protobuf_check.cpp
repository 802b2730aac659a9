#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <limits>
#include <utility>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "kube/protobuf.hpp"
#include "kube/protobuf_schema.hpp"

namespace fairlead::kube {
namespace {

using boost::json::object;
using boost::json::value;
using Shape = ProtoField::Shape;

constexpr std::string_view kDigits = "0123456789";

bool is_integer(const value& v) {
  return v.is_int64() ||
         (v.is_uint64() && v.get_uint64() <= std::numeric_limits<std::int64_t>::max());
}

bool is_int32(const value& v) {
  if (v.is_uint64()) return v.get_uint64() <= std::numeric_limits<std::int32_t>::max();
  return v.is_int64() && std::in_range<std::int32_t>(v.get_int64());
}

// A decimal number and a suffix: of thousands, of 1024s, or an exponent.
bool is_quantity(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, end);
  if (number.find_first_of(kDigits) == std::string_view::npos) return false;
  if (number.find('.') != number.rfind('.')) return false;
  std::string_view suffix = text.substr(end);
  for (const std::string_view known :
       {"", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}) {
    if (suffix == known) return true;
  }
  if (suffix.front() != 'e' && suffix.front() != 'E') return false;
  suffix.remove_prefix(1);
  if (suffix.starts_with('+') || suffix.starts_with('-')) suffix.remove_prefix(1);
  return !suffix.empty() && suffix.find_first_not_of(kDigits) == std::string_view::npos;
}

bool is_string_list(const value& v) {
  const auto* list = v.if_array();
  return list != nullptr && std::all_of(list->begin(), list->end(),
                                        [](const value& item) { return item.is_string(); });
}

// Empty: it is one. Else what it should be.
std::string_view expected(ProtoType type, const value& v) {
  const auto* string = v.if_string();
  const std::string_view text =
      string == nullptr ? std::string_view() : std::string_view(string->data(), string->size());
  switch (type) {
    case ProtoType::String:
      return string != nullptr ? "" : "a string";
    case ProtoType::Bytes:
      return string != nullptr && base64_decode(text) ? "" : "bytes in base64";
    case ProtoType::Bool:
      return v.is_bool() ? "" : "true or false";
    case ProtoType::Int32:
      return is_int32(v) ? "" : "an integer of 32 bits";
    case ProtoType::Int64:
      return is_integer(v) ? "" : "an integer";
    case ProtoType::Time:
    case ProtoType::MicroTime:
      return string != nullptr && parse_rfc3339(text) ? "" : "an RFC 3339 time";
    case ProtoType::IntOrString:
      return string != nullptr || is_int32(v) ? "" : "an integer or a string";
    case ProtoType::Quantity:
      return v.is_number() || (string != nullptr && is_quantity(text)) ? "" : "a quantity";
    case ProtoType::StringList:
      return is_string_list(v) ? "" : "a list of strings";
    case ProtoType::FieldSet:
    case ProtoType::Message:
      return v.is_object() ? "" : "an object";
  }
  return "";
}

using Found = std::optional<std::string>;

Found misfit_in(const ProtoMessage& message, const object& from, const std::string& path);

Found single_misfit(const ProtoField& schema, const value& member, const std::string& path) {
  const std::string_view wanted = expected(schema.type, member);
  if (!wanted.empty()) return fmt::format("{}: expected {}", path, wanted);
  if (schema.type != ProtoType::Message) return std::nullopt;
  return misfit_in(*schema.message, member.get_object(), path);
}

Found map_misfit(const ProtoField& schema, const value& member, const std::string& path) {
  const auto* entries = member.if_object();
  if (entries == nullptr) return fmt::format("{}: expected an object", path);
  for (const auto& entry : *entries) {
    const std::string_view key = entry.key();
    if (auto found = single_misfit(schema, entry.value(), fmt::format("{}[{}]", path, key)))
      return found;
  }
  return std::nullopt;
}

Found list_misfit(const ProtoField& schema, const value& member, const std::string& path) {
  const auto* list = member.if_array();
  if (list == nullptr) return fmt::format("{}: expected a list", path);
  std::size_t i = 0;
  for (const value& item : *list) {
    if (auto found = single_misfit(schema, item, fmt::format("{}[{}]", path, i++))) return found;
  }
  return std::nullopt;
}

Found member_misfit(const ProtoField& schema, const object& from, const std::string& path) {
  const value* member = from.if_contains(schema.name);
  if (member == nullptr || member->is_null()) return std::nullopt;
  const std::string inner =
      path.empty() ? std::string(schema.name) : fmt::format("{}.{}", path, schema.name);
  if (schema.shape == Shape::Map) return map_misfit(schema, *member, inner);
  if (schema.shape == Shape::Repeated) return list_misfit(schema, *member, inner);
  return single_misfit(schema, *member, inner);
}

Found misfit_in(const ProtoMessage& message, const object& from, const std::string& path) {
  for (const ProtoField& schema : message.fields) {
    auto found = schema.shape == Shape::Inline ? misfit_in(*schema.message, from, path)
                                               : member_misfit(schema, from, path);
    if (found) return found;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> protobuf_misfit(const KindName& kind, const object& object) {
  const ProtoMessage* message = proto_message_of(kind.api_version, kind.kind);
  check(message != nullptr, "what is checked has a message");
  return misfit_in(*message, object, "");
}

}  // namespace fairlead::kube
