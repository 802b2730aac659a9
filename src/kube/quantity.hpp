// Amounts of CPU as the API writes them: "4", "3920m", "1.5", "2e3", "1Ki" (resource.Quantity).
// Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube {

// Thousandths of a CPU.
struct MilliCpu {
  std::int64_t value = 0;
  auto operator<=>(const MilliCpu&) const = default;
};
// More than any machine has; larger amounts count as this one, so that nobody's sums overflow.
inline constexpr MilliCpu kMostCpu{10'000'000};

// Fractions of a thousandth are rounded up. Invalid: no quantity, or a negative one.
Result<MilliCpu> parse_cpu(std::string_view text);
std::string to_string(MilliCpu cpu);  // "3920m"

}  // namespace fairlead::kube
