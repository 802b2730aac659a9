#include "apiserver/audit_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/log.hpp"

namespace fairlead::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr auto kTellEvery = 1min;

// "audit.log" is "audit" and ".log".
struct Name {
  std::filesystem::path folder;
  std::string stem, extension;
};

Name name_of(const std::string& path) {
  const std::filesystem::path whole(path);
  return {.folder = whole.has_parent_path() ? whole.parent_path() : ".",
          .stem = whole.stem().string(),
          .extension = whole.extension().string()};
}

}  // namespace

Result<AuditLog> AuditLog::open(Config config, const Clock& clock) {
  AuditLog out(std::move(config), clock);
  FAIRLEAD_CHECK(out.open_file());
  return out;
}

Result<void> AuditLog::open_file() {
  if (config_.path == "-") {
    file_ = io::UniqueFd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!file_) return errno_error(errno, "open standard output");
    return {};
  }
  io::UniqueFd opened(
      ::open(config_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!opened) return errno_error(errno, "open " + config_.path);
  struct stat facts{};
  if (::fstat(opened.get(), &facts) != 0) return errno_error(errno, "look at " + config_.path);
  file_ = std::move(opened);
  size_ = static_cast<std::uint64_t>(facts.st_size);
  rotate_at_ = S_ISREG(facts.st_mode) ? config_.max_bytes : 0;
  return {};
}

void AuditLog::write(std::string line) {
  line += '\n';
  if (rotate_at_ != 0 && size_ != 0 && size_ + line.size() > rotate_at_) {
    if (const auto rotated = rotate(); !rotated) {
      log::warning("The audit log goes on in the same file", {{"err", rotated.error()}});
      rotate_at_ = size_ + config_.max_bytes;
    }
  }
  if (const auto written = append(line); !written) {
    ++lost_;
    tell(written.error());
  }
}

Result<void> AuditLog::append(std::string_view line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t written = ::write(file_.get(), line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written > 0) {
      done += static_cast<std::size_t>(written);
      continue;
    }
    Error failed = errno_error(written < 0 ? errno : ENOSPC, "write " + config_.path);
    // Half a line would make the next one unreadable too; what cannot be cut off is ended.
    if (done > 0 && ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) {
      size_ += done;
      if (::write(file_.get(), "\n", 1) == 1) ++size_;
    }
    return failed;
  }
  size_ += line.size();
  return {};
}

void AuditLog::tell(const Error& error) {
  const MonoTime now = clock_->mono();
  if (told_at_ && now - *told_at_ < kTellEvery) return;
  log::error("Requests are missing in the audit log",
             {{"lost", lost_ - told_}, {"lostSinceStart", lost_}, {"err", error}});
  told_ = lost_;
  told_at_ = now;
}

std::string AuditLog::backup_name() const {
  const Name name = name_of(config_.path);
  std::string time = format_rfc3339(clock_->wall(), 6);
  std::ranges::replace(time, ':', '-');
  return (name.folder / fmt::format("{}-{}{}", name.stem, time, name.extension)).string();
}

Result<void> AuditLog::rotate() {
  const std::string backup = backup_name();
  if (::rename(config_.path.c_str(), backup.c_str()) != 0)
    return errno_error(errno, fmt::format("rename {} to {}", config_.path, backup));
  FAIRLEAD_CHECK(open_file());
  return remove_old();
}

// Their names sort as their times do.
Result<void> AuditLog::remove_old() const {
  if (config_.max_backups == 0) return {};
  const Name name = name_of(config_.path);
  const std::string prefix = name.stem + "-";
  const std::size_t length = prefix.size() + format_rfc3339(clock_->wall(), 6).size();
  std::vector<std::filesystem::path> backups;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(name.folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string file = entry->path().filename().string();
    if (file.size() == length + name.extension.size() && file.starts_with(prefix) &&
        file.ends_with(name.extension)) {
      backups.push_back(entry->path());
    }
  }
  if (failed) return errno_error(failed.value(), "list " + name.folder.string());
  std::ranges::sort(backups);
  for (std::size_t i = 0; i + config_.max_backups < backups.size(); ++i) {
    if (!std::filesystem::remove(backups[i], failed) && failed)
      return errno_error(failed.value(), "remove " + backups[i].string());
  }
  return {};
}

}  // namespace fairlead::apiserver
