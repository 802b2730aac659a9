// The patch algorithms of spec 3.5 as pure functions: the current document and the patch in, the
// patched document out. What a result may contain is the update path's business.
#pragma once

#include <boost/json/value.hpp>
#include <span>
#include <string>
#include <string_view>

#include "apiserver/status.hpp"

namespace fairlead::apiserver {

// RFC 6902. A patch that is no array of operations is BadRequest; a failed test or a missing path
// is 422; more than 10,000 operations 413; copies may not grow the document by more than 3 MiB.
ApiResult<Document> apply_json_patch(const Document& current, const boost::json::value& patch);

// RFC 7386.
ApiResult<Document> apply_merge_patch(const Document& current, const boost::json::value& patch);

// How a list takes part in a strategic merge: by a key of its elements, or as a set of primitives
// (empty key). Lists without a rule are replaced.
struct MergeRule {
  std::string_view kind;  // empty: every kind
  std::string_view path;  // of the list, without indices
  std::string_view key;
  bool is_of(std::string_view any_kind) const { return kind.empty() || kind == any_kind; }
};
// All of them. OpenAPI tells them to clients, which make their patches accordingly.
std::span<const MergeRule> merge_rules();

// Strategic merge: lists of `kind` ("Service") merge by the keys of spec 3.5; directives $patch,
// $setElementOrder, $deleteFromPrimitiveList and $retainKeys are honoured.
ApiResult<Document> apply_strategic_merge_patch(std::string_view kind, const Document& current,
                                                const boost::json::value& patch);

}  // namespace fairlead::apiserver
