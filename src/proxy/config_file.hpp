// KubeProxyConfiguration files: reading (YAML or JSON) and writing. yaml-cpp stays inside.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/config.hpp"

namespace fairlead::proxy {

struct ConfigFile {
  Config config;
  // What a strict reader refuses and a lenient one skips (unknown and duplicate fields): to be
  // logged, as kube-proxy does before it goes on.
  std::vector<std::string> complaints;
};

// Zero values become defaults as kube-proxy has them; nothing is validated. Errors name the field
// and the value.
Result<ConfigFile> decode_config(std::string_view text);
Result<ConfigFile> read_config_file(const std::string& path);

std::string encode_config(const Config& config);  // YAML, every field
Result<void> write_config_file(const std::string& path, const Config& config);

}  // namespace fairlead::proxy
