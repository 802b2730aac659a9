// A reader of JSON documents that knows where it is: every failure names the path, the first one
// wins. The insides of codec.cpp, whose readers are written with it; nobody else includes this.
#pragma once

#include <simdjson.h>  // the reader is made of it

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace fairlead::kube::decoding {

namespace dom = simdjson::dom;

struct Diagnosis {
  std::optional<Error> error;  // the first one wins
};

// A JSON value and the way to it; lives on the stack of the walk.
class Cursor {
 public:
  Cursor(dom::element value, Diagnosis* diagnosis) : value_(value), diagnosis_(diagnosis) {}
  Cursor(dom::element value, const Cursor* parent, std::string_view key)
      : value_(value), diagnosis_(parent->diagnosis_), parent_(parent), key_(key) {}
  Cursor(dom::element value, const Cursor* parent, std::size_t index)
      : value_(value), diagnosis_(parent->diagnosis_), parent_(parent), index_(index) {}

  bool is_null() const { return value_.is_null(); }
  bool is_string() const { return value_.is_string(); }
  bool failed() const { return diagnosis_->error.has_value(); }

  void fail(std::string_view what) const {
    if (!diagnosis_->error)
      diagnosis_->error = make_error(ErrorCode::Invalid, "{}: {}", path(), what);
  }

  // Of another type than it must be; a scalar's value is shown.
  void fail_as(std::string_view type) const {
    if (value_.is_object() || value_.is_array()) return fail(fmt::format("not {}", type));
    fail(fmt::format("{} is not {}", simdjson::minify(value_), type));
  }

  std::optional<dom::element> object_field(std::string_view key) const {
    dom::object object;
    if (value_.get(object) != simdjson::SUCCESS) {
      fail_as("an object");
      return std::nullopt;
    }
    dom::element found;
    if (object.at_key(key).get(found) != simdjson::SUCCESS || found.is_null()) return std::nullopt;
    return found;
  }

  std::string_view text() const {
    std::string_view out;
    if (value_.get(out) != simdjson::SUCCESS) fail_as("a string");
    return out;
  }

  // As it is written.
  std::string literal() const { return simdjson::minify(value_); }

  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    std::int64_t out = 0;
    if (value_.get(out) != simdjson::SUCCESS) {
      fail_as("an integer");
    } else if (out < low || out > high) {
      fail(fmt::format("{} is not within {} to {}", out, low, high));
      out = 0;
    }
    return out;
  }

  bool boolean() const {
    bool out = false;
    if (value_.get(out) != simdjson::SUCCESS) fail_as("a boolean");
    return out;
  }

  template <class Each>
  void each_item(const Each& each) const {
    dom::array array;
    if (value_.get(array) != simdjson::SUCCESS) {
      fail_as("a list");
      return;
    }
    std::size_t i = 0;
    for (const dom::element item : array) {
      each(Cursor(item, this, i++));
      if (failed()) return;
    }
  }

  template <class Each>
  void each_member(const Each& each) const {
    dom::object object;
    if (value_.get(object) != simdjson::SUCCESS) {
      fail_as("an object");
      return;
    }
    for (const auto [key, member] : object) {
      each(key, Cursor(member, this, key));
      if (failed()) return;
    }
  }

 private:
  std::string path() const {
    if (parent_ == nullptr) return "object";
    std::string before = parent_->parent_ == nullptr ? "" : parent_->path();
    if (index_) return before + fmt::format("[{}]", *index_);
    return before.empty() ? std::string(key_) : before + "." + std::string(key_);
  }

  dom::element value_;
  Diagnosis* diagnosis_;
  const Cursor* parent_ = nullptr;
  std::string_view key_;
  std::optional<std::size_t> index_;
};

}  // namespace fairlead::kube::decoding
