#include "apiserver/store/store.hpp"

namespace fairlead::apiserver {

StoreTransaction create_key(std::string key, SharedBytes value) {
  return update_key(std::move(key), 0, std::move(value));
}

StoreTransaction update_key(std::string key, Revision expected, SharedBytes value) {
  StoreTransaction out;
  out.compares.push_back({.key = key, .mod_revision = expected});
  out.operations.push_back({.key = std::move(key), .value = std::move(value)});
  return out;
}

StoreTransaction delete_key(std::string key, Revision expected) {
  return update_key(std::move(key), expected, nullptr);
}

std::string prefix_end(std::string_view prefix) {
  check(!prefix.empty() && prefix.back() != '\xff', "a key prefix is text");
  std::string out(prefix);
  out.back() = static_cast<char>(static_cast<unsigned char>(out.back()) + 1);
  return out;
}

}  // namespace fairlead::apiserver
