// Errors as values. Error is copyable and printable; Result<T> is what every fallible function
// returns. Nothing here throws, logs or allocates beyond its strings. Libraries return errors, the
// edge logs them once.
#pragma once

#include <fmt/format.h>

#include <source_location>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace fairlead {

// A small closed set. Each code maps onto one Kubernetes Status reason and HTTP code (see
// status_of()).
enum class ErrorCode {
  Invalid,        // 422 Invalid: the value is well-formed but not allowed
  BadRequest,     // 400 BadRequest: could not be parsed
  Unauthorized,   // 401
  Forbidden,      // 403; also EPERM/EACCES
  NotFound,       // 404
  AlreadyExists,  // 409 AlreadyExists; also EEXIST, EADDRINUSE
  Conflict,       // 409 Conflict: the compare of a compare-and-swap failed
  Expired,        // 410: the asked-for revision is compacted
  TooLarge,       // 413
  Unsupported,    // 415 / 406, or a kernel that lacks a feature
  Exhausted,      // 429, a full range, ENOBUFS, ENOSPC
  Timeout,        // 504, a passed deadline
  Unavailable,    // 503, connection refused, EAGAIN: worth retrying
  Cancelled,      // the caller went away or we are shutting down
  Internal,       // 500: the rest
};

std::string_view to_string(ErrorCode code);

// Control characters as "\n", "\t" or "\x01": what is quoted in a message may come from anybody.
std::string one_line(std::string text);

struct Error {
  ErrorCode code = ErrorCode::Internal;
  std::string message;  // one line, no trailing full stop; starts with what was tried
  int sys_errno = 0;    // the errno or netlink error behind it, 0 if none

  // Adds context in front: "read kubeconfig /x: no such file".
  [[nodiscard]] Error with_context(std::string_view context) const {
    return Error{.code = code,
                 .message = one_line(fmt::format("{}: {}", context, message)),
                 .sys_errno = sys_errno};
  }
  bool operator==(const Error&) const = default;
};

// An Error from an errno value; the code is derived from it (EPERM -> Forbidden, ENOENT ->
// NotFound, ...).
Error errno_error(int err, std::string_view what);

template <class... Args>
[[nodiscard]] Error make_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{.code = code, .message = one_line(fmt::format(format, std::forward<Args>(args)...))};
}

// Either a T or an Error. A thin [[nodiscard]] face over tl::expected so that no caller can drop a
// failure.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  using Base::Base;
  // NOLINTNEXTLINE(google-explicit-constructor): `return make_error(...)` is the point of the class
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}
};

template <>
class [[nodiscard]] Result<void> : public tl::expected<void, Error> {
  using Base = tl::expected<void, Error>;

 public:
  using Base::Base;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as above
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}
};

// A broken invariant: prints where and what, then aborts. Never for bad input or a bad environment.
[[noreturn]] void invariant_failed(std::string_view what,
                                   std::source_location where = std::source_location::current());
inline void check(bool holds, std::string_view what,
                  std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]] {
    invariant_failed(what, where);
  }
}

}  // namespace fairlead

template <>
struct fmt::formatter<fairlead::Error> : fmt::formatter<std::string_view> {
  auto format(const fairlead::Error& error, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(error.message, ctx);
  }
};

// Early return of a failed Result: FAIRLEAD_TRY(x, f()) declares x; FAIRLEAD_CHECK(f()) only
// checks. The CO_ forms are for coroutines.
#define FAIRLEAD_CONCAT_INNER(a, b) a##b
#define FAIRLEAD_CONCAT(a, b) FAIRLEAD_CONCAT_INNER(a, b)
#define FAIRLEAD_TRY_IMPL(tmp, var, expr, ret) \
  auto tmp = (expr);                           \
  if (!tmp) [[unlikely]] {                     \
    ret std::move(tmp).error();                \
  }                                            \
  auto var = *std::move(tmp)
#define FAIRLEAD_TRY(var, expr) \
  FAIRLEAD_TRY_IMPL(FAIRLEAD_CONCAT(result_, __LINE__), var, expr, return)
#define FAIRLEAD_CO_TRY(var, expr) \
  FAIRLEAD_TRY_IMPL(FAIRLEAD_CONCAT(result_, __LINE__), var, expr, co_return)
#define FAIRLEAD_CHECK(expr)                        \
  if (auto result = (expr); !result) [[unlikely]] { \
    return std::move(result).error();               \
  }
#define FAIRLEAD_CO_CHECK(expr)                     \
  if (auto result = (expr); !result) [[unlikely]] { \
    co_return std::move(result).error();            \
  }
