#include "apiserver/status.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>

namespace fairlead::apiserver {
namespace {

struct TypeText {
  std::string_view reason, text;
  bool shows_value;
};

TypeText text_of(FieldErrorType type) {
  switch (type) {
    case FieldErrorType::Required:
      return {"FieldValueRequired", "Required value", false};
    case FieldErrorType::Invalid:
      return {"FieldValueInvalid", "Invalid value", true};
    case FieldErrorType::NotSupported:
      return {"FieldValueNotSupported", "Unsupported value", true};
    case FieldErrorType::Forbidden:
      return {"FieldValueForbidden", "Forbidden", false};
    case FieldErrorType::Duplicate:
      return {"FieldValueDuplicate", "Duplicate value", true};
    case FieldErrorType::TooLong:
      return {"FieldValueTooLong", "Too long", false};
    case FieldErrorType::TooMany:
      return {"FieldValueTooMany", "Too many", true};
    case FieldErrorType::NotFound:
      return {"FieldValueNotFound", "Not found", true};
    case FieldErrorType::Internal:
      return {"InternalError", "Internal error", false};
  }
  return {"InternalError", "Internal error", false};
}

std::string qualified(Qualified what) {
  return what.group.empty() ? std::string(what.resource)
                            : fmt::format("{}.{}", what.resource, what.group);
}

StatusError about(unsigned code, std::string_view reason, Qualified what, std::string_view name,
                  std::string message) {
  return StatusError{.code = code,
                     .reason = std::string(reason),
                     .message = std::move(message),
                     .name = std::string(name),
                     .group = std::string(what.group),
                     .kind = std::string(what.resource),
                     .uid = {},
                     .causes = {},
                     .retry_after_seconds = 0,
                     .continue_token = {}};
}

StatusError plain(unsigned code, std::string_view reason, std::string message) {
  return about(code, reason, {}, {}, std::move(message));
}

}  // namespace

std::string FieldError::body() const {
  const auto [reason, text, shows_value] = text_of(type);
  std::string out(text);
  if (shows_value) {
    out += ": ";
    out += boost::json::serialize(bad_value);
  }
  if (!detail.empty()) {
    out += ": ";
    out += detail;
  }
  return out;
}

std::string FieldError::to_string() const { return fmt::format("{}: {}", field, body()); }

boost::json::value text_value(std::string_view text) { return boost::json::string(text); }

FieldError required(std::string field, std::string detail) {
  return {.type = FieldErrorType::Required,
          .field = std::move(field),
          .bad_value = {},
          .detail = std::move(detail)};
}

FieldError invalid(std::string field, boost::json::value bad_value, std::string detail) {
  return {.type = FieldErrorType::Invalid,
          .field = std::move(field),
          .bad_value = std::move(bad_value),
          .detail = std::move(detail)};
}

FieldError not_supported(std::string field, boost::json::value bad_value,
                         const std::vector<std::string_view>& supported) {
  std::string detail;
  for (const auto value : supported) {
    detail += fmt::format("{}\"{}\"", detail.empty() ? "supported values: " : ", ", value);
  }
  return {.type = FieldErrorType::NotSupported,
          .field = std::move(field),
          .bad_value = std::move(bad_value),
          .detail = std::move(detail)};
}

FieldError forbidden(std::string field, std::string detail) {
  return {.type = FieldErrorType::Forbidden,
          .field = std::move(field),
          .bad_value = {},
          .detail = std::move(detail)};
}

FieldError duplicate(std::string field, boost::json::value bad_value) {
  return {.type = FieldErrorType::Duplicate,
          .field = std::move(field),
          .bad_value = std::move(bad_value),
          .detail = {}};
}

FieldError too_long(std::string field, std::size_t most_bytes) {
  return {.type = FieldErrorType::TooLong,
          .field = std::move(field),
          .bad_value = {},
          .detail = fmt::format("may not be more than {} bytes", most_bytes)};
}

FieldError too_many(std::string field, std::size_t actual, std::size_t most) {
  return {.type = FieldErrorType::TooMany,
          .field = std::move(field),
          .bad_value = actual,
          .detail = fmt::format("must have at most {} item{}", most, most == 1 ? "" : "s")};
}

std::string indexed(std::string_view list, std::size_t i) { return fmt::format("{}[{}]", list, i); }

void append(FieldErrors& to, FieldErrors more) { std::ranges::move(more, std::back_inserter(to)); }

Document StatusError::to_json() const {
  Document metadata;
  if (!continue_token.empty()) metadata["continue"] = continue_token;
  Document details;
  if (!name.empty()) details["name"] = name;
  if (!group.empty()) details["group"] = group;
  if (!kind.empty()) details["kind"] = kind;
  if (!uid.empty()) details["uid"] = uid;
  if (!causes.empty()) {
    boost::json::array list;
    for (const StatusCause& cause : causes) {
      Document entry;
      if (!cause.reason.empty()) entry["reason"] = cause.reason;
      if (!cause.message.empty()) entry["message"] = cause.message;
      if (!cause.field.empty()) entry["field"] = cause.field;
      list.emplace_back(std::move(entry));
    }
    details["causes"] = std::move(list);
  }
  if (retry_after_seconds > 0) details["retryAfterSeconds"] = retry_after_seconds;

  Document out{{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", std::move(metadata)},
               {"status", "Failure"}, {"message", message}, {"reason", reason}};
  if (!details.empty() || code == 404) out["details"] = std::move(details);
  out["code"] = code;
  return out;
}

StatusError bad_request(std::string message) {
  return plain(400, "BadRequest", std::move(message));
}

StatusError unauthorized() { return plain(401, "Unauthorized", "Unauthorized"); }

StatusError forbidden_status(Qualified resource, std::string_view name, std::string why) {
  const std::string quoted = name.empty() ? std::string() : fmt::format(" \"{}\"", name);
  return about(403, "Forbidden", resource, name,
               fmt::format("{}{} is forbidden: {}", qualified(resource), quoted, why));
}

StatusError not_found(Qualified resource, std::string_view name) {
  return about(404, "NotFound", resource, name,
               fmt::format("{} \"{}\" not found", qualified(resource), name));
}

StatusError path_not_found() {
  return plain(404, "NotFound", "the server could not find the requested resource");
}

StatusError method_not_allowed() {
  return plain(405, "MethodNotAllowed",
               "the server does not allow this method on the requested resource");
}

StatusError not_acceptable(std::string_view offered) {
  return plain(406, "NotAcceptable",
               fmt::format("only the following media types are accepted: {}", offered));
}

StatusError already_exists(Qualified resource, std::string_view name, bool being_deleted) {
  return about(
      409, "AlreadyExists", resource, name,
      fmt::format("{}{} \"{}\" already exists", being_deleted ? "object is being deleted: " : "",
                  qualified(resource), name));
}

StatusError conflict(Qualified resource, std::string_view name, std::string why) {
  return about(409, "Conflict", resource, name,
               fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", qualified(resource),
                           name, why));
}

StatusError modified_conflict(Qualified resource, std::string_view name) {
  return conflict(resource, name,
                  "the object has been modified; please apply your changes to the latest version "
                  "and try again");
}

StatusError expired(std::string message) { return plain(410, "Expired", std::move(message)); }

StatusError too_large(std::size_t limit) {
  return plain(413, "RequestEntityTooLarge",
               fmt::format("Request entity too large: limit is {}", limit));
}

StatusError unsupported_media_type(std::string_view accepted) {
  return plain(
      415, "UnsupportedMediaType",
      fmt::format(
          "the body of the request was in an unknown format - accepted media types include: {}",
          accepted));
}

StatusError invalid_status(Qualified kind, std::string_view name, const FieldErrors& errors) {
  check(!errors.empty(), "an Invalid status has at least one cause");
  std::string text;
  std::vector<StatusCause> causes;
  for (const FieldError& error : errors) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", error.to_string());
    causes.push_back({.reason = std::string(text_of(error.type).reason),
                      .message = error.body(),
                      .field = error.field});
  }
  if (errors.size() > 1) text = fmt::format("[{}]", text);
  StatusError out = about(422, "Invalid", kind, name,
                          fmt::format("{} \"{}\" is invalid: {}", qualified(kind), name, text));
  out.causes = std::move(causes);
  return out;
}

StatusError unprocessable(std::string message) { return plain(422, "Invalid", std::move(message)); }

StatusError too_many_requests(std::string message, int retry_after_seconds) {
  StatusError out = plain(429, "TooManyRequests", std::move(message));
  out.retry_after_seconds = retry_after_seconds;
  return out;
}

StatusError internal_error(std::string_view why) {
  StatusError out = plain(500, "InternalError", fmt::format("Internal error occurred: {}", why));
  out.causes.push_back({.reason = {}, .message = std::string(why), .field = {}});
  return out;
}

StatusError storage_read_error(Qualified resource, std::string_view name, std::string_view why) {
  StatusError out = about(500, "StorageReadError", resource, name,
                          fmt::format("Internal error occurred: {} \"{}\" cannot be read: {}",
                                      qualified(resource), name, why));
  out.causes.push_back({.reason = {}, .message = std::string(why), .field = {}});
  return out;
}

StatusError unavailable(std::string_view why) {
  return plain(503, "ServiceUnavailable",
               fmt::format("the server is currently unable to handle the request: {}", why));
}

StatusError timeout_status(std::string message, int retry_after_seconds) {
  StatusError out = plain(504, "Timeout", fmt::format("Timeout: {}", message));
  out.retry_after_seconds = retry_after_seconds;
  return out;
}

StatusError too_large_resource_version(std::uint64_t asked, std::uint64_t current) {
  StatusError out =
      timeout_status(fmt::format("Too large resource version: {}, current: {}", asked, current), 1);
  out.causes.push_back(
      {.reason = "ResourceVersionTooLarge", .message = "Too large resource version", .field = {}});
  return out;
}

StatusError to_status(const Error& error) {
  switch (error.code) {
    case ErrorCode::BadRequest:
      return bad_request(error.message);
    case ErrorCode::Invalid:
      return unprocessable(error.message);
    case ErrorCode::Unauthorized:
      return unauthorized();
    case ErrorCode::Expired:
      return expired(error.message);
    case ErrorCode::TooLarge:
      return plain(413, "RequestEntityTooLarge", error.message);
    case ErrorCode::Unsupported:
      return plain(415, "UnsupportedMediaType", error.message);
    case ErrorCode::Timeout:
      return timeout_status(error.message);
    case ErrorCode::Unavailable:
    case ErrorCode::Cancelled:
      return unavailable(error.message);
    case ErrorCode::Forbidden:  // of the machine, not of the client: a file we may not read
    case ErrorCode::NotFound:
    case ErrorCode::AlreadyExists:
    case ErrorCode::Conflict:
    case ErrorCode::Exhausted:
    case ErrorCode::Internal:
      return internal_error(error.message);
  }
  return internal_error(error.message);
}

Document success_status(Qualified resource, std::string_view name, std::string_view uid) {
  Document details{{"name", name}};
  if (!resource.group.empty()) details["group"] = resource.group;
  details["kind"] = resource.resource;
  if (!uid.empty()) details["uid"] = uid;
  return {{"kind", "Status"},
          {"apiVersion", "v1"},
          {"metadata", Document{}},
          {"status", "Success"},
          {"details", std::move(details)}};
}

}  // namespace fairlead::apiserver
