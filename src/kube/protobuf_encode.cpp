#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <vector>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "kube/protobuf.hpp"
#include "kube/protobuf_schema.hpp"
#include "kube/protobuf_wire.hpp"

namespace fairlead::kube {
namespace {

using boost::json::object;
using boost::json::value;
using Shape = ProtoField::Shape;

constexpr std::string_view kMagic("k8s\0", 4);

std::string_view view(const boost::json::string& text) { return {text.data(), text.size()}; }

void append_message(std::string& out, const ProtoMessage& message, const object& from);

// Seconds round down, so that the nanoseconds are never below zero.
bool append_time(std::string& out, const value& from) {
  const auto time = parse_rfc3339(view(from.get_string()));
  if (!time) return false;
  const auto second = std::chrono::floor<std::chrono::seconds>(*time);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(*time - second).count();
  append_varint_field(out, 1, static_cast<std::uint64_t>(second.time_since_epoch().count()));
  append_varint_field(out, 2, static_cast<std::uint64_t>(rest));
  return true;
}

bool is_integer(const value& from) { return from.is_int64() || from.is_uint64(); }

std::uint64_t integer_of(const value& from) {
  return from.is_uint64() ? from.get_uint64() : static_cast<std::uint64_t>(from.get_int64());
}

void append_int_or_string(std::string& out, const value& from) {
  append_varint_field(out, 1, from.is_string() ? 1 : 0);
  append_varint_field(out, 2, from.is_string() ? 0 : integer_of(from));
  append_bytes_field(out, 3, from.is_string() ? view(from.get_string()) : std::string_view());
}

bool append_string_list(std::string& out, const value& from) {
  for (const value& item : from.get_array()) {
    if (!item.is_string()) return false;
    append_bytes_field(out, 1, view(item.get_string()));
  }
  return true;
}

bool fits(ProtoType type, const value& from) {
  switch (type) {
    case ProtoType::String:
    case ProtoType::Bytes:
    case ProtoType::Time:
    case ProtoType::MicroTime:
      return from.is_string();
    case ProtoType::Bool:
      return from.is_bool();
    case ProtoType::Int32:
    case ProtoType::Int64:
      return is_integer(from);
    case ProtoType::IntOrString:
      return from.is_string() || is_integer(from);
    case ProtoType::Quantity:
      return from.is_string() || from.is_number();
    case ProtoType::StringList:
      return from.is_array();
    case ProtoType::FieldSet:
    case ProtoType::Message:
      return from.is_object();
  }
  return false;
}

// The bytes of one value that fits(); false when it does not after all.
bool append_content(std::string& out, const ProtoField& schema, const value& from) {
  switch (schema.type) {
    case ProtoType::String:
      out += view(from.get_string());
      return true;
    case ProtoType::Bytes: {
      const auto bytes = base64_decode(view(from.get_string()));
      if (bytes) out += *bytes;
      return bytes.has_value();
    }
    case ProtoType::Time:
    case ProtoType::MicroTime:
      return append_time(out, from);
    case ProtoType::IntOrString:
      append_int_or_string(out, from);
      return true;
    case ProtoType::Quantity:
      append_bytes_field(out, 1,
                         from.is_string() ? view(from.get_string()) : boost::json::serialize(from));
      return true;
    case ProtoType::FieldSet:
      append_bytes_field(out, 1, boost::json::serialize(from));
      return true;
    case ProtoType::StringList:
      return append_string_list(out, from);
    case ProtoType::Message:
      append_message(out, *schema.message, from.get_object());
      return true;
    case ProtoType::Bool:
    case ProtoType::Int32:
    case ProtoType::Int64:
      break;
  }
  return false;
}

void append_value(std::string& out, const ProtoField& schema, std::uint32_t number,
                  const value& from) {
  if (!fits(schema.type, from)) return;
  if (from.is_bool()) return append_varint_field(out, number, from.get_bool() ? 1 : 0);
  if (schema.type == ProtoType::Int32 || schema.type == ProtoType::Int64)
    return append_varint_field(out, number, integer_of(from));
  const std::size_t before = out.size();
  const std::size_t begin = begin_bytes_field(out, number);
  if (append_content(out, schema, from)) {
    end_bytes_field(out, begin);
  } else {
    out.resize(before);
  }
}

// By key, as Go writes them: the same object is always the same bytes.
void append_map(std::string& out, const ProtoField& schema, const value& from) {
  if (!from.is_object()) return;
  std::vector<const boost::json::key_value_pair*> entries;
  for (const auto& entry : from.get_object()) {
    if (fits(schema.type, entry.value())) entries.push_back(&entry);
  }
  std::ranges::sort(entries, {}, [](const auto* entry) { return std::string_view(entry->key()); });
  for (const auto* entry : entries) {
    const std::size_t begin = begin_bytes_field(out, schema.number);
    append_bytes_field(out, 1, entry->key());
    append_value(out, schema, 2, entry->value());
    end_bytes_field(out, begin);
  }
}

void append_inline(std::string& out, const ProtoField& schema, const object& from) {
  std::string inner;
  append_message(inner, *schema.message, from);
  if (!inner.empty()) append_bytes_field(out, schema.number, inner);
}

void append_message(std::string& out, const ProtoMessage& message, const object& from) {
  for (const ProtoField& schema : message.fields) {
    if (schema.shape == Shape::Inline) {
      append_inline(out, schema, from);
      continue;
    }
    const value* member = from.if_contains(schema.name);
    if (member == nullptr) continue;
    if (schema.shape == Shape::Map) {
      append_map(out, schema, *member);
    } else if (schema.shape == Shape::Single) {
      append_value(out, schema, schema.number, *member);
    } else if (const auto* list = member->if_array()) {
      for (const value& item : *list) append_value(out, schema, schema.number, item);
    }
  }
}

std::string type_meta(const KindName& kind) {
  std::string out;
  append_bytes_field(out, 1, kind.api_version);
  append_bytes_field(out, 2, kind.kind);
  return out;
}

const ProtoMessage& message_of(const KindName& kind) {
  const ProtoMessage* message = proto_message_of(kind.api_version, kind.kind);
  check(message != nullptr, "what is written has a message");
  return *message;
}

}  // namespace

bool has_protobuf(const KindName& kind) {
  return proto_message_of(kind.api_version, kind.kind) != nullptr;
}

std::string protobuf_message(const KindName& kind, const object& object) {
  std::string out;
  append_message(out, message_of(kind), object);
  return out;
}

namespace {
// With a tag of one byte.
std::size_t field_size(std::string_view bytes) {
  return 1 + varint_size(bytes.size()) + bytes.size();
}
}  // namespace

// Metadata is the first field, if any.
std::string_view protobuf_metadata(std::string_view message) {
  constexpr char kTag = 1 << 3 | 2;
  if (message.empty() || message.front() != kTag) return {};
  WireReader reader(message);
  const auto field = reader.next();
  check(field.has_value() && field->has_value(), "a message that was written here is whole");
  return message.substr(0, field_size((*field)->bytes));
}

std::string protobuf_envelope(const KindName& kind, std::size_t size) {
  std::string out(kMagic);
  append_bytes_field(out, 1, type_meta(kind));
  append_bytes_head(out, 2, size);
  return out;
}

// WatchEvent {1 type, 2 RawExtension {1 raw}} after its length of four bytes, the first the
// highest.
std::string protobuf_frame(std::string_view event_type, const KindName& kind, std::size_t size) {
  const std::string envelope = protobuf_envelope(kind, size);
  const std::size_t raw = envelope.size() + size + kProtobufEnvelopeEnd.size();
  std::string event;
  append_bytes_field(event, 1, event_type);
  append_bytes_head(event, 2, 1 + varint_size(raw) + raw);
  append_bytes_head(event, 1, raw);
  event += envelope;
  const std::size_t whole = event.size() + size + kProtobufEnvelopeEnd.size();
  std::string out;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(whole >> shift & 0xff);
  return out + event;
}

std::string protobuf_list(const KindName& kind, const object& metadata,
                          std::span<const std::string_view> items) {
  const std::string list_meta = protobuf_message({"meta.k8s.io/v1", "ListMeta"}, metadata);
  std::size_t size = field_size(list_meta);
  for (const std::string_view item : items) size += field_size(item);
  std::string out = protobuf_envelope(kind, size);
  out.reserve(out.size() + size + kProtobufEnvelopeEnd.size());
  append_bytes_field(out, 1, list_meta);
  for (const std::string_view item : items) append_bytes_field(out, 2, item);
  out += kProtobufEnvelopeEnd;
  return out;
}

}  // namespace fairlead::kube
