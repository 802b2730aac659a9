// Small files read and written whole; internal to client/.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::client {

Result<std::string> read_file(const std::string& path);  // at most 16 MiB
// Through a temporary file beside it and a rename, so that readers see the old or the new content.
// Mode 0600.
Result<void> write_private_file(const std::string& path, std::string_view content);

}  // namespace fairlead::client
