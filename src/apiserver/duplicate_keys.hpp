// Finds keys that a JSON text gives twice in one object. A SAX pass without building anything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fairlead::apiserver {

// Paths like "spec.ports[0].port", in the order met; empty for a text that does not parse.
std::vector<std::string> duplicate_keys(std::string_view json);

}  // namespace fairlead::apiserver
