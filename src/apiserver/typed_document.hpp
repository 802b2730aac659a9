// Documents as their kind's schema sees them: which places they have, in what two of them differ,
// how a partial one merges into a whole one. A place is what somebody can own (FieldSet): a member
// of an object, an element of a set or of a list with keys; lists, maps and objects that the schema
// calls atomic are one place, as scalars are. Facts: KEP-555, structured-merge-diff.
//
// Pure. The documents passed Schema::conform. Elements that several of a list share (the addresses
// of a node) are one place, compared and replaced together.
#pragma once

#include <string_view>

#include "apiserver/field_set.hpp"
#include "apiserver/schema.hpp"

namespace fairlead::apiserver {

// Of a configuration to be applied: BadRequest when elements of a list have no keys, or the same.
ApiResult<FieldSet> fields_of(const Schema& schema, const Document& document);

struct Differences {
  FieldSet added, changed, removed;
  bool empty() const { return added.empty() && changed.empty() && removed.empty(); }
};
// New objects and elements are there themselves and with what they hold; metadata, spec and status
// are always there.
Differences differences(const Schema& schema, const Document& before, const Document& after);

// `live` with all of `config`: what both have is as in `config`, elements of `config` are in its
// order, those only `live` has keep their place among them.
Document merged_document(const Schema& schema, const Document& live, const Document& config);

// Objects and lists that become empty are removed too.
Document without_fields(const Schema& schema, Document document, const FieldSet& removed);

}  // namespace fairlead::apiserver
