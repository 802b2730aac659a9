#include "apiserver/json_pointer.hpp"

#include "base/text.hpp"

namespace fairlead::apiserver {

std::optional<std::vector<std::string>> parse_json_pointer(std::string_view text) {
  std::vector<std::string> tokens;
  if (text.empty()) return tokens;
  if (text.front() != '/') return std::nullopt;
  for (const std::string_view part : split(text.substr(1), '/')) {
    std::string token;
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (part[i] != '~') {
        token += part[i];
        continue;
      }
      if (++i == part.size() || (part[i] != '0' && part[i] != '1')) return std::nullopt;
      token += part[i] == '0' ? '~' : '/';
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::optional<std::size_t> list_index(std::string_view token, std::size_t most) {
  const auto index = parse_uint(token);
  const bool canonical =
      token == "0" || (!token.empty() && token.front() >= '1' && token.front() <= '9');
  if (!index || !canonical || *index > most) return std::nullopt;
  return static_cast<std::size_t>(*index);
}

boost::json::value* resolve(boost::json::value& root, const std::vector<std::string>& tokens) {
  boost::json::value* at = &root;
  for (const std::string& token : tokens) {
    if (auto* object = at->if_object()) {
      at = object->if_contains(token);
    } else if (auto* list = at->if_array()) {
      const auto index = list_index(token, list->size());
      at = index && *index < list->size() ? &(*list)[*index] : nullptr;
    } else {
      at = nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

}  // namespace fairlead::apiserver
