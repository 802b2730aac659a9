#include "lab/state_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/text.hpp"

namespace fairlead::lab {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string runtime_folder() {
  const std::string own = environment("XDG_RUNTIME_DIR");
  return (::geteuid() == 0 || own.empty() ? "/run" : own) + "/fairlead";
}

Result<void> make_folders(const std::string& path) {
  std::error_code ec;
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, ec);
  if (ec) return errno_error(ec.value(), fmt::format("make folder {}", parent.string()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return errno_error(errno, fmt::format("make state folder {}", path));
  return {};
}

// Everything but the lock itself.
void remove_contents(const StatePaths& paths) {
  std::error_code ignored;
  for (const std::string& path : {paths.pid(), paths.socket(), paths.kubeconfig(),
                                  paths.node_kubeconfig(), paths.supervisor_log(), paths.logs()})
    std::filesystem::remove_all(path, ignored);
}

}  // namespace

std::string choose_state_folder(const std::string& flag) {
  if (!flag.empty()) return std::filesystem::absolute(flag).string();
  if (const std::string chosen = environment("FAIRLEAD_LAB"); !chosen.empty()) return chosen;
  return runtime_folder() + "/lab";
}

Result<std::string> make_temporary_state_folder() {
  std::string path = runtime_folder() + "/run-XXXXXX";
  FAIRLEAD_CHECK(make_folders(runtime_folder()));
  if (::mkdtemp(path.data()) == nullptr)
    return errno_error(errno, fmt::format("make a folder {}", path));
  return path;
}

namespace {

// Ours, and still the file of that name: its last owner may have removed it while we waited.
Result<std::optional<io::UniqueFd>> try_lock(const StatePaths& paths) {
  io::UniqueFd lock(::open(paths.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return errno_error(errno, fmt::format("open {}", paths.lock()));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, fmt::format("lock {}", paths.lock()));
    const auto pid = read_text_file(paths.pid());
    return make_error(ErrorCode::AlreadyExists, "a lab is already running in {} (supervisor {})",
                      paths.folder, pid ? trim(*pid) : "unknown");
  }
  struct stat held{}, named{};
  const bool same = ::fstat(lock.get(), &held) == 0 && ::stat(paths.lock().c_str(), &named) == 0 &&
                    held.st_ino == named.st_ino;
  if (!same) return std::optional<io::UniqueFd>();
  return std::optional<io::UniqueFd>(std::move(lock));
}

}  // namespace

Result<io::UniqueFd> take_state_folder(const StatePaths& paths) {
  std::optional<io::UniqueFd> lock;
  while (!lock) {
    FAIRLEAD_CHECK(make_folders(paths.folder));
    FAIRLEAD_TRY(tried, try_lock(paths));
    lock = std::move(tried);
  }
  remove_contents(paths);
  if (::mkdir(paths.logs().c_str(), 0700) != 0)
    return errno_error(errno, fmt::format("make folder {}", paths.logs()));
  return *std::move(lock);
}

void remove_state(const StatePaths& paths) {
  remove_contents(paths);
  ::unlink(paths.lock().c_str());
  ::rmdir(paths.folder.c_str());
}

Result<std::string> read_text_file(const std::string& path) {
  const io::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error(errno, fmt::format("read {}", path));
  std::string out;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0) return errno_error(errno, fmt::format("read {}", path));
    if (got == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

Result<void> write_text_file(const std::string& path, std::string_view text) {
  const io::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return errno_error(errno, fmt::format("write {}", path));
  return {};
}

}  // namespace fairlead::lab
