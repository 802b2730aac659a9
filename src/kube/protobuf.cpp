#include "kube/protobuf.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "kube/protobuf_schema.hpp"

namespace fairlead::kube {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr std::string_view kMagic("k8s\0", 4);

// One field as it stands on the wire.
struct WireField {
  std::uint32_t number = 0;
  std::uint64_t varint = 0;  // wire type 0
  std::string_view bytes;    // wire type 2
  bool is_bytes = false;
};

// Reads fields off the front. Fixed-width fields, which these messages do not use, are skipped.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  // nullopt at the end.
  Result<std::optional<WireField>> next() {
    while (!rest_.empty()) {
      FAIRLEAD_TRY(tag, varint());
      WireField field;
      field.number = static_cast<std::uint32_t>(tag >> 3);
      switch (tag & 7) {
        case 0: {
          FAIRLEAD_TRY(number, varint());
          field.varint = number;
          return std::optional(field);
        }
        case 1: {
          FAIRLEAD_CHECK(take(8));
          break;
        }
        case 2: {
          FAIRLEAD_TRY(size, varint());
          FAIRLEAD_TRY(bytes, take(size));
          field.bytes = bytes;
          field.is_bytes = true;
          return std::optional(field);
        }
        case 5: {
          FAIRLEAD_CHECK(take(4));
          break;
        }
        default:
          return make_error(ErrorCode::BadRequest, "protobuf: wire type {} is not known", tag & 7);
      }
    }
    return std::optional<WireField>();
  }

 private:
  Result<std::uint64_t> varint() {
    std::uint64_t out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty())
        return make_error(ErrorCode::BadRequest, "protobuf: the body is truncated");
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return out;
    }
    return make_error(ErrorCode::BadRequest, "protobuf: a number has more than ten bytes");
  }
  Result<std::string_view> take(std::uint64_t size) {
    if (size > rest_.size())
      return make_error(ErrorCode::BadRequest, "protobuf: the body is truncated");
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }

  std::string_view rest_;
};

boost::json::string text_of(std::string_view bytes) {
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
  if (seconds <= kLeast.count() || seconds > kMost.count()) {
    return make_error(ErrorCode::BadRequest, "protobuf: time of {} seconds is out of range",
                      seconds);
  }
  const std::uint64_t nanoseconds = fraction_digits == 0 ? 0 : parts.varints[2];
  if (nanoseconds >= 1'000'000'000) {
    return make_error(ErrorCode::BadRequest, "protobuf: time with {} nanoseconds", nanoseconds);
  }
  const auto time = WallTime(std::chrono::seconds(seconds)) +
                    std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds));
  return value(text_of(format_rfc3339(time, fraction_digits)));
}

Result<value> int_or_string_value(std::string_view bytes) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  if (parts.varints[1] == 1) return value(text_of(parts.texts[3]));
  return value(static_cast<std::int64_t>(parts.varints[2]));
}

Result<value> quantity_value(std::string_view bytes) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  return value(text_of(parts.texts[1]));
}

Result<object> message_value(const ProtoMessage& message, std::string_view bytes);

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

bool is_varint(ProtoType type) { return type == ProtoType::Bool || type == ProtoType::Integer; }

bool is_map(ProtoType type) {
  return type == ProtoType::StringMap || type == ProtoType::BytesMap ||
         type == ProtoType::QuantityMap;
}

Result<value> single_value(const ProtoField& schema, const WireField& field) {
  if (field.is_bytes == is_varint(schema.type)) {
    return make_error(ErrorCode::BadRequest, "protobuf: field {} has the wrong wire type",
                      schema.name);
  }
  switch (schema.type) {
    case ProtoType::String:
      return value(text_of(field.bytes));
    case ProtoType::Bool:
      return value(field.varint != 0);
    case ProtoType::Integer:
      return value(static_cast<std::int64_t>(field.varint));
    case ProtoType::Time:
      return time_value(field.bytes, 0);
    case ProtoType::MicroTime:
      return time_value(field.bytes, 6);
    case ProtoType::IntOrString:
      return int_or_string_value(field.bytes);
    case ProtoType::Quantity:
      return quantity_value(field.bytes);
    case ProtoType::Message: {
      FAIRLEAD_TRY(inner, message_value(*schema.message, field.bytes));
      return value(std::move(inner));
    }
    case ProtoType::StringMap:
    case ProtoType::BytesMap:
    case ProtoType::QuantityMap:
    case ProtoType::Skipped:
    case ProtoType::Refused:
      break;
  }
  return make_error(ErrorCode::Internal, "protobuf: field {} is no single value", schema.name);
}

Result<void> add_map_entry(const ProtoField& schema, std::string_view bytes, object& out) {
  FAIRLEAD_TRY(parts, parts_of(bytes));
  value entry(text_of(parts.texts[2]));
  if (schema.type == ProtoType::QuantityMap) {
    FAIRLEAD_TRY(quantity, quantity_value(parts.texts[2]));
    entry = std::move(quantity);
  } else if (schema.type == ProtoType::BytesMap) {
    const std::string_view bytes_held = parts.texts[2];
    entry = text_of(base64_encode(
        std::span(reinterpret_cast<const std::uint8_t*>(bytes_held.data()), bytes_held.size())));
  }
  value& map = out[schema.name];
  if (!map.is_object()) map = object();
  map.get_object()[text_of(parts.texts[1])] = std::move(entry);
  return {};
}

Result<void> add_field(const ProtoField& schema, const WireField& field, object& out) {
  if (schema.type == ProtoType::Skipped) return {};
  if (schema.type == ProtoType::Refused) {
    if (field.is_bytes && field.bytes.empty()) return {};
    return make_error(ErrorCode::Unsupported,
                      "protobuf: field {} is not supported, send it as JSON", schema.name);
  }
  if (is_map(schema.type)) {
    if (!field.is_bytes) {
      return make_error(ErrorCode::BadRequest, "protobuf: field {} has the wrong wire type",
                        schema.name);
    }
    return add_map_entry(schema, field.bytes, out);
  }
  FAIRLEAD_TRY(decoded, single_value(schema, field));
  if (schema.repeated) {
    value& list = out[schema.name];
    if (!list.is_array()) list = array();
    list.get_array().push_back(std::move(decoded));
  } else if (schema.pointer || !is_empty(decoded)) {
    out[schema.name] = std::move(decoded);
  }
  return {};
}

Result<object> message_value(const ProtoMessage& message, std::string_view bytes) {
  object out;
  WireReader reader(bytes);
  while (true) {
    FAIRLEAD_TRY(field, reader.next());
    if (!field) return out;
    for (const ProtoField& schema : message.fields) {
      if (schema.number != field->number) continue;
      FAIRLEAD_CHECK(add_field(schema, *field, out));
      break;
    }
  }
}

}  // namespace

Result<std::string> protobuf_to_json(std::string_view body) {
  if (!body.starts_with(kMagic)) {
    return make_error(ErrorCode::BadRequest,
                      "protobuf: the body does not start with the magic \"k8s\\0\"");
  }
  FAIRLEAD_TRY(envelope, parts_of(body.substr(kMagic.size())));
  FAIRLEAD_TRY(type, parts_of(envelope.texts[1]));
  const std::string_view api_version = type.texts[1];
  const std::string_view kind = type.texts[2];
  const ProtoMessage* message = proto_message_of(api_version, kind);
  if (message == nullptr) {
    return make_error(ErrorCode::Unsupported,
                      "protobuf: kind \"{}\" is not supported, send it as JSON", kind);
  }
  FAIRLEAD_TRY(decoded, message_value(*message, envelope.texts[2]));
  decoded["apiVersion"] = text_of(api_version);
  decoded["kind"] = text_of(kind);
  return boost::json::serialize(decoded);
}

}  // namespace fairlead::kube
