#include "base/process_metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/version.hpp"

namespace fairlead::metrics {
namespace {

struct Memory {
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

Memory memory() {
  std::ifstream statm("/proc/self/statm");
  Memory pages;
  statm >> pages.virtual_bytes >> pages.resident_bytes;
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  return {.virtual_bytes = pages.virtual_bytes * page,
          .resident_bytes = pages.resident_bytes * page};
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

double open_files() {
  std::error_code failed;
  const std::filesystem::directory_iterator entries("/proc/self/fd", failed);
  return failed ? 0 : static_cast<double>(std::distance(begin(entries), end(entries)));
}

double most_files() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

// As Go names it.
std::string_view build_platform() {
#if defined(__x86_64__)
  return "linux/amd64";
#elif defined(__aarch64__)
  return "linux/arm64";
#else
  return "linux/unknown";
#endif
}

}  // namespace

void describe_process(Registry& registry, WallTime started) {
  registry
      .gauge("kubernetes_build_info", "Constant 1, labelled with the build",
             {{"major", std::string(kKubernetesMajor)},
              {"minor", std::string(kKubernetesMinor)},
              {"git_version", std::string(kKubernetesVersion)},
              {"compiler", "clang"},
              {"platform", std::string(build_platform())}})
      .set(1);
  registry.gauge("process_start_time_seconds", "Start of the process since the epoch")
      .set(std::chrono::duration<double>(started.time_since_epoch()).count());
}

void report_process(Registry& registry) {
  const Memory now = memory();
  registry.gauge("process_resident_memory_bytes", "Resident memory").set(now.resident_bytes);
  registry.gauge("process_virtual_memory_bytes", "Virtual memory").set(now.virtual_bytes);
  registry.gauge("process_open_fds", "Open file descriptors").set(open_files());
  registry.gauge("process_max_fds", "Most file descriptors it may open").set(most_files());
  auto cpu = registry.counter("process_cpu_seconds_total", "User and system time");
  cpu.add(std::max(0.0, cpu_seconds() - cpu.value()));
}

}  // namespace fairlead::metrics
