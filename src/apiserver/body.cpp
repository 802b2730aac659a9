#include "apiserver/body.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/stream_parser.hpp>
#include <cmath>

#include "apiserver/duplicate_keys.hpp"
#include "base/text.hpp"
#include "kube/codec.hpp"
#include "kube/protobuf.hpp"

namespace fairlead::apiserver {
namespace {

ApiResult<DecodedBody> parse_yaml(const std::string& body) {
  auto documents = kube::manifest_documents(body);
  if (!documents)
    return bad_request(fmt::format("error converting YAML to JSON: {}", documents.error()));
  if (documents->size() != 1) {
    return bad_request(
        fmt::format("the body must be one YAML document, not {}", documents->size()));
  }
  return parse_json(documents->front());
}

ApiResult<DecodedBody> parse_protobuf(const std::string& body, const kube::KindName& expected) {
  auto object = kube::protobuf_to_object(body, expected);
  if (!object) return bad_request(object.error().message);
  return DecodedBody{.value = *std::move(object), .duplicate_fields = {}};
}

}  // namespace

bool has_infinite_number(const boost::json::value& value) {
  if (const auto* number = value.if_double()) return !std::isfinite(*number);
  if (const auto* list = value.if_array()) return std::ranges::any_of(*list, has_infinite_number);
  const auto* object = value.if_object();
  return object != nullptr && std::ranges::any_of(*object, [](const auto& member) {
           return has_infinite_number(member.value());
         });
}

std::string media_type(std::string_view content_type) {
  return to_lower_ascii(trim(content_type.substr(0, content_type.find(';'))));
}

ApiResult<DecodedBody> parse_json(std::string_view text) {
  boost::json::stream_parser parser({}, {.max_depth = kMaxJsonDepth});
  boost::json::error_code failed;
  const std::size_t read = parser.write_some(text.data(), text.size(), failed);
  if (!failed) parser.finish(failed);
  if (!failed && !trim(text.substr(read)).empty()) failed = boost::json::error::extra_data;
  if (failed)
    return bad_request(
        fmt::format("the body is not valid JSON: {} at byte {}", failed.message(), read));
  boost::json::value value = parser.release();
  if (has_infinite_number(value))
    return bad_request("the body is not valid JSON: a number is out of range");
  return DecodedBody{.value = std::move(value), .duplicate_fields = duplicate_keys(text)};
}

ApiResult<DecodedBody> decode_body(std::string_view content_type, const std::string& body,
                                   const kube::KindName& expected) {
  const std::string type = media_type(content_type);
  if (type.empty() || type == "application/json") return parse_json(body);
  if (type == "application/yaml") return parse_yaml(body);
  if (type == kube::kProtobufMediaType) return parse_protobuf(body, expected);
  return unsupported_media_type(
      "application/json, application/yaml, application/vnd.kubernetes.protobuf");
}

ApiResult<Document> decode_object_body(std::string_view content_type, const std::string& body,
                                       const kube::KindName& expected) {
  FAIRLEAD_TRY(decoded, decode_body(content_type, body, expected));
  if (!decoded.value.is_object()) return bad_request("the body must be an object");
  return std::move(decoded.value.get_object());
}

}  // namespace fairlead::apiserver
