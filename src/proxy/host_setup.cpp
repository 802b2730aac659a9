#include "proxy/host_setup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "base/text.hpp"
#include "io/fd.hpp"

namespace fairlead::proxy {
namespace {

constexpr std::int64_t kConntrackCap = 1'048'576;
constexpr char kHashSize[] = "/sys/module/nf_conntrack/parameters/hashsize";

std::optional<std::int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  if (!(file >> text)) return std::nullopt;
  return parse_int(text);
}

// Kernel files want one write() of the whole value.
Result<void> write_number(const std::string& path, std::int64_t value) {
  const io::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("open {}", path));
  const std::string text = fmt::format("{}", value);
  if (write(fd.get(), text.data(), text.size()) < 0) {
    return errno_error(errno, fmt::format("write {} to {}", value, path));
  }
  return {};
}

// Written only when different, so that an unprivileged restart is quiet.
Result<void> set_number(const std::string& path, std::int64_t value) {
  if (read_number(path) == value) return {};
  return write_number(path, value);
}

void note(const Result<void>& result, std::vector<std::string>& warnings) {
  if (!result) warnings.push_back(result.error().message);
}

void set_max(const ConntrackSection& config, std::vector<std::string>& warnings) {
  const std::int64_t max = conntrack_max(config, static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)));
  if (max == 0) return;
  const auto set = set_number("/proc/sys/net/netfilter/nf_conntrack_max", max);
  note(set, warnings);
  // The hash table is the whole machine's: if the limit is not ours to set, neither is that.
  if (set && read_number(kHashSize).value_or(max) < max / 4) {
    note(write_number(kHashSize, max / 4), warnings);
  }
}

}  // namespace

std::int64_t conntrack_max(const ConntrackSection& config, int cpus) {
  if (config.max_per_core <= 0) return 0;
  const std::int64_t scaled = std::int64_t{config.max_per_core} * cpus;
  return std::min(std::max<std::int64_t>(scaled, config.min), kConntrackCap);
}

std::vector<std::string> apply_conntrack_sysctls(const ConntrackSection& config) {
  std::vector<std::string> warnings;
  set_max(config, warnings);
  const auto set_seconds = [&](std::string_view name, Duration value) {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(value).count();
    if (whole <= 0) return;
    note(set_number(fmt::format("/proc/sys/net/netfilter/nf_conntrack_{}", name), whole), warnings);
  };
  set_seconds("tcp_timeout_established", config.tcp_established_timeout);
  set_seconds("tcp_timeout_close_wait", config.tcp_close_wait_timeout);
  set_seconds("udp_timeout", config.udp_timeout);
  set_seconds("udp_timeout_stream", config.udp_stream_timeout);
  if (config.tcp_be_liberal) {
    note(set_number("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", 1), warnings);
  }
  return warnings;
}

std::vector<std::string> apply_route_localnet(const Config& config) {
  std::vector<std::string> warnings;
  if (localhost_node_ports(config)) {
    note(set_number("/proc/sys/net/ipv4/conf/all/route_localnet", 1), warnings);
  }
  return warnings;
}

std::vector<std::string> apply_oom_score(std::int32_t adjustment) {
  std::vector<std::string> warnings;
  note(set_number("/proc/self/oom_score_adj", adjustment), warnings);
  return warnings;
}

}  // namespace fairlead::proxy
