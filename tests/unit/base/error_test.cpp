#include "base/error.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace fairlead {
namespace {

TEST(Error, CodeOfAnErrnoIsWhatACallerWouldDoAboutIt) {
  const struct {
    int err;
    ErrorCode code;
  } rows[] = {
      {EPERM, ErrorCode::Forbidden},        {EACCES, ErrorCode::Forbidden},
      {ENOENT, ErrorCode::NotFound},        {EEXIST, ErrorCode::AlreadyExists},
      {EOPNOTSUPP, ErrorCode::Unsupported}, {ENOBUFS, ErrorCode::Exhausted},
      {ENOSPC, ErrorCode::Exhausted},       {EMFILE, ErrorCode::Exhausted},
      {ETIMEDOUT, ErrorCode::Timeout},      {ECONNREFUSED, ErrorCode::Unavailable},
      {EAGAIN, ErrorCode::Unavailable},     {ECANCELED, ErrorCode::Cancelled},
      {EINVAL, ErrorCode::Invalid},         {EIO, ErrorCode::Internal},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(errno_error(row.err, "open").code, row.code) << row.err;
  }
  EXPECT_EQ(errno_error(ENOENT, "open /x"), (Error{.code = ErrorCode::NotFound,
                                                   .message = "open /x: No such file or directory",
                                                   .sys_errno = ENOENT}));
}

TEST(Error, ContextGoesInFrontAndTheRestStays) {
  EXPECT_EQ(errno_error(EPERM, "socket").with_context("proxy").with_context("start"),
            (Error{.code = ErrorCode::Forbidden,
                   .message = "start: proxy: socket: Operation not permitted",
                   .sys_errno = EPERM}));
  EXPECT_EQ(fmt::format("<{}>", make_error(ErrorCode::Invalid, "port {}", 0)), "<port 0>");
}

TEST(Error, IsOneLineWhateverItQuotes) {
  EXPECT_EQ(make_error(ErrorCode::Invalid, "unknown field \"{}\"", "a\nb\tc\r\x7f").message,
            "unknown field \"a\\nb\\tc\\x0d\\x7f\"");
  EXPECT_EQ(one_line("größer als 1"), "größer als 1");
  EXPECT_EQ(errno_error(ENOENT, "open /x\ny").message, "open /x\\ny: No such file or directory");
  EXPECT_EQ(make_error(ErrorCode::Invalid, "no").with_context("read /x\ny").message,
            "read /x\\ny: no");
}

Result<int> half(int n) {
  if (n % 2 != 0) return make_error(ErrorCode::Invalid, "{} is odd", n);
  return n / 2;
}
Result<std::unique_ptr<int>> quarter(int n) {
  FAIRLEAD_TRY(once, half(n));
  FAIRLEAD_TRY(twice, half(once));
  return std::make_unique<int>(twice);
}
Result<void> needs_multiple_of_four(int n) {
  FAIRLEAD_CHECK(quarter(n));
  return {};
}

TEST(Result, TryTakesTheValueOrReturnsTheError) {
  EXPECT_EQ(*quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error(), make_error(ErrorCode::Invalid, "3 is odd"));
  EXPECT_EQ(quarter(5).error(), make_error(ErrorCode::Invalid, "5 is odd"));
  EXPECT_TRUE(needs_multiple_of_four(8));
  EXPECT_EQ(needs_multiple_of_four(7).error(), make_error(ErrorCode::Invalid, "7 is odd"));
}

TEST(CheckDeathTest, ABrokenInvariantSaysWhereAndWhat) {
  check(true, "never printed");
  EXPECT_DEATH(check(false, "the list is sorted"),
               "error_test.cpp:[0-9]+: broken invariant in .*: the list is sorted");
}

}  // namespace
}  // namespace fairlead
