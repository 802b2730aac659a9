// Label selectors (spec/apiserver 2.7) and field selectors (2.8) as values: parsed once, matched
// many times.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kube/meta.hpp"

namespace fairlead::kube {

struct LabelRequirement {
  enum class Op { Equals, NotEquals, In, NotIn, Exists, NotExists, Greater, Less };
  std::string key;
  Op op = Op::Exists;
  std::vector<std::string> values;  // sorted, unique
  bool operator==(const LabelRequirement&) const = default;
};

class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);  // BadRequest with the offending part
  static LabelSelector match_all(const StringMap& equals);    // a Service's spec.selector
  bool matches(const StringMap& labels) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<LabelRequirement>& requirements() const { return requirements_; }

 private:
  std::vector<LabelRequirement> requirements_;
};

struct FieldTerm {
  std::string field;
  std::string value;
  bool negated = false;
  bool operator==(const FieldTerm&) const = default;
};
// Syntax only; which fields a kind supports is its strategy's business.
Result<std::vector<FieldTerm>> parse_field_selector(std::string_view text);

}  // namespace fairlead::kube
