#include "client/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "io/fd.hpp"

namespace fairlead::client {

namespace {

constexpr std::size_t kLargestFile = 16 * 1024 * 1024;

Result<void> write_all(const io::UniqueFd& fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const auto n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("write {}", path));
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const io::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("read {}", path));
  std::string out;
  std::string piece(16 * 1024, '\0');
  while (true) {
    const auto n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("read {}", path));
    if (n == 0) return out;
    out.append(piece, 0, static_cast<std::size_t>(n));
    if (out.size() > kLargestFile)
      return make_error(ErrorCode::TooLarge, "read {}: larger than 16 MiB", path);
  }
}

Result<void> write_private_file(const std::string& path, std::string_view content) {
  std::error_code ec;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ec);
  if (ec) return errno_error(ec.value(), fmt::format("create {}", folder.string()));
  const auto temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  ::unlink(temporary.c_str());
  const io::UniqueFd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!fd) return errno_error(errno, fmt::format("write {}", path));
  auto written = write_all(fd, content, path);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = errno_error(errno, fmt::format("write {}", path));
  }
  if (!written) ::unlink(temporary.c_str());
  return written;
}

}  // namespace fairlead::client
