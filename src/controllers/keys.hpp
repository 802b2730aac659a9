// The keys of queues: "namespace/name", or "name" for what lives in no namespace. Pure.
#pragma once

#include <string>

#include "kube/meta.hpp"

namespace fairlead::controllers {

inline kube::NamespacedName key_of(const kube::ObjectMeta& meta) {
  return {.namespace_ = meta.namespace_, .name = meta.name};
}

inline kube::NamespacedName parse_key(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return {.namespace_ = "", .name = text};
  return {.namespace_ = text.substr(0, slash), .name = text.substr(slash + 1)};
}

}  // namespace fairlead::controllers
