// What every fuzz target does with its bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace fairlead::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The first byte, and the rest behind it: what chooses among the ways into a decoder.
struct Choice {
  unsigned number = 0;
  std::string_view rest;
};
inline Choice choice_of(std::string_view text) {
  if (text.empty()) return {};
  return {.number = static_cast<unsigned char>(text.front()), .rest = text.substr(1)};
}

}  // namespace fairlead::fuzz
