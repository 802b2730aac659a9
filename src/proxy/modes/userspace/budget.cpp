#include "proxy/modes/userspace/budget.hpp"

#include <sys/resource.h>

#include <algorithm>

#include "proxy/modes/userspace/stream.hpp"

namespace fairlead::userspace {
namespace {

constexpr std::size_t kFilesAConnection = 2;
constexpr std::size_t kOtherFiles = 512;  // of the rest of the process
constexpr rlim_t kMostFiles = 1 << 20;
constexpr std::size_t kMostPipes = 512;
// Of the relay, its entries in the loop's tables and its timer; bench/userspace measures it.
constexpr std::size_t kBytesAConnection = 1024;
constexpr std::size_t kBytesAFlow = 512;

std::size_t allowed_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit wanted = limit;
  wanted.rlim_max = std::max(limit.rlim_max, kMostFiles);
  wanted.rlim_cur = wanted.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
    wanted = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) wanted = limit;
  }
  return std::min(wanted.rlim_cur, kMostFiles);
}

}  // namespace

Result<Limits> limits_here(std::size_t connections, std::size_t flows) {
  const std::size_t allowed = allowed_files();
  if (allowed <= kOtherFiles + 64) {
    return make_error(ErrorCode::Exhausted,
                      "the limit of open files, {}, leaves none for connections; raise it "
                      "(ulimit -n, LimitNOFILE=)",
                      allowed);
  }
  const std::size_t ours = allowed - kOtherFiles;
  Limits out{.pipes = std::min(kMostPipes, ours / 16)};
  out.files = ours - 2 * out.pipes;
  const std::size_t fit = out.files / kFilesAConnection;
  out.connections = connections == 0 ? fit : std::min(connections, fit);
  // Half of the files, so that no flood of datagrams keeps connections out.
  out.flows = flows == 0 ? out.files / 2 : std::min(flows, out.files / 2);
  return out;
}

std::size_t most_memory(const Limits& limits) {
  return limits.connections * (kBytesAConnection + 2 * kCopiedAtOnce) + limits.flows * kBytesAFlow;
}

bool Budget::take(Count& count, std::size_t more, std::size_t limit) {
  if (count.fetch_add(more, std::memory_order_relaxed) + more <= limit) return true;
  count.fetch_sub(more, std::memory_order_relaxed);
  return false;
}

bool Budget::take_connection() {
  if (!take(connections_, 1, limits_.connections)) return false;
  if (take_files(kFilesAConnection)) return true;
  one_less(connections_);
  return false;
}

void Budget::give_connection() {
  give_files(kFilesAConnection);
  one_less(connections_);
}

void Budget::one_less(Count& count) {
  if (count.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const std::scoped_lock lock(mutex_);
  none_left_.notify_all();
}

bool Budget::take_flow() {
  if (!take(flows_, 1, limits_.flows)) return false;
  if (take_files(1)) return true;
  one_less(flows_);
  return false;
}

void Budget::give_flow() {
  give_files(1);
  one_less(flows_);
}

bool Budget::wait_for_the_last(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return none_left_.wait_until(lock, deadline,
                               [this] { return connections() == 0 && flows() == 0; });
}

}  // namespace fairlead::userspace
