#include <simdjson.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdint>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "kube/protobuf.hpp"
#include "kube/protobuf_schema.hpp"
#include "kube/protobuf_wire.hpp"

namespace fairlead::kube {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;
using Shape = ProtoField::Shape;

constexpr std::string_view kMagic("k8s\0", 4);
constexpr std::size_t kMaxFieldSetDepth = 128;

Result<boost::json::string> text_of(std::string_view bytes) {
  if (!simdjson::validate_utf8(bytes.data(), bytes.size()))
    return make_error(ErrorCode::BadRequest, "protobuf: a string is not UTF-8");
  return boost::json::string(bytes.data(), bytes.size());
}

// The few messages that are one JSON scalar: numbered parts, the last of each counts.
struct Parts {
  std::uint64_t varints[4] = {};
  std::string_view texts[4] = {};
};
Result<Parts> parts_of(std::string_view bytes) {
  Parts out;
  WireReader reader(bytes);
  while (true) {
    FAIRLEAD_TRY(field, reader.next());
    if (!field) return out;
    if (field->number >= 4) continue;
    out.varints[field->number] = field->varint;
    out.texts[field->number] = field->bytes;
  }
}

// Null: the zero time, which Go prints as null.
Result<value> time_value(std::string_view bytes, int fraction_digits) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  if (bytes.empty()) return value(nullptr);
  const auto seconds = static_cast<std::int64_t>(parts.varints[1]);
  // What the clock can hold (1677 to 2262): a time that could not be kept is not stored as another.
  using std::chrono::floor;
  constexpr auto kLeast = floor<std::chrono::seconds>(WallTime::min()).time_since_epoch();
  constexpr auto kMost = floor<std::chrono::seconds>(WallTime::max()).time_since_epoch();
  if (seconds <= kLeast.count() || seconds >= kMost.count()) {
    return make_error(ErrorCode::BadRequest, "protobuf: time of {} seconds is out of range",
                      seconds);
  }
  const std::uint64_t nanoseconds = fraction_digits == 0 ? 0 : parts.varints[2];
  if (nanoseconds >= 1'000'000'000) {
    return make_error(ErrorCode::BadRequest, "protobuf: time with {} nanoseconds", nanoseconds);
  }
  const auto time = WallTime(std::chrono::seconds(seconds)) +
                    std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds));
  return value(boost::json::string(format_rfc3339(time, fraction_digits)));
}

// As in Go, 32 bits are kept of what is one.
std::int64_t int32_of(std::uint64_t varint) { return static_cast<std::int32_t>(varint); }

Result<value> int_or_string_value(std::string_view bytes) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  if (parts.varints[1] != 1) return value(int32_of(parts.varints[2]));
  FAIRLEAD_TRY(text, text_of(parts.texts[3]));
  return value(std::move(text));
}

Result<value> quantity_value(std::string_view bytes) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  FAIRLEAD_TRY(text, text_of(parts.texts[1]));
  return value(std::move(text));
}

// Objects all the way down, as sets of fields are.
bool is_field_set(const value& v) {
  const auto* fields = v.if_object();
  return fields != nullptr && std::ranges::all_of(*fields, [](const auto& field) {
           return is_field_set(field.value());
         });
}

Result<value> field_set_value(std::string_view bytes) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  if (parts.texts[1].empty()) return value(nullptr);
  boost::json::error_code failed;
  value out = boost::json::parse(parts.texts[1], failed, {}, {.max_depth = kMaxFieldSetDepth});
  if (failed || !is_field_set(out)) {
    return make_error(ErrorCode::BadRequest, "protobuf: a set of fields is malformed{}{}",
                      failed ? ": " : "", failed ? failed.message() : "");
  }
  return out;
}

Result<value> string_list_value(std::string_view bytes) {
  array out;
  WireReader reader(bytes);
  while (true) {
    FAIRLEAD_TRY(field, reader.next());
    if (!field) return value(std::move(out));
    if (field->number != 1) continue;
    FAIRLEAD_TRY(text, text_of(field->bytes));
    out.emplace_back(std::move(text));
  }
}

Result<void> add_message(const ProtoMessage& message, std::string_view bytes, object& out);

bool is_empty(const value& v) {
  switch (v.kind()) {
    case boost::json::kind::null:
      return true;
    case boost::json::kind::bool_:
      return !v.get_bool();
    case boost::json::kind::int64:
      return v.get_int64() == 0;
    case boost::json::kind::string:
      return v.get_string().empty();
    case boost::json::kind::object:
      return v.get_object().empty();
    case boost::json::kind::array:
      return v.get_array().empty();
    case boost::json::kind::uint64:
    case boost::json::kind::double_:
      return false;
  }
  return false;
}

bool is_varint(ProtoType type) {
  return type == ProtoType::Bool || type == ProtoType::Int32 || type == ProtoType::Int64;
}

Error wrong_wire_type(const ProtoField& field) {
  return make_error(ErrorCode::BadRequest, "protobuf: field {} has the wrong wire type",
                    field.name);
}

value varint_value(ProtoType type, std::uint64_t varint) {
  if (type == ProtoType::Bool) return value(varint != 0);
  if (type == ProtoType::Int32) return value(int32_of(varint));
  return value(static_cast<std::int64_t>(varint));
}

Result<value> bytes_value(const ProtoField& schema, std::string_view bytes) {
  switch (schema.type) {
    case ProtoType::String: {
      FAIRLEAD_TRY(text, text_of(bytes));
      return value(std::move(text));
    }
    case ProtoType::Bytes:
      return value(boost::json::string(base64_encode(
          std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()))));
    case ProtoType::Time:
      return time_value(bytes, 0);
    case ProtoType::MicroTime:
      return time_value(bytes, 6);
    case ProtoType::IntOrString:
      return int_or_string_value(bytes);
    case ProtoType::Quantity:
      return quantity_value(bytes);
    case ProtoType::FieldSet:
      return field_set_value(bytes);
    case ProtoType::StringList:
      return string_list_value(bytes);
    case ProtoType::Message: {
      object inner;
      FAIRLEAD_CHECK(add_message(*schema.message, bytes, inner));
      return value(std::move(inner));
    }
    case ProtoType::Bool:
    case ProtoType::Int32:
    case ProtoType::Int64:
      break;
  }
  return wrong_wire_type(schema);
}

Result<value> single_value(const ProtoField& schema, const WireField& field) {
  if (field.is_bytes == is_varint(schema.type)) return wrong_wire_type(schema);
  return field.is_bytes ? bytes_value(schema, field.bytes)
                        : Result<value>(varint_value(schema.type, field.varint));
}

object& object_in(object& out, std::string_view name) {
  value& inner = out[name];
  if (!inner.is_object()) inner = object();
  return inner.get_object();
}

array& array_in(object& out, std::string_view name) {
  value& inner = out[name];
  if (!inner.is_array()) inner = array();
  return inner.get_array();
}

Result<void> add_map_entry(const ProtoField& schema, const WireField& field, object& out) {
  if (!field.is_bytes) return wrong_wire_type(schema);
  FAIRLEAD_TRY(parts, parts_of(field.bytes));
  FAIRLEAD_TRY(key, text_of(parts.texts[1]));
  FAIRLEAD_TRY(entry, bytes_value(schema, parts.texts[2]));
  object_in(out, schema.name)[key] = std::move(entry);
  return {};
}

Result<void> add_to_list(const ProtoField& schema, const WireField& field, object& out) {
  array& list = array_in(out, schema.name);
  if (field.is_bytes && is_varint(schema.type)) {  // packed
    WireReader reader(field.bytes);
    while (!reader.at_end()) {
      FAIRLEAD_TRY(number, reader.varint());
      list.push_back(varint_value(schema.type, number));
    }
    return {};
  }
  FAIRLEAD_TRY(decoded, single_value(schema, field));
  list.push_back(std::move(decoded));
  return {};
}

Result<void> add_field(const ProtoField& schema, const WireField& field, object& out) {
  switch (schema.shape) {
    case Shape::Map:
      return add_map_entry(schema, field, out);
    case Shape::Repeated:
      return add_to_list(schema, field, out);
    case Shape::Inline:
      if (!field.is_bytes) return wrong_wire_type(schema);
      return add_message(*schema.message, field.bytes, out);
    case Shape::Single:
      break;
  }
  if (schema.type == ProtoType::Message && field.is_bytes) {  // given twice, they are merged
    object& inner = object_in(out, schema.name);
    FAIRLEAD_CHECK(add_message(*schema.message, field.bytes, inner));
    if (inner.empty() && !schema.keeps_empty) out.erase(schema.name);
    return {};
  }
  FAIRLEAD_TRY(decoded, single_value(schema, field));
  if (!decoded.is_null() && (schema.keeps_empty || !is_empty(decoded))) {
    out[schema.name] = std::move(decoded);
  } else {
    out.erase(schema.name);
  }
  return {};
}

Result<void> add_message(const ProtoMessage& message, std::string_view bytes, object& out) {
  WireReader reader(bytes);
  while (true) {
    FAIRLEAD_TRY(field, reader.next());
    if (!field) return {};
    const ProtoField* schema = message.field(field->number);
    if (schema != nullptr) FAIRLEAD_CHECK(add_field(*schema, *field, out));
  }
}

}  // namespace

Result<object> protobuf_to_object(std::string_view body, const KindName& expected) {
  if (!body.starts_with(kMagic)) {
    return make_error(ErrorCode::BadRequest,
                      "protobuf: the body does not start with the magic \"k8s\\0\"");
  }
  FAIRLEAD_TRY(envelope, parts_of(body.substr(kMagic.size())));
  FAIRLEAD_TRY(type, parts_of(envelope.texts[1]));
  const KindName kind{.api_version = type.texts[1].empty() ? expected.api_version : type.texts[1],
                      .kind = type.texts[2].empty() ? expected.kind : type.texts[2]};
  const ProtoMessage* message = proto_message_of(kind.api_version, kind.kind);
  if (message == nullptr) {
    FAIRLEAD_TRY(version, text_of(kind.api_version));
    FAIRLEAD_TRY(name, text_of(kind.kind));
    return make_error(ErrorCode::Unsupported,
                      "protobuf: kind \"{}\" of version \"{}\" is not known",
                      std::string_view(name), std::string_view(version));
  }
  FAIRLEAD_TRY(version, text_of(kind.api_version));
  object out{{"apiVersion", std::move(version)}, {"kind", kind.kind}};
  FAIRLEAD_CHECK(add_message(*message, envelope.texts[2], out));
  return out;
}

}  // namespace fairlead::kube
