// Matchers for Result<T>: the whole value it holds, or the whole error.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "base/error.hpp"

namespace fairlead {

MATCHER_P(Holds, value, "holds the value") {
  if (arg.has_value()) return *arg == value;
  *result_listener << "error: " << arg.error().message;
  return false;
}

MATCHER_P2(FailsWith, code, message,
           fmt::format("is the {} error \"{}\"", fairlead::to_string(code), message)) {
  if (arg.has_value()) {
    *result_listener << "holds a value";
    return false;
  }
  *result_listener << to_string(arg.error().code) << " error: " << arg.error().message;
  return arg.error().code == code && arg.error().message == message;
}

}  // namespace fairlead
