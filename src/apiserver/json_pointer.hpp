// JSON Pointer (RFC 6901) steps over Boost.JSON values, as JSON Patch needs them. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::apiserver {

// "/a/b~1c" -> {"a", "b/c"}; nullopt when the text is no pointer.
std::optional<std::vector<std::string>> parse_json_pointer(std::string_view text);

// The value a pointer's tokens lead to, or null.
boost::json::value* resolve(boost::json::value& root, const std::vector<std::string>& tokens);

// The index a token means in a list of `size`: digits without a leading zero, below or equal
// `most`.
std::optional<std::size_t> list_index(std::string_view token, std::size_t most);

}  // namespace fairlead::apiserver
