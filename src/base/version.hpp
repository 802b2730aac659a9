// What our programs call themselves.
#pragma once

#include <string_view>

namespace fairlead {

inline constexpr std::string_view kVersion = "0.1.0";
// The Kubernetes release whose behaviour we follow, as clients expect to read it.
inline constexpr std::string_view kKubernetesMajor = "1", kKubernetesMinor = "36";
inline constexpr std::string_view kKubernetesVersion = "v1.36.0-fairlead.0.1.0";

}  // namespace fairlead
