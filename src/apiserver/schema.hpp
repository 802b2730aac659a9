// The fields of a kind as a value: what JSON decoding accepts, which fields are unknown, and what
// OpenAPI says. Each schema is one text parsed once:
//
//   object  {name:type other:type}      string s   integer i   boolean b   RFC 3339 time t, with
//   microseconds u   quantity
//   q list    []type                      int-or-string x        map of strings m anything any
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

  static Schema parse(std::string_view text);

  Type type() const { return type_; }
  const Schema& items() const { return fields_.front().second; }  // of a List
  const std::vector<std::pair<std::string, Schema>>& fields() const {
    return fields_;
  }  // of an Object
  const Schema* field(std::string_view name) const;

  // Removes nulls and unknown fields from `document`, whose schema is this object; the paths of the
  // unknown ones come back in order. A value of the wrong type is BadRequest naming its path.
  ApiResult<std::vector<std::string>> conform(Document& document) const;

  // OpenAPI v3 schema object.
  boost::json::object to_openapi() const;

 private:
  struct Walk;

  Type type_ = Type::Any;
  std::vector<std::pair<std::string, Schema>> fields_;
};

// The schema of a kind served here ("", "Service"), metadata, kind and apiVersion included; null
// for others.
const Schema* schema_of_kind(std::string_view group, std::string_view kind);

}  // namespace fairlead::apiserver
