#include "base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fairlead {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::Invalid:
      return "Invalid";
    case ErrorCode::BadRequest:
      return "BadRequest";
    case ErrorCode::Unauthorized:
      return "Unauthorized";
    case ErrorCode::Forbidden:
      return "Forbidden";
    case ErrorCode::NotFound:
      return "NotFound";
    case ErrorCode::AlreadyExists:
      return "AlreadyExists";
    case ErrorCode::Conflict:
      return "Conflict";
    case ErrorCode::Expired:
      return "Expired";
    case ErrorCode::TooLarge:
      return "TooLarge";
    case ErrorCode::Unsupported:
      return "Unsupported";
    case ErrorCode::Exhausted:
      return "Exhausted";
    case ErrorCode::Timeout:
      return "Timeout";
    case ErrorCode::Unavailable:
      return "Unavailable";
    case ErrorCode::Cancelled:
      return "Cancelled";
    case ErrorCode::Internal:
      return "Internal";
  }
  return "Internal";
}

namespace {
ErrorCode code_of_errno(int err) {
  switch (err) {
    case EPERM:
    case EACCES:
      return ErrorCode::Forbidden;
    case ENOENT:
    case ESRCH:
      return ErrorCode::NotFound;
    case EEXIST:
    case EADDRINUSE:
      return ErrorCode::AlreadyExists;
    case EOPNOTSUPP:
    case ENOSYS:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
      return ErrorCode::Unsupported;
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
      return ErrorCode::Exhausted;
    case ETIMEDOUT:
      return ErrorCode::Timeout;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
    case EAGAIN:
      return ErrorCode::Unavailable;
    case ECANCELED:
      return ErrorCode::Cancelled;
    case EINVAL:
      return ErrorCode::Invalid;
    default:
      return ErrorCode::Internal;
  }
}
}  // namespace

std::string one_line(std::string text) {
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  if (std::ranges::none_of(text, is_control)) return text;
  std::string out;
  for (const char c : text) {
    if (!is_control(c)) {
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    }
  }
  return out;
}

Error errno_error(int err, std::string_view what) {
  char buffer[128];
  const char* text = strerror_r(err, buffer, sizeof buffer);  // the GNU form returns the text
  return Error{.code = code_of_errno(err),
               .message = one_line(fmt::format("{}: {}", what, text)),
               .sys_errno = err};
}

void invariant_failed(std::string_view what, std::source_location where) {
  fmt::print(stderr, "{}:{}: broken invariant in {}: {}\n", where.file_name(), where.line(),
             where.function_name(), what);
  std::abort();
}

}  // namespace fairlead
