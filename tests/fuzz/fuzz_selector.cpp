// A selector's text ends in requirements or an error; requirements have sorted, distinct values
// exactly when their operator compares.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>

#include "kube/selector.hpp"

using namespace fairlead;
using kube::LabelRequirement;

namespace {

void look_at(const LabelRequirement& r) {
  check(!r.key.empty(), "a requirement has a key");
  check(std::ranges::adjacent_find(r.values, std::greater_equal<>()) == r.values.end(),
        "values are sorted and distinct");
  const bool wants_values =
      r.op != LabelRequirement::Op::Exists && r.op != LabelRequirement::Op::NotExists;
  check(wants_values != r.values.empty(), "only operators that compare have values");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto selector = kube::LabelSelector::parse(text)) {
    kube::StringMap labels;
    for (const LabelRequirement& r : selector->requirements()) {
      look_at(r);
      if (!r.values.empty()) labels[r.key] = r.values.front();
    }
    static_cast<void>(selector->matches(labels));
    check(selector->empty() == selector->requirements().empty(), "empty means no requirement");
  }
  static_cast<void>(kube::parse_field_selector(text));
  return 0;
}
