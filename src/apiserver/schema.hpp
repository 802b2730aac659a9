// The fields of a kind as a value: what JSON decoding accepts, which fields are unknown, how parts
// of an object are owned and merged, and what OpenAPI says. Each schema is one text parsed once:
//
//   object  {name:type other:type}   string s   integer i   boolean b   quantity q
//   RFC 3339 time t, with microseconds u   int-or-string x   map of strings m   anything any
//   list owned as a whole []type   set [=]type   list of objects with these keys, some of which
//   have a default [port,protocol=TCP]{...}
//   object or map owned as a whole !{...} !m
//
// Pure; a schema text that does not parse is a broken invariant.
#pragma once

#include <boost/json/object.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

class Schema {
 public:
  enum class Type {
    Any,
    String,
    Integer,
    Boolean,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    StringMap,
    List,
    Object
  };

  // A member that names the elements of a list, and what it is when it is absent ("": nothing).
  struct Key {
    std::string name, fallback;
  };

  static Schema parse(std::string_view text);

  Type type() const { return type_; }
  const Schema& items() const { return fields_.front().second; }  // of a List
  const std::vector<std::pair<std::string, Schema>>& fields() const {
    return fields_;
  }  // of an Object
  const Schema* field(std::string_view name) const;

  // Whether it is owned as a whole by who writes it (x-kubernetes-list-type,
  // x-kubernetes-map-type); otherwise its members or elements are. Scalars always are; what is Any
  // is when it is no object.
  bool atomic() const { return atomic_; }
  bool is_set() const { return type_ == Type::List && !atomic_ && keys_.empty(); }
  const std::vector<Key>& keys() const { return keys_; }  // of a List of named elements

  // Removes nulls and unknown fields from `document`, whose schema is this object; the paths of the
  // unknown ones come back in order. A value of the wrong type is BadRequest naming its path.
  ApiResult<std::vector<std::string>> conform(Document& document) const;

  // OpenAPI v3 schema object.
  boost::json::object to_openapi() const;

 private:
  struct Walk;
  struct Parser;
  boost::json::object shape_to_openapi() const;

  Type type_ = Type::Any;
  bool atomic_ = false;
  std::vector<Key> keys_;
  std::vector<std::pair<std::string, Schema>> fields_;
};

// The schema of a kind served here ("", "Service"), metadata, kind and apiVersion included; null
// for others.
const Schema* schema_of_kind(std::string_view group, std::string_view kind);

}  // namespace fairlead::apiserver
