// What a metav1.Status means to us; pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube {

// The reason is finer than the code; an unknown reason falls back to the code.
ErrorCode status_error_code(std::string_view reason, std::int64_t http_status);

}  // namespace fairlead::kube
