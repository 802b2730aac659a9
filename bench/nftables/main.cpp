// bench_nftables: what programming Services through the nftables mode costs, beside nft(8) given
// the same table. Everything happens in network namespaces of its own. Exit code 1 on errors; with
// --check also when an aim is missed. `--hold SERVICES ENDPOINTS` is the memory measurement's
// child.
#include <sys/mman.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <span>
#include <sstream>

#include "io/process.hpp"
#include "nftables/proxy_under_test.hpp"
#include "nftables/raw_nft.hpp"
#include "nftables/report.hpp"

namespace fairlead::bench {
namespace {

constexpr int kLoads = 3;
constexpr int kServicesChanged = 150;  // each loses an endpoint and gets it back
constexpr int kServicesAdded = 100;    // each comes and goes
constexpr double kMostLoadRatio = 1.0;
constexpr double kMostChangeMs = 5.0;
constexpr double kMostGrowth = 1.5;
constexpr double kMostMegabytes = 60.0;

double ms(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// ---- the first programming, beside nft ----

struct Loads {
  std::vector<double> compile, ours, nft;  // milliseconds; ours includes compile
  plan::ApplyStats stats;
  TableContent table, table_of_nft;
  std::size_t script_bytes = 0;
};

// One load of each kind into a fresh namespace of its own.
Result<void> load_once(model::Model& model, Loads& loads) {
  FAIRLEAD_TRY(mine, io::NetNamespace::create());
  FAIRLEAD_TRY(peer, io::NetNamespace::create());
  plan::Plan plan;
  FAIRLEAD_CHECK(mine.run([&]() -> Result<void> {
    FAIRLEAD_TRY(proxy, ProxyUnderTest::create(&model));
    model.mark_all_dirty();
    FAIRLEAD_TRY(done, proxy->sync());
    loads.compile.push_back(ms(done.compile));
    loads.ours.push_back(ms(done.total()));
    loads.stats = done.stats;
    plan = proxy->plan();
    FAIRLEAD_TRY(table, read_tables());
    loads.table = table;
    return {};
  }));
  FAIRLEAD_TRY(script, Script::write(plan));
  loads.script_bytes = script.bytes();
  FAIRLEAD_TRY(took, script.load(peer));
  loads.nft.push_back(ms(took));
  return peer.run([&]() -> Result<void> {
    FAIRLEAD_TRY(table, read_tables());
    loads.table_of_nft = table;
    return {};
  });
}

std::string content_text(const TableContent& table) {
  return fmt::format("{}/{}/{}", table.elements, table.chains, table.rules);
}

void print(const Loads& loads, Report& report) {
  const double ours = median(loads.ours);
  const double nft = median(loads.nft);
  report.note("fairlead: compile, render, netlink, acknowledged", fmt::format("{:.1f} ms", ours));
  report.note("  of which compile", fmt::format("{:.1f} ms", median(loads.compile)));
  report.note("  netlink messages / bytes",
              fmt::format("{} / {}", loads.stats.messages, loads.stats.bytes));
  report.note(fmt::format("nft -f of the same table ({} bytes of text)", loads.script_bytes),
              fmt::format("{:.1f} ms", nft));
  report.aim("fairlead / nft -f", ours / nft, kMostLoadRatio, "x");
  report.aim_equal("elements/chains/rules in the kernel, both ways", content_text(loads.table),
                   content_text(loads.table_of_nft));
  report.aim_equal("digest of the elements, both ways", fmt::format("{:016x}", loads.table.digest),
                   fmt::format("{:016x}", loads.table_of_nft.digest));
}

// ---- changes ----

struct Changes {
  std::vector<double> total, decode, compile, kernel;  // milliseconds
  std::vector<double> messages, bytes;

  void add(const Commit& commit, Duration took) {
    total.push_back(ms(took));
    compile.push_back(ms(commit.compile));
    kernel.push_back(ms(commit.kernel));
    decode.push_back(ms(took - commit.total()));
    messages.push_back(static_cast<double>(commit.stats.messages));
    bytes.push_back(static_cast<double>(commit.stats.bytes));
  }
};

// From the lines of the change to the kernel's acknowledgement.
Result<void> change(Cluster& cluster, ProxyUnderTest& proxy,
                    const std::optional<std::string>& service, const std::string& slice,
                    Changes& changes) {
  const MonoTime start = Clock::real().mono();
  if (service) FAIRLEAD_CHECK(cluster.service(*service));
  FAIRLEAD_CHECK(cluster.slice(slice));
  FAIRLEAD_TRY(commit, proxy.sync());
  changes.add(commit, Clock::real().mono() - start);
  return {};
}

struct ChangesOfASize {
  Changes endpoint_removed, endpoint_added, service_added, service_removed;
  // A new process over the table that is there and as it should be: milliseconds, and elements
  // sent.
  double restart = 0;
  std::uint64_t restart_elements = 0;
};

Result<ChangesOfASize> measure_changes(Cluster& cluster, ClusterSize size) {
  ChangesOfASize out;
  FAIRLEAD_TRY(proxy, ProxyUnderTest::create(&cluster.model()));
  cluster.model().mark_all_dirty();
  FAIRLEAD_CHECK(proxy->sync());
  for (int i = 0; i < kServicesChanged; ++i) {
    const int service = i * (size.services / kServicesChanged);
    const auto less = slice_line(Change::Modified, service, size.endpoints, i % size.endpoints);
    const auto more = slice_line(Change::Modified, service, size.endpoints);
    FAIRLEAD_CHECK(change(cluster, *proxy, std::nullopt, less, out.endpoint_removed));
    FAIRLEAD_CHECK(change(cluster, *proxy, std::nullopt, more, out.endpoint_added));
  }
  for (int i = 0; i < kServicesAdded; ++i) {
    const int service = size.services + i;
    FAIRLEAD_CHECK(change(cluster, *proxy, service_line(Change::Added, service),
                          slice_line(Change::Added, service, size.endpoints), out.service_added));
    FAIRLEAD_CHECK(change(cluster, *proxy, service_line(Change::Deleted, service),
                          slice_line(Change::Deleted, service, size.endpoints),
                          out.service_removed));
  }
  // The first of these also takes away the chains of sizes that are not in use any more.
  std::vector<double> restarts;
  for (int i = 0; i < kLoads; ++i) {
    FAIRLEAD_TRY(restarted, ProxyUnderTest::create(&cluster.model()));
    cluster.model().mark_all_dirty();
    FAIRLEAD_TRY(anew, restarted->sync());
    restarts.push_back(ms(anew.total()));
    out.restart_elements = anew.stats.elements;
  }
  out.restart = median(restarts);
  return out;
}

void print(std::string_view what, const Changes& changes, Report& report) {
  report.aim(fmt::format("{}, median of {}", what, changes.total.size()), median(changes.total),
             kMostChangeMs, "ms");
  report.note("  99th percentile", fmt::format("{:.2f} ms", percentile(changes.total, 0.99)));
  report.note("  decode + model / compile / render + kernel, medians",
              fmt::format("{:.3f} / {:.3f} / {:.3f} ms", median(changes.decode),
                          median(changes.compile), median(changes.kernel)));
  report.note("  netlink messages, median / most",
              fmt::format("{} / {}", median(changes.messages), percentile(changes.messages, 1)));
  report.note("  netlink bytes, median / most",
              fmt::format("{} / {}", median(changes.bytes), percentile(changes.bytes, 1)));
}

// ---- memory ----

// Kilobytes, by the name in /proc/self/status.
double status_kilobytes(std::string_view name) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(name)) return std::strtod(line.c_str() + name.size() + 1, nullptr);
  }
  return 0;
}

// The child: holds a cluster as the proxy does and says what that takes.
Result<void> hold(ClusterSize size) {
  const double before = status_kilobytes("VmRSS");
  Cluster cluster;
  FAIRLEAD_CHECK(cluster.load(size));
  const double model = status_kilobytes("VmRSS");
  FAIRLEAD_TRY(proxy, ProxyUnderTest::create(&cluster.model()));
  FAIRLEAD_CHECK(proxy->sync());
  fmt::print("{} {} {} {}\n", before, model, status_kilobytes("VmRSS"), status_kilobytes("VmHWM"));
  return {};
}

struct Memory {
  double empty = 0, model = 0, all = 0, most = 0;  // megabytes
};

Result<Memory> measure_memory(ClusterSize size) {
  FAIRLEAD_TRY(where, io::NetNamespace::create());
  const io::UniqueFd output(::memfd_create("memory", MFD_CLOEXEC));
  if (!output) return errno_error(errno, "make a file for the child's answer");
  FAIRLEAD_TRY(child,
               io::Child::spawn({.argv = {"/proc/self/exe", "--hold", std::to_string(size.services),
                                          std::to_string(size.endpoints)},
                                 .namespaces = {where.fd()},
                                 .stdout_fd = output.get()}));
  FAIRLEAD_TRY(status, child.wait_blocking());
  if (!status.ok()) {
    return make_error(ErrorCode::Unavailable, "the memory child ended with {}", status.to_string());
  }
  std::ifstream answer(fmt::format("/proc/self/fd/{}", output.get()));
  Memory out;
  if (!(answer >> out.empty >> out.model >> out.all >> out.most)) {
    return make_error(ErrorCode::Unavailable, "the memory child gave no figures");
  }
  constexpr double kKilo = 1024;
  return Memory{out.empty / kKilo, out.model / kKilo, out.all / kKilo, out.most / kKilo};
}

// ---- all of it ----

Result<ChangesOfASize> run_size(ClusterSize size, Report& report) {
  Cluster cluster;
  FAIRLEAD_CHECK(cluster.load(size));
  Loads loads;
  for (int i = 0; i < kLoads; ++i) FAIRLEAD_CHECK(load_once(cluster.model(), loads));
  report.heading(fmt::format("{} services x {} endpoints: first programming, median of {}",
                             size.services, size.endpoints, kLoads));
  print(loads, report);

  FAIRLEAD_TRY(where, io::NetNamespace::create());
  std::optional<ChangesOfASize> changes;
  FAIRLEAD_CHECK(where.run([&]() -> Result<void> {
    FAIRLEAD_TRY(measured, measure_changes(cluster, size));
    changes = std::move(measured);
    return {};
  }));
  report.heading(
      fmt::format("{} services x {} endpoints: from a watch line to the kernel's "
                  "acknowledgement",
                  size.services, size.endpoints));
  print("endpoint removed", changes->endpoint_removed, report);
  print("endpoint added", changes->endpoint_added, report);
  print("service added", changes->service_added, report);
  print("service removed", changes->service_removed, report);
  report.note(fmt::format("restart over the table that is there, median of {}", kLoads),
              fmt::format("{:.1f} ms", changes->restart));
  report.aim_equal("  elements sent for it", std::to_string(changes->restart_elements), "0");
  return *std::move(changes);
}

Result<int> run() {
  constexpr ClusterSize kSmall{.services = 1'000, .endpoints = 10};
  constexpr ClusterSize kLarge{.services = 10'000, .endpoints = 10};
  Report report;
  FAIRLEAD_TRY(small, run_size(kSmall, report));
  FAIRLEAD_TRY(large, run_size(kLarge, report));

  report.heading("10,000 services beside 1,000: a change costs the same");
  const auto grow = [](const std::vector<double>& many, const std::vector<double>& few) {
    return median(many) / median(few);
  };
  const auto compare = [&](std::string_view what, const Changes& many, const Changes& few) {
    report.aim(fmt::format("{}: netlink messages", what), grow(many.messages, few.messages), 1,
               "x");
    report.aim(fmt::format("{}: netlink bytes", what), grow(many.bytes, few.bytes), 1, "x");
    report.aim(fmt::format("{}: median time", what), grow(many.total, few.total), kMostGrowth, "x");
  };
  compare("endpoint removed", large.endpoint_removed, small.endpoint_removed);
  compare("endpoint added", large.endpoint_added, small.endpoint_added);
  compare("service added", large.service_added, small.service_added);
  compare("service removed", large.service_removed, small.service_removed);

  FAIRLEAD_TRY(memory, measure_memory(kLarge));
  report.heading("100,000 endpoints in memory");
  report.note("before anything", fmt::format("{:.1f} MB", memory.empty));
  report.note("with the model", fmt::format("{:.1f} MB", memory.model));
  report.aim("with model, plan and mode, after the first programming", memory.all, kMostMegabytes,
             "MB");
  report.note("at most, while programming", fmt::format("{:.1f} MB", memory.most));
  return report.missed();
}

int number_of(std::string_view text) {
  int out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

int fail(const Error& error) {
  fmt::print(stderr, "bench_nftables: {}\n", error.message);
  return EXIT_FAILURE;
}

int main_of(std::span<const std::string_view> arguments) {
  if (arguments.size() == 3 && arguments[0] == "--hold") {
    const auto held =
        hold({.services = number_of(arguments[1]), .endpoints = number_of(arguments[2])});
    return held ? EXIT_SUCCESS : fail(held.error());
  }
  const bool checking = arguments.size() == 1 && arguments[0] == "--check";
  if (!arguments.empty() && !checking) {
    fmt::print(stderr, "usage: bench_nftables [--check]\n");
    return 2;
  }
  const auto missed = run();
  if (!missed) return fail(missed.error());
  if (*missed > 0) fmt::print("\n{} aims missed\n", *missed);
  return checking && *missed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  return fairlead::bench::main_of(arguments);
}
