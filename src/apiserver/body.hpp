// Request bodies as JSON documents, whatever they were sent as: JSON, YAML or Kubernetes protobuf.
// Pure.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/status.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {

inline constexpr std::size_t kMaxBodyBytes = 3 * 1024 * 1024;
// Containers in containers, of what is sent and of what is stored.
inline constexpr std::size_t kMaxJsonDepth = 128;

struct DecodedBody {
  boost::json::value value;
  std::vector<std::string>
      duplicate_fields;  // paths of JSON keys given twice (the last one counts); JSON only
};

// `content_type` may be empty (JSON) and may carry parameters. 415 for other types, 400 for
// malformed text. `expected` is what a protobuf body that names no kind is taken for.
ApiResult<DecodedBody> decode_body(std::string_view content_type, const std::string& body,
                                   const kube::KindName& expected = {});
// The same for what must be an object.
ApiResult<Document> decode_object_body(std::string_view content_type, const std::string& body,
                                       const kube::KindName& expected = {});

// The type without parameters, in lower case.
std::string media_type(std::string_view content_type);

// Boost.JSON reads a number too large for a double as infinite, and writes that as what is no JSON.
bool has_infinite_number(const boost::json::value& value);

// A JSON text with exact integers, bounded depth and a message that names the place of an error.
ApiResult<DecodedBody> parse_json(std::string_view text);

}  // namespace fairlead::apiserver
