#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "kube/protobuf.hpp"
#include "kube/protobuf_schema.hpp"

namespace fairlead::kube {
namespace {

using boost::json::object;
using boost::json::value;
using Shape = ProtoField::Shape;

bool is_empty(const ProtoField& schema, const value& v) {
  if (schema.shape == Shape::Map) return v.is_object() && v.get_object().empty();
  if (schema.shape == Shape::Repeated) return v.is_array() && v.get_array().empty();
  switch (schema.type) {
    case ProtoType::String:
    case ProtoType::Bytes:
      return v.is_string() && v.get_string().empty();
    case ProtoType::Bool:
      return v.is_bool() && !v.get_bool();
    case ProtoType::Int32:
    case ProtoType::Int64:
      return (v.is_int64() && v.get_int64() == 0) || (v.is_uint64() && v.get_uint64() == 0);
    case ProtoType::Time:
    case ProtoType::MicroTime:
    case ProtoType::IntOrString:
    case ProtoType::Quantity:
    case ProtoType::FieldSet:
    case ProtoType::StringList:
    case ProtoType::Message:
      return false;  // structs, which are never left out
  }
  return false;
}

void clean(const ProtoMessage& message, object& members);

void clean_within(const ProtoField& schema, value& v) {
  const auto clean_one = [&schema](value& item) {
    if (item.is_object()) clean(*schema.message, item.get_object());
  };
  if (schema.shape == Shape::Single) {
    clean_one(v);
  } else if (schema.shape == Shape::Repeated && v.is_array()) {
    std::ranges::for_each(v.get_array(), clean_one);
  } else if (schema.shape == Shape::Map && v.is_object()) {
    for (auto& entry : v.get_object()) clean_one(entry.value());
  }
}

void clean(const ProtoMessage& message, object& members) {
  for (const ProtoField& schema : message.fields) {
    if (schema.shape == Shape::Inline) {
      clean(*schema.message, members);
      continue;
    }
    value* held = members.if_contains(schema.name);
    if (held == nullptr) continue;
    if (schema.type == ProtoType::Message) clean_within(schema, *held);
    if (!schema.keeps_empty && is_empty(schema, *held)) members.erase(schema.name);
  }
}

}  // namespace

void drop_empty_members(const KindName& kind, object& document) {
  const ProtoMessage* message = proto_message_of(kind.api_version, kind.kind);
  if (message != nullptr) clean(*message, document);
}

}  // namespace fairlead::kube
