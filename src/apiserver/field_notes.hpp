// What `kubectl explain` says of kinds and their fields. Texts only; the shapes are schema.hpp's.
#pragma once

#include <boost/json/object.hpp>
#include <string_view>

namespace fairlead::apiserver {

// The OpenAPI schema of the field at `path` ("spec.ports.name") below that of a kind, through the
// items of lists; the kind's own for an empty path. nullptr: there is none.
boost::json::object* find_field(boost::json::object& schema, std::string_view path);

// Adds descriptions to a kind's OpenAPI schema.
void describe_fields(boost::json::object& schema, std::string_view group, std::string_view kind);

}  // namespace fairlead::apiserver
