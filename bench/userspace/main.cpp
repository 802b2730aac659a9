// The userspace mode beside HAProxy and beside no proxy at all, in one run: throughput, new
// connections, latency, datagrams, memory of idle connections.
//
// bench_userspace [--check] [--brief] [--idle] [--addresses]
//   --check  exit 1 when an aim is missed
//   --brief  a third of the time
//   --idle   memory of our idle connections only
//   --addresses  our sockets at the service's address, as HAProxy's are, instead of redirecting
//   rules
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <span>

#include "nftables/report.hpp"
#include "userspace/load.hpp"
#include "userspace/machines.hpp"

namespace fairlead::bench {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kThreads = 2;
constexpr int kRounds = 5;
constexpr int kKept = 1000;
constexpr double kRequestRate = 4000;
constexpr int kIdle = 50'000;
constexpr rlim_t kOtherFiles = 4000;  // of a forwarder: pipes, what listens
constexpr double kMostIdleBytes = 4096;

struct Options {
  bool check = false;
  bool idle_only = false;
  bool by_addresses = false;  // no rules of the kernel are in the way, as with HAProxy
  std::chrono::milliseconds lasts = 1500ms;
};

using Measure = std::function<Result<double>(const Subject&)>;
using Figures = std::map<std::string, double>;  // by subject

double ratio(const Figures& figures, const std::string& a, const std::string& b) {
  return figures.at(a) / figures.at(b);
}

// Connections that this machine's limit of open files lets one process forward, with two each.
int most_idle() {
  constexpr rlim_t kFiles = 2 * kIdle + kOtherFiles;
  rlimit files{.rlim_cur = kFiles, .rlim_max = kFiles};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return static_cast<int>((files.rlim_cur - kOtherFiles) / 2);
}

class Comparison {
 public:
  static Result<Comparison> create(const Options& options, int connections,
                                   const std::string& folder) {
    FAIRLEAD_TRY(machines, Machines::create());
    std::vector<Subject> subjects;
    FAIRLEAD_TRY(ours, start_fairlead(machines,
                                      {.threads = kThreads, .by_addresses = options.by_addresses}));
    subjects.push_back(std::move(ours));
    if (options.idle_only) return Comparison(options, std::move(machines), std::move(subjects));
    auto haproxy =
        start_haproxy(machines, {.threads = kThreads, .connections = connections}, folder);
    if (!haproxy && haproxy.error().code != ErrorCode::NotFound) return haproxy.error();
    if (haproxy) {
      subjects.push_back(*std::move(haproxy));
    } else {
      fmt::print("{}: beside a direct connection only\n", haproxy.error().message);
    }
    return Comparison(options, std::move(machines), std::move(subjects));
  }

  // In this order: memory while it is fresh. How many aims were missed.
  Result<int> run(int connections) {
    FAIRLEAD_CHECK(memory(connections));
    if (options_.idle_only) return report_.missed();
    subjects_.push_back(direct());
    FAIRLEAD_CHECK(rates());
    FAIRLEAD_CHECK(latency());
    FAIRLEAD_CHECK(datagram_rate());
    return report_.missed();
  }

 private:
  Comparison(const Options& options, Machines machines, std::vector<Subject> subjects)
      : options_(options),
        machines_(std::move(machines)),
        subjects_(std::move(subjects)),
        beside_haproxy_(subjects_.size() == 2) {}

  // The median of some rounds, in which the subjects take turns: what else the machine does meets
  // them alike.
  Result<Figures> in_turns(const Measure& measure) {
    std::map<std::string, std::vector<double>> seen;
    for (int round = 0; round < kRounds; ++round) {
      for (const Subject& subject : subjects_) {
        FAIRLEAD_CHECK(machines_.client.run([&]() -> Result<void> {
          auto figure = measure(subject);
          if (!figure) return figure.error().with_context(subject.name);
          seen[subject.name].push_back(*figure);
          return {};
        }));
      }
    }
    Figures out;
    for (const auto& [name, figures] : seen) out.emplace(name, median(figures));
    return out;
  }

  void show(const Figures& figures, std::string_view unit, double scale) {
    for (const auto& [name, figure] : figures) {
      report_.note(name, fmt::format("{:.2f} {}", figure / scale, unit));
    }
  }
  void show_direct(const Figures& figures) {
    report_.note("direct / fairlead",
                 fmt::format("{:.2f} x", ratio(figures, "direct", "fairlead")));
  }

  Result<double> bytes_an_idle_connection(const Subject& subject, int connections) {
    FAIRLEAD_TRY(before, resident_bytes(subject.process->pid()));
    double out = 0;
    FAIRLEAD_CHECK(machines_.client.run([&]() -> Result<void> {
      FAIRLEAD_TRY(sockets, idle(subject.address, connections));
      FAIRLEAD_TRY(after, resident_bytes(subject.process->pid()));
      out = (after - before) / static_cast<double>(sockets.size());
      return {};
    }));
    return out;
  }

  Result<void> memory(int connections) {
    report_.heading(fmt::format("{} idle connections{}", connections,
                                connections < kIdle ? " (the limit of open files)" : ""));
    for (const Subject& subject : subjects_) {
      FAIRLEAD_TRY(bytes, bytes_an_idle_connection(subject, connections));
      if (subject.name == "fairlead") {
        report_.aim("fairlead: memory of one", bytes, kMostIdleBytes, "B");
      } else {
        report_.note(subject.name + ": memory of one", fmt::format("{:.0f} B", bytes));
      }
    }
    return {};
  }

  // More is better: theirs / ours is to be at most 1.
  Result<void> rate(std::string_view what, std::string_view unit, double scale,
                    const Measure& measure) {
    report_.heading(what);
    FAIRLEAD_TRY(figures, in_turns(measure));
    show(figures, unit, scale);
    if (beside_haproxy_) {
      report_.aim("haproxy / fairlead", ratio(figures, "haproxy", "fairlead"), 1, "x");
    }
    show_direct(figures);
    return {};
  }

  Result<void> rates() {
    const auto move = [this](Direction direction) -> Measure {
      return [this, direction](const Subject& subject) {
        return bulk(subject.address, direction, 4, options_.lasts);
      };
    };
    FAIRLEAD_CHECK(rate("throughput, to the client, 4 connections", "Gbit/s", 125e6,
                        move(Direction::Download)));
    FAIRLEAD_CHECK(rate("throughput, from the client, 4 connections", "Gbit/s", 125e6,
                        move(Direction::Upload)));
    return rate("new connections, 64 at once", "/s", 1, [this](const Subject& subject) {
      return new_connections(subject.address, 64, options_.lasts);
    });
  }

  Result<void> latency() {
    report_.heading(
        fmt::format("latency, {} connections kept, {:.0f} requests/s", kKept, kRequestRate));
    Figures medians;
    FAIRLEAD_TRY(p99, in_turns([&](const Subject& subject) -> Result<double> {
                   FAIRLEAD_TRY(all,
                                latencies(subject.address, kKept, kRequestRate, options_.lasts));
                   medians[subject.name] = median(all);
                   return percentile(std::move(all), 0.99);
                 }));
    for (const auto& [name, figure] : p99) {
      report_.note(name + ": p50, p99", fmt::format("{:.0f} us, {:.0f} us", medians[name], figure));
    }
    if (beside_haproxy_) {
      report_.aim("p99: fairlead / haproxy", ratio(p99, "fairlead", "haproxy"), 1, "x");
    }
    return {};
  }

  // HAProxy forwards none.
  Result<void> datagram_rate() {
    std::erase_if(subjects_, [](const Subject& subject) { return subject.name == "haproxy"; });
    report_.heading("datagrams, 32 flows");
    FAIRLEAD_TRY(figures, in_turns([this](const Subject& subject) {
                   return datagrams(subject.address, 32, 16, options_.lasts);
                 }));
    show(figures, "/s", 1);
    show_direct(figures);
    return {};
  }

  Options options_;
  Report report_;
  Machines machines_;
  std::vector<Subject> subjects_;
  bool beside_haproxy_;
};

Result<int> run(const Options& options, const std::string& folder) {
  const int connections = most_idle();
  FAIRLEAD_TRY(comparison, Comparison::create(options, connections, folder));
  return comparison.run(connections);
}

int fail(const Error& error) {
  fmt::print(stderr, "bench_userspace: {}\n", error.message);
  return EXIT_FAILURE;
}

unsigned number_of(std::string_view text) {
  unsigned out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

int main_of(std::span<const std::string_view> arguments) {
  if (!arguments.empty() && arguments[0] == "--be-server") return be_server();
  if (arguments.size() == 3 && arguments[0] == "--be-fairlead") {
    return be_fairlead(
        {.threads = number_of(arguments[1]), .by_addresses = arguments[2] == "addresses"});
  }
  Options options;
  for (const std::string_view argument : arguments) {
    if (argument == "--check") {
      options.check = true;
    } else if (argument == "--brief") {
      options.lasts = 500ms;
    } else if (argument == "--idle") {
      options.idle_only = true;
    } else if (argument == "--addresses") {
      options.by_addresses = true;
    } else {
      fmt::print(stderr, "usage: bench_userspace [--check] [--brief] [--idle] [--addresses]\n");
      return 2;
    }
  }
  std::string folder = (std::filesystem::temp_directory_path() / "bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return fail(errno_error(errno, "make a folder"));
  const auto missed = run(options, folder);
  std::filesystem::remove_all(folder);
  if (!missed) return fail(missed.error());
  if (*missed > 0) fmt::print("\n{} aims missed\n", *missed);
  return options.check && *missed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  return fairlead::bench::main_of(arguments);
}
