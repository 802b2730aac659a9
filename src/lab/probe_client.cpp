#include "lab/probe_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "base/text.hpp"
#include "io/fd.hpp"
#include "io/sockaddr.hpp"
#include "kube/json_writer.hpp"

namespace fairlead::lab {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using std::chrono::steady_clock;

Result<void> wait_for(const io::UniqueFd& socket, short events, SteadyTime deadline) {
  pollfd polled{.fd = socket.get(), .events = events, .revents = 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) return make_error(ErrorCode::Timeout, "timed out");
    const int got = ::poll(&polled, 1, static_cast<int>(left.count()));
    if (got > 0) return {};
    if (got < 0 && errno != EINTR) return errno_error(errno, "poll");
  }
}

// Errors are short: the report counts them by their text.
Result<void> connect_to(const io::UniqueFd& socket, const SocketAddress& target,
                        SteadyTime deadline) {
  const auto address = io::to_kernel(target);
  if (::connect(socket.get(), address.get(), address.size) == 0) return {};
  if (errno != EINPROGRESS) return errno_error(errno, "connect");
  FAIRLEAD_CHECK(wait_for(socket, POLLOUT, deadline));
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return errno_error(error, "connect");
  return {};
}

Result<std::string> attempt(const ProbeConfig& config, SteadyTime deadline) {
  const bool tcp = config.protocol == Protocol::Tcp;
  const io::UniqueFd socket(
      ::socket(config.target.address.is_v4() ? AF_INET : AF_INET6,
               (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_error(errno, "socket");
  FAIRLEAD_CHECK(connect_to(socket, config.target, deadline));
  if (::send(socket.get(), "\n", 1, MSG_NOSIGNAL) != 1) return errno_error(errno, "send");
  std::string answer;
  std::array<char, 2048> buffer;
  while (answer.find('\n') == std::string::npos) {
    FAIRLEAD_CHECK(wait_for(socket, POLLIN, deadline));
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) continue;
    if (got < 0) return errno_error(errno, "receive");
    if (got == 0) return make_error(ErrorCode::Unavailable, "closed without an answer");
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  answer.resize(answer.find('\n'));
  return answer;
}

void record_answer(ProbeReport& report, std::string_view answer) {
  const auto words = split(answer, ' ');
  ++report.replies[std::string(words.front())];
  const auto source =
      words.size() > 1 ? SocketAddress::parse(words[1]) : Result<SocketAddress>(Error{});
  if (source) ++report.sources[source->address.to_string()];
}

bool goes_on(const ProbeConfig& config, std::size_t attempts, SteadyTime begin) {
  if (!config.stop_file.empty() && ::access(config.stop_file.c_str(), F_OK) == 0) return false;
  if (config.duration) return steady_clock::now() < begin + *config.duration;
  return !config.stop_file.empty() || attempts < config.count;
}

std::chrono::microseconds percentile(const std::vector<std::chrono::microseconds>& sorted,
                                     unsigned percent) {
  if (sorted.empty()) return {};
  return sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
}

double milliseconds(std::chrono::microseconds d) { return static_cast<double>(d.count()) / 1000; }

std::map<std::string, unsigned> count_errors(const ProbeReport& report) {
  std::map<std::string, unsigned> out;
  for (const ProbeFailure& failure : report.failures) ++out[failure.error];
  return out;
}

void write_counts(kube::JsonWriter& w, std::string_view name,
                  const std::map<std::string, unsigned>& counts) {
  w.key(name);
  w.begin_object();
  for (const auto& [key, count] : counts) w.member(key, count);
  w.end_object();
}

}  // namespace

ProbeReport run_probe(const ProbeConfig& config) {
  ProbeReport report;
  const SteadyTime begin = steady_clock::now();
  SteadyTime next = begin;
  while (goes_on(config, report.attempts(), begin)) {
    std::this_thread::sleep_until(next);
    const SteadyTime start = steady_clock::now();
    next = std::max(next + config.interval, start);
    const auto answer = attempt(config, start + config.timeout);
    const SteadyTime end = steady_clock::now();
    if (answer) {
      record_answer(report, *answer);
      report.latencies.push_back(
          std::chrono::duration_cast<std::chrono::microseconds>(end - start));
    } else {
      report.failures.push_back(
          {.at = std::chrono::duration_cast<std::chrono::milliseconds>(start - begin),
           .error = answer.error().message});
    }
  }
  return report;
}

std::string to_json(const ProbeReport& report) {
  auto sorted = report.latencies;
  std::ranges::sort(sorted);
  kube::JsonWriter w;
  w.begin_object();
  w.member("attempts", static_cast<std::int64_t>(report.attempts()));
  w.member("answered", static_cast<std::int64_t>(report.answered()));
  w.member("failed", static_cast<std::int64_t>(report.failures.size()));
  write_counts(w, "replies", report.replies);
  write_counts(w, "sources", report.sources);
  write_counts(w, "errors", count_errors(report));
  w.key("failures");
  w.begin_list();
  for (const ProbeFailure& failure : report.failures) {
    w.begin_object();
    w.member("atMilliseconds", failure.at.count());
    w.member("error", failure.error);
    w.end_object();
  }
  w.end_list();
  w.key("latencyMicroseconds");
  w.begin_object();
  w.member("p50", percentile(sorted, 50).count());
  w.member("p99", percentile(sorted, 99).count());
  w.member("max", sorted.empty() ? 0 : sorted.back().count());
  w.end_object();
  w.end_object();
  return w.take() + "\n";
}

std::string to_table(const ProbeReport& report) {
  std::string out;
  for (const auto& [name, count] : report.replies) {
    out += fmt::format("{:<32}{:>7}  {:>5.1f} %\n", name, count,
                       100.0 * count / static_cast<double>(report.attempts()));
  }
  for (const auto& [error, count] : count_errors(report))
    out += fmt::format("{:<32}{:>7}  failed\n", error, count);
  auto sorted = report.latencies;
  std::ranges::sort(sorted);
  if (!sorted.empty()) {
    out += fmt::format("{} of {} answered; p50 {:.2f} ms, p99 {:.2f} ms, slowest {:.2f} ms\n",
                       report.answered(), report.attempts(), milliseconds(percentile(sorted, 50)),
                       milliseconds(percentile(sorted, 99)), milliseconds(sorted.back()));
  }
  return out;
}

}  // namespace fairlead::lab
