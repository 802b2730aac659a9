// The protobuf messages of the API's kinds as tables: field number, JSON name, type. One table is
// read for both directions (protobuf_decode.cpp, protobuf_encode.cpp). It stands as text in
// protobuf_fields.cpp, by API version:
//
//   Message { number name type ... }
//
// Types: s string, y bytes (base64 in JSON), b bool, i int32, l int64, t Time, u MicroTime,
// x IntOrString, q Quantity, j set of fields (FieldsV1), e a message of one list of strings
// that JSON has as that list, or a message's name: of the same API version, of meta or of core/v1.
// []type is repeated, {}type a map from strings. "?" at the end: an empty value is kept, as the
// field is a pointer in Go or is always in the JSON. A member named "-" stands in JSON among the
// members of the message it is in.
//
// Pure; a text that does not parse is a broken invariant. Messages do not contain themselves: their
// depth bounds the depth of what is decoded.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fairlead::kube {

enum class ProtoType : std::uint8_t {
  String,
  Bytes,
  Bool,
  Int32,
  Int64,
  Time,         // {1 seconds, 2 nanos} -> RFC 3339
  MicroTime,    // the same with six digits after the second
  IntOrString,  // {1 type, 2 intVal, 3 strVal}
  Quantity,     // {1 string}
  FieldSet,     // {1 bytes, JSON}
  StringList,   // {1 repeated string}
  Message,
};

struct ProtoMessage;

struct ProtoField {
  enum class Shape : std::uint8_t { Single, Repeated, Map, Inline };

  std::uint32_t number = 0;
  std::string_view name;
  ProtoType type = ProtoType::String;
  Shape shape = Shape::Single;
  bool keeps_empty = false;
  const ProtoMessage* message = nullptr;  // of Message
};

struct ProtoMessage {
  std::string_view name;
  std::vector<ProtoField> fields;  // by number

  const ProtoField* field(std::uint32_t number) const;
};

// Null for what is no kind, or none that is known. meta's kinds are of every API version.
const ProtoMessage* proto_message_of(std::string_view api_version, std::string_view kind);

struct ProtoSource {
  std::string_view api_version, text;
};
std::span<const ProtoSource> proto_sources();

}  // namespace fairlead::kube
