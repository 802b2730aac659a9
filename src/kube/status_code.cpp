#include "kube/status_code.hpp"

namespace fairlead::kube {

ErrorCode status_error_code(std::string_view reason, std::int64_t http_status) {
  constexpr ErrorCode kByReason[] = {
      ErrorCode::Invalid,   ErrorCode::BadRequest, ErrorCode::Unauthorized,
      ErrorCode::Forbidden, ErrorCode::NotFound,   ErrorCode::AlreadyExists,
      ErrorCode::Conflict,  ErrorCode::Expired,    ErrorCode::Timeout};
  for (const ErrorCode code : kByReason) {
    if (to_string(code) == reason) return code;
  }
  switch (http_status) {
    case 400:
      return ErrorCode::BadRequest;
    case 401:
      return ErrorCode::Unauthorized;
    case 403:
      return ErrorCode::Forbidden;
    case 404:
      return ErrorCode::NotFound;
    case 409:
      return ErrorCode::Conflict;
    case 410:
      return ErrorCode::Expired;
    case 413:
      return ErrorCode::TooLarge;
    case 406:
    case 415:
      return ErrorCode::Unsupported;
    case 422:
      return ErrorCode::Invalid;
    case 429:
      return ErrorCode::Exhausted;
    case 503:
      return ErrorCode::Unavailable;
    case 504:
      return ErrorCode::Timeout;
    default:
      return ErrorCode::Internal;
  }
}

}  // namespace fairlead::kube
