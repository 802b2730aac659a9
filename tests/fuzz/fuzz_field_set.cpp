// FieldsV1 from a client ends in a set or an error; a set prints to what parses to it again, and
// obeys the laws of sets.
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <string_view>

#include "apiserver/body.hpp"
#include "apiserver/field_set.hpp"

using namespace fairlead;
using apiserver::FieldSet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto json = apiserver::parse_json({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const auto set = FieldSet::parse(json->value);
  if (!set) return 0;
  const auto again = FieldSet::parse(set->to_json());
  check(again.has_value() && *again == *set, "a printed set is that set");
  check(boost::json::serialize(again->to_json()) == boost::json::serialize(set->to_json()),
        "a set is one text");
  check(set->difference(*set).empty() && set->without_subtrees(*set).empty(),
        "nothing is outside itself");
  check(set->union_with(*set) == *set && set->intersection(*set) == *set, "a set is idempotent");
  const FieldSet containers = set->with_containers();
  check(containers.union_with(*set) == containers, "containers only add");
  for (const apiserver::FieldPath& path : set->paths()) {
    check(set->contains(path), "a set contains its paths");
    check(!apiserver::path_text(path).empty(), "a path has a text");
  }
  return 0;
}
