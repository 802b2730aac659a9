// The protobuf messages of the kinds served, as tables: field number, JSON name, type. From the
// API's generated.proto.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fairlead::kube {

enum class ProtoType : std::uint8_t {
  String,
  Bool,
  Integer,      // int32 and int64: plain varints
  Time,         // {1 seconds, 2 nanos} -> RFC 3339
  MicroTime,    // the same with six digits after the second
  IntOrString,  // {1 type, 2 intVal, 3 strVal}
  Quantity,     // {1 string}
  StringMap,    // repeated {1 key, 2 value}
  BytesMap,     // repeated {1 key, 2 bytes} -> base64
  QuantityMap,  // repeated {1 key, 2 Quantity}
  Message,
  Skipped,  // known and of no use to the server
  Refused,  // known and not carried over
};

struct ProtoMessage;

struct ProtoField {
  std::uint32_t number;
  std::string_view name;
  ProtoType type = ProtoType::String;
  const ProtoMessage* message = nullptr;  // of Message
  bool repeated = false;
  bool pointer = false;  // presence means something: empty values are kept
};

struct ProtoMessage {
  std::span<const ProtoField> fields;
};

// Null for kinds that are not read from protobuf. Only Event is one kind in v1 and another
// elsewhere; of the others `kind` is enough.
const ProtoMessage* proto_message_of(std::string_view api_version, std::string_view kind);

}  // namespace fairlead::kube
