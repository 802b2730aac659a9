// Failures of API requests as values: StatusError is what becomes a metav1.Status body, FieldError
// one broken rule of an object. Pure; wording follows kube-apiserver because people grep for it
// (spec 3.8).
//
// ApiResult<T> is used wherever the failure is the client's business; fairlead::Result stays for
// the server's own troubles, and internal_error() turns the latter into the former.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace fairlead::apiserver {

// An object as the server keeps it: every field the client sent and the kind allows, in the
// client's order.
using Document = boost::json::object;

enum class FieldErrorType {
  Required,      // FieldValueRequired     "Required value[: detail]"
  Invalid,       // FieldValueInvalid      "Invalid value: <v>[: detail]"
  NotSupported,  // FieldValueNotSupported "Unsupported value: <v>: supported values: "A", "B""
  Forbidden,     // FieldValueForbidden    "Forbidden: detail"
  Duplicate,     // FieldValueDuplicate    "Duplicate value: <v>"
  TooLong,       // FieldValueTooLong      "Too long: detail"
  TooMany,       // FieldValueTooMany      "Too many: <v>: detail"
  NotFound,      // FieldValueNotFound     "Not found: <v>"
  Internal,      // InternalError          "Internal error: detail"
};

// One violated rule. `field` is the path as users write it: "spec.ports[0].nodePort".
struct FieldError {
  FieldErrorType type = FieldErrorType::Invalid;
  std::string field;
  boost::json::value bad_value;  // shown for Invalid, NotSupported, Duplicate, TooMany, NotFound
  std::string detail;

  std::string body() const;       // without the field
  std::string to_string() const;  // "<field>: <body>"
  bool operator==(const FieldError&) const = default;
};
using FieldErrors = std::vector<FieldError>;

boost::json::value text_value(std::string_view text);
FieldError required(std::string field, std::string detail = {});
FieldError invalid(std::string field, boost::json::value bad_value, std::string detail);
FieldError not_supported(std::string field, boost::json::value bad_value,
                         const std::vector<std::string_view>& supported);
FieldError forbidden(std::string field, std::string detail);
FieldError duplicate(std::string field, boost::json::value bad_value);
FieldError too_long(std::string field, std::size_t most_bytes);
// The same for any text: Boost.JSON 1.81 does not make values of std::string_view.
template <class Text>
concept TextLike = std::convertible_to<const Text&, std::string_view>;
template <TextLike Text>
FieldError invalid(std::string field, const Text& text, std::string detail) {
  return invalid(std::move(field), text_value(text), std::move(detail));
}
template <TextLike Text>
FieldError not_supported(std::string field, const Text& text,
                         const std::vector<std::string_view>& supported) {
  return not_supported(std::move(field), text_value(text), supported);
}
template <TextLike Text>
FieldError duplicate(std::string field, const Text& text) {
  return duplicate(std::move(field), text_value(text));
}
FieldError too_many(std::string field, std::size_t actual, std::size_t most);
std::string indexed(std::string_view list, std::size_t i);  // "spec.ports[2]"
void append(FieldErrors& to, FieldErrors more);

struct StatusCause {
  std::string reason, message, field;
  bool operator==(const StatusCause&) const = default;
};

struct StatusError {
  unsigned code = 500;
  std::string reason = "InternalError";
  std::string message;
  // details; all empty means `"details":{}` for a 404 of a path and no details otherwise
  std::string name, group, kind, uid;
  std::vector<StatusCause> causes;
  int retry_after_seconds = 0;  // > 0 also becomes the Retry-After header
  std::string continue_token;   // metadata.continue of a 410 on a continued list

  Document to_json() const;  // {"kind":"Status","apiVersion":"v1",...}
  bool operator==(const StatusError&) const = default;
};

template <class T>
class [[nodiscard]] ApiResult : public tl::expected<T, StatusError> {
  using Base = tl::expected<T, StatusError>;

 public:
  using Base::Base;
  // NOLINTNEXTLINE(google-explicit-constructor): `return not_found(...)` is the point of the class
  ApiResult(StatusError error) : Base(tl::unexpect, std::move(error)) {}
};
template <>
class [[nodiscard]] ApiResult<void> : public tl::expected<void, StatusError> {
  using Base = tl::expected<void, StatusError>;

 public:
  using Base::Base;
  ApiResult() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as above
  ApiResult(StatusError error) : Base(tl::unexpect, std::move(error)) {}
};

// What an error speaks about. `resource` is the plural ("services"); Invalid wants the Kind
// instead.
struct Qualified {
  std::string_view group;     // "" for core
  std::string_view resource;  // or kind, see each constructor
};

StatusError bad_request(std::string message);  // 400
StatusError unauthorized();                    // 401
StatusError forbidden_status(Qualified resource, std::string_view name,
                             std::string why);  // 403 `<res> "<name>" is forbidden: why`
StatusError not_found(Qualified resource, std::string_view name);  // 404 of an object
StatusError path_not_found();                                      // 404 of a path
StatusError method_not_allowed();                                  // 405
StatusError not_acceptable(std::string_view offered);              // 406
StatusError already_exists(Qualified resource, std::string_view name,
                           bool being_deleted = false);                            // 409
StatusError conflict(Qualified resource, std::string_view name, std::string why);  // 409
StatusError modified_conflict(Qualified resource,
                              std::string_view name);  // 409, the usual stale resourceVersion
StatusError expired(std::string message);              // 410
StatusError too_large(std::size_t limit);              // 413
StatusError unsupported_media_type(std::string_view accepted);  // 415
StatusError invalid_status(Qualified kind, std::string_view name,
                           const FieldErrors& errors);  // 422; not empty
StatusError unprocessable(
    std::string message);  // 422 "the server rejected our request due to an error…"
StatusError too_many_requests(std::string message, int retry_after_seconds);  // 429
StatusError internal_error(std::string_view why);                             // 500
// 500 of an object whose stored bytes are none.
StatusError storage_read_error(Qualified resource, std::string_view name, std::string_view why);
StatusError unavailable(std::string_view why);                                       // 503
StatusError timeout_status(std::string message, int retry_after_seconds = 0);        // 504
StatusError too_large_resource_version(std::uint64_t asked, std::uint64_t current);  // 504

// A failure of the store or the machine as the client sees it.
StatusError to_status(const Error& error);

// {"kind":"Status",...,"status":"Success","details":{...}}: the answer to some deletions.
Document success_status(Qualified resource, std::string_view name, std::string_view uid);

}  // namespace fairlead::apiserver
