// The file of the audit log: lines are appended, and at a size the file gives way to a new one.
//
// Owned by the ApiServer; loop thread only. A write is one system call into the page cache, made
// while the request waits, as kube-apiserver's blocking mode does: a line is in the file before
// its answer is sent. A line that cannot be written is counted and told, at most once a minute,
// and the request goes on. Not here: fsync.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "io/fd.hpp"

namespace fairlead::apiserver {

class AuditLog {
 public:
  struct Config {
    std::string path;                                // "-" = standard output, which is not rotated
    std::uint64_t max_bytes = 100ULL * 1024 * 1024;  // 0 = without end
    std::size_t max_backups = 0;                     // older files are removed; 0 = all are kept
  };
  // The clock must outlive the log.
  static Result<AuditLog> open(Config config, const Clock& clock);

  // Without the newline.
  void write(std::string line);
  std::uint64_t lost() const { return lost_; }

 private:
  AuditLog(Config config, const Clock& clock) : config_(std::move(config)), clock_(&clock) {}
  Result<void> open_file();
  Result<void> append(std::string_view line);
  Result<void> rotate();
  Result<void> remove_old() const;
  std::string backup_name() const;
  void tell(const Error& error);

  Config config_;
  const Clock* clock_;
  io::UniqueFd file_;
  std::uint64_t size_ = 0;
  std::uint64_t rotate_at_ = 0;
  std::uint64_t lost_ = 0, told_ = 0;
  std::optional<MonoTime> told_at_;
};

}  // namespace fairlead::apiserver
